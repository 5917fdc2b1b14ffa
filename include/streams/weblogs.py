"""Lambda handler of the stream of web logs: Apache lines become documents of the search index.

What makes a line's document id, so that reading it again changes nothing:

- Partition key `<client>#<position>`, from a producer that knows where in its log a line stands: key and line. A line
  that was sent twice is one document, and two equal requests within a second are two.
- Any other partition key: the shard and the sequence number. A stream read again changes nothing, a line sent again is
  another document: nothing tells it from a second request.
"""

import functools
import os
import re
import time
from collections import defaultdict
from hashlib import blake2b
from typing import Any

from opensearchpy import OpenSearch, OpenSearchException

from include.streams import apache, bulk, records, search
from include.streams.records import Record

FUNCTION = "weblogs"
_POSITIONED = re.compile(r"(\S+)#\d+")


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Stores the lines of a batch; what is no log line, or no document, goes to quarantine.

    Args:
        event: Of a Kinesis event source. Environment: ``SEARCH_URL``, ``QUARANTINE``.
        context: Of Lambda; how much time is left.

    Returns:
        ``batchItemFailures``: the records that the search server would not take now, or S3 not put aside.
    """
    batch = records.decoded(event)
    good, poison = records.sorted_out(batch, _document, apache.LineError)
    sources: dict[str, list[Record]] = defaultdict(list)
    for record, document in good:
        sources[document.id].append(record)
    documents = {document.id: document for _, document in good}
    outcome = _store(documents, records.deadline(context) - time.monotonic())
    poison += [(record, reason) for name, reason in outcome.refused.items() for record in sources[name]]
    failed = [record for name in outcome.unsent for record in sources[name]]
    failed += records.put_aside(FUNCTION, poison)
    counts = {
        "created": len(outcome.created),
        "existing": len(outcome.existing),
        "retries": outcome.retries,
        "quarantined": len(poison),
    }
    why = next(iter(outcome.unsent.values()), None)
    return records.answer(FUNCTION, batch, failed, **counts, **({"why": why} if why else {}))


def _document(record: Record) -> bulk.Document:
    entry = apache.parse(record.data)
    return bulk.Document(
        search.index_of(entry.time), _id(record), {**entry.document(), "line": _digest(record.data.rstrip(b"\r\n"))}
    )


def _id(record: Record) -> str:
    match = _POSITIONED.fullmatch(record.partition_key)
    if match and record.data.startswith(match[1].encode() + b" "):
        return _digest(record.partition_key.encode() + b"\n" + record.data)
    return f"{record.shard_id}:{record.sequence_number}"


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()


def _store(documents: dict[str, bulk.Document], seconds: float) -> bulk.Outcome:
    if not documents:
        return bulk.Outcome()
    try:
        return bulk.write(_index(os.environ["SEARCH_URL"]), documents.values(), seconds)
    except OpenSearchException as error:
        return bulk.Outcome(unsent=dict.fromkeys(documents, f"the index template could not be put: {error}"))


@functools.cache
def _index(url: str) -> OpenSearch:
    """The server, once for each worker, and told what the indices look like before it makes the first."""
    client = search.connect(url)
    search.put_template(client)
    return client
