"""The search index of the web logs beside the lake: which lines it lacks, as `index_gaps`; and the end of old indexes.

With `--inputs`, a JSON document, the job compares: `hours`, and `lines`, locations of `web_logs` of these. Lines are
looked up by their hash, some thousand at a time. Equal lines share it: of these, the index must have at least one and
no more than arrived, for nothing tells a line that was sent again from an equal request of the same second.

With `--drop-before`, a day, it deletes the indexes of the days before that.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from opensearchpy import NotFoundError, OpenSearch

from include.jobs import arguments, hourly, lake
from include.streams import search
from include.tables import versions

SHOWN = 20
"""The most that are named in the report; the table has all."""
SECONDS = 60.0
"""For how long the search server may think about a request."""

_AT_ONCE = 5000
_COLUMNS = ["line_id", "event_time", "client", "path", "copies"]
GAPS = pa.schema(
    [
        ("line_id", pa.string()),
        ("event_time", pa.timestamp("us")),
        ("client", pa.string()),
        ("path", pa.string()),
        ("copies", pa.int64()),
        ("documents", pa.int64()),
        ("cause", pa.string()),
    ]
)
"""Columns of `index_gaps`, beside its partition keys."""

Row = dict[str, Any]


def compare(
    client: OpenSearch, hours: Iterable[str], lines: Iterable[Sequence[Row]]
) -> tuple[dict[str, Row], list[Row]]:
    """Looks for lines in the index.

    Args:
        client: Of the search server.
        hours: As 2026-03-01T10.
        lines: Batches of the rows of `web_logs` of these hours.

    Returns:
        Of each hour: `lines`, distinct ones in the lake; `requests`, equal ones counted; `documents` in the index;
        and how many lines are `missing` there or have `surplus` documents. And the rows of `index_gaps`.
    """
    indexes = {hour: search.index_of(datetime.fromisoformat(f"{hour}:00:00")) for hour in sorted(hours)}
    counts: dict[str, Counter[str]] = {hour: Counter() for hour in indexes}
    for name in sorted(set(indexes.values())):
        # A document can be found some seconds after it was stored, unless one asks for it.
        if client.indices.exists(index=name):
            client.indices.refresh(index=name)
    gaps = []
    for batch in lines:
        found = _documents(client, batch)
        for row in batch:
            hour, documents = f"{row['event_time']:%Y-%m-%dT%H}", found.get(row["line_id"], 0)
            counts[hour].update(lines=1, requests=row["copies"])
            if not 1 <= documents <= row["copies"]:
                cause = "surplus" if documents else "missing"
                counts[hour][cause] += 1
                gaps.append({**row, "documents": documents, "cause": cause})
    said = ("lines", "requests", "documents", "missing", "surplus")
    for hour, index in indexes.items():
        counts[hour]["documents"] = _count(client, index, hour)
    return {hour: {name: of[name] for name in said} for hour, of in counts.items()}, gaps


def _documents(client: OpenSearch, rows: Sequence[Row]) -> dict[str, int]:
    """Hash of a line → how many documents there are of it."""
    names = ",".join(sorted({search.index_of(row["event_time"]) for row in rows}))
    ids = [row["line_id"] for row in rows]
    # As many terms as can be: so they are counted, not estimated.
    asked = {
        "size": 0,
        "query": {"terms": {"line": ids}},
        "aggs": {"lines": {"terms": {"field": "line", "size": len(ids)}}},
    }
    answer = client.search(index=names, body=asked, params={"ignore_unavailable": "true"})
    buckets = answer.get("aggregations", {}).get("lines", {}).get("buckets", [])
    return {bucket["key"]: bucket["doc_count"] for bucket in buckets}


def _count(client: OpenSearch, index: str, hour: str) -> int:
    """Documents of an hour."""
    start = datetime.fromisoformat(f"{hour}:00:00")
    within = {"range": {"@timestamp": {"gte": _stamp(start), "lt": _stamp(start + timedelta(hours=1))}}}
    try:
        return int(client.count(index=index, body={"query": within})["count"])
    except NotFoundError:
        return 0


def _stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def drop(client: OpenSearch, before: date) -> list[str]:
    """Deletes the indexes of the days before a day; those of other names are left alone.

    Returns:
        The names of the deleted ones.
    """
    old = [name for name in sorted(client.indices.get(index=search.INDICES)) if _is_before(name, before)]
    for name in old:
        client.indices.delete(index=name, params={"ignore_unavailable": "true"})
    return old


def _is_before(name: str, day: date) -> bool:
    try:
        made = datetime.strptime(name, "weblogs-%Y.%m.%d")
    except ValueError:
        return False
    return search.index_of(made) == name and made.date() < day


def _batches(s3: Any, locations: Iterable[str]) -> Iterator[list[Row]]:
    for location in locations:
        for file in versions.files(s3, location):
            body = s3.get_object(Bucket=versions.split(location)[0], Key=file.key)["Body"].read()
            for batch in pq.ParquetFile(pa.BufferReader(body)).iter_batches(_AT_ONCE, columns=_COLUMNS):
                yield batch.to_pylist()


def _told(gap: Mapping[str, Any]) -> str:
    what = f"{gap['client']} {gap['path'] or 'no path'} of {gap['event_time'].isoformat()}, line {gap['line_id']}"
    return f"{what}: {gap['documents']} documents of {gap['copies']}"


def main() -> None:
    """Runs the job."""
    given = arguments.read("version", "lake", "report", "search_url", optional=("inputs", "drop_before"))
    s3, client = lake.client(), search.connect(given.search_url, SECONDS)
    report: dict[str, Any] = {}
    if given.inputs:
        inputs = lake.read_json(s3, given.inputs)
        counts, gaps = compare(client, inputs["hours"], _batches(s3, inputs["lines"]))
        gaps.sort(key=lambda gap: (gap["event_time"], gap["line_id"]))
        location = versions.location(given.lake, "gold", "index_gaps", given.version)
        hourly.write_rows(s3, gaps, GAPS, "event_time", location)
        print(f"{len(counts)} hours, {len(gaps)} gaps", flush=True)
        report |= {"location": location, "hours": counts, "named": [_told(gap) for gap in gaps[:SHOWN]]}
    if given.drop_before:
        report["dropped"] = drop(client, date.fromisoformat(given.drop_before))
        print(f"dropped {', '.join(report['dropped']) or 'no index'}", flush=True)
    lake.write_json(s3, given.report, report)


if __name__ == "__main__":
    main()
