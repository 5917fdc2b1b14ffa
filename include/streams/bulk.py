"""Bulk writing to a search server that may be slow, full or away: each document is stored, refused or handed back."""

import json
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from opensearchpy import ConnectionError, OpenSearch, TransportError

ATTEMPTS = 8
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 3.0
CHUNK_DOCUMENTS, CHUNK_BYTES = 1000, 5_000_000

_CONFLICT, _TOO_LARGE, _TOO_MANY = 409, 413, 429


@dataclass(frozen=True)
class Document:
    """What to store.

    Attributes:
        index: Where.
        id: Under which name; the same document always has the same.
        source: Its fields.
    """

    index: str
    id: str
    source: dict[str, Any]

    def action(self) -> str:
        """The two lines of a bulk request that create it."""
        head = json.dumps({"create": {"_index": self.index, "_id": self.id}})
        return f"{head}\n{json.dumps(self.source, ensure_ascii=False)}\n"


@dataclass
class Outcome:
    """What became of documents.

    Attributes:
        created: Ids stored now.
        existing: Ids stored earlier, left as they are.
        refused: Ids that the server will never take, with its reason.
        unsent: Ids that it would not take for now, with its last reason.
        retries: Documents sent again, each time counted.
    """

    created: set[str] = field(default_factory=set)
    existing: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)
    unsent: dict[str, str] = field(default_factory=dict)
    retries: int = 0


def write(
    client: OpenSearch,
    documents: Iterable[Document],
    seconds: float = 60.0,
    sleep: Callable[[float], object] = time.sleep,
) -> Outcome:
    """Creates documents; those that are there already stay as they are.

    Only what failed is sent again, after growing pauses with jitter, for as long as there is hope: when the server was
    too busy (429), broken (5xx) or away.

    Args:
        client: Of the server.
        documents: With distinct ids.
        seconds: After which nothing more is tried.
        sleep: Waits.
    """
    outcome = Outcome()
    deadline = time.monotonic() + seconds
    pending = {document.id: document for document in documents}
    for attempt in range(ATTEMPTS):
        for chunk in _chunks(pending.values()):
            _send(client, chunk, outcome)
        pending = {name: pending[name] for name in outcome.unsent}
        pause = min(FIRST_PAUSE * 2**attempt, LONGEST_PAUSE) * random.uniform(0.5, 1.0)
        if not pending or attempt == ATTEMPTS - 1 or time.monotonic() + pause > deadline:
            break
        outcome.unsent.clear()
        outcome.retries += len(pending)
        sleep(pause)
    return outcome


def _chunks(documents: Iterable[Document]) -> Iterator[list[Document]]:
    chunk: list[Document] = []
    size = 0
    for document in documents:
        length = len(document.action().encode())
        if chunk and (len(chunk) == CHUNK_DOCUMENTS or size + length > CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(document)
        size += length
    if chunk:
        yield chunk


def _send(client: OpenSearch, chunk: list[Document], outcome: Outcome) -> None:
    """One request; where it is too large for the server, two of half the size."""
    try:
        answer = client.bulk(body="".join(document.action() for document in chunk))
    except ConnectionError as error:  # also when it timed out
        outcome.unsent.update((document.id, f"the search server is away: {error}") for document in chunk)
    except TransportError as error:
        if error.status_code == _TOO_LARGE and len(chunk) > 1:
            _send(client, chunk[: len(chunk) // 2], outcome)
            _send(client, chunk[len(chunk) // 2 :], outcome)
        elif error.status_code == _TOO_LARGE:
            outcome.refused[chunk[0].id] = f"larger than the search server takes: {error}"
        else:
            outcome.unsent.update((document.id, str(error)) for document in chunk)
    else:
        for document, item in zip(chunk, answer["items"], strict=True):
            _note(document, item["create"], outcome)


def _note(document: Document, item: dict[str, Any], outcome: Outcome) -> None:
    status = item["status"]
    if status < 300:
        outcome.created.add(document.id)
    elif status == _CONFLICT:
        outcome.existing.add(document.id)
    elif status == _TOO_MANY or status >= 500:
        outcome.unsent[document.id] = _reason(item)
    else:
        outcome.refused[document.id] = _reason(item)


def _reason(item: dict[str, Any]) -> str:
    error = item.get("error")
    if isinstance(error, dict):
        return f"{error.get('type')}: {error.get('reason')}"
    return f"status {item['status']}: {error}"
