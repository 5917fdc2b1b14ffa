"""Published tables of the geo lake to the file that the live offers read: establishments, and how good their ads are.

The form of the file is that of `include.streams.establishments`, by whose parser it is read before it is put. These are
thousands of rows, of whatever engine made them, so this needs none.
"""

import gzip
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pyarrow.parquet as pq
from botocore.exceptions import ClientError

from include.jobs import arguments, lake
from include.streams import establishments
from include.tables import versions
from include.transforms.ctr import FLOOR

KEY = "reference/establishments.jsonl.gz"
"""Where the function and the Spark job of the live offers look, in the lake."""
WHOLE = "all"
"""The month that is the whole period."""
COLUMNS = {
    "establishments": ("establishment_id", "name", "category", "latitude", "longitude"),
    "campaigns": ("ad_id", "campaign_id", "establishment_id"),
    "campaign_ctr": ("campaign_id", "establishment_id", "month", "views", "low"),
}
"""Of the tables, what is read."""
DIGITS = 9
"""Of a rate's bound: engines differ in the last of a double's, and equal figures shall be equal bytes."""

Rows = Iterable[Mapping[str, Any]]


NEEDED = ("establishments", "campaigns")
"""Tables without which there is no file; ads that nobody has seen yet are offered without a rate."""


class InputsError(ValueError):
    """The inputs don't name a table, or nothing is where they say; the message says which and what to do."""


def reference(places: Rows, ads: Rows, rates: Rows, floor: int = FLOOR) -> tuple[bytes, dict[str, int]]:
    """The file, and what it has and lacks.

    An ad has the lower bound of its campaign's rate over the whole period. It has none, as if nobody had seen it, where
    the campaign has fewer views than the floor, for one click of one view is no rate of 20 %; and where its figures are
    suppressed.

    Args:
        places: Rows of establishments.
        ads: Rows of campaigns, one an ad.
        rates: Rows of campaign_ctr, of any months.
        floor: Views of a campaign from which its rate counts.

    Returns:
        Gzipped lines by establishment_id, the same bytes for the same rows in any order; and the number of
        `establishments`, of `ads`, of ads `with_rate`, of establishments `without_ads`, of ads of `unknown` ones, and
        of establishments `without_name`, which have their id instead.

    Raises:
        ReferenceDataError: an establishment is there twice, or none has an ad; the message says so.
    """
    lows: dict[tuple[str, str], float] = {}
    for row in rates:
        if row["month"] == WHOLE and row["low"] is not None and row["views"] >= floor:
            key = row["campaign_id"], row["establishment_id"]
            lows[key] = max(round(row["low"], DIGITS), lows.get(key, 0.0))
    found: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(ads, key=lambda row: (row["ad_id"], row["campaign_id"])):
        low = lows.get((row["campaign_id"], row["establishment_id"]))
        ad = {"ad_id": row["ad_id"], "campaign_id": row["campaign_id"], "ctr_low": low}
        found.setdefault(row["establishment_id"], []).append(ad)
    lines, counts = (
        [],
        dict.fromkeys(("establishments", "ads", "with_rate", "without_ads", "unknown", "without_name"), 0),
    )
    for row in sorted(places, key=lambda row: row["establishment_id"]):
        mine = found.get(row["establishment_id"])
        if mine is None:
            counts["without_ads"] += 1
            continue
        counts["establishments"] += 1
        counts["ads"] += len(mine)
        counts["with_rate"] += sum(ad["ctr_low"] is not None for ad in mine)
        counts["without_name"] += not row["name"]
        one = {name: row[name] for name in COLUMNS["establishments"]}
        one["name"] = row["name"] or row["establishment_id"]
        lines.append(json.dumps({**one, "ads": mine}, ensure_ascii=False) + "\n")
    counts["unknown"] = sum(map(len, found.values())) - counts["ads"]
    data = gzip.compress("".join(lines).encode(), mtime=0)
    establishments.parse(data)
    return data, counts


def build(
    s3: Any, tables: Mapping[str, Sequence[str]], bucket: str, is_newest: Callable[[], bool] = lambda: True
) -> dict[str, Any]:
    """Writes the file of a lake, if it is another than the one that is there.

    It is one put: whoever reads it meanwhile has the old one or the new one.
    Before establishments and campaigns have been delivered there is nothing to write, which is no error.

    Args:
        s3: A boto3 S3 client.
        tables: Table name to the s3:// prefixes of its Parquet files, of establishments and campaigns those of the
            delivery that counts. Of `campaign_ctr` there may be none.
        bucket: The lake.
        is_newest: Says, just before the file is put, whether nobody has newer tables; who has writes them.

    Returns:
        The counts of `reference`, `uri`, `bytes`, and whether it has `changed`; or why it was left alone, as `left`.

    Raises:
        InputsError: a table is missing from `tables`, or its files are.
        ReferenceDataError: as of `reference`.
    """
    if lacking := [name for name in COLUMNS if name not in tables]:
        raise InputsError(f"--inputs lacks {', '.join(lacking)}: give the prefixes of each table, or none of them")
    if absent := [name for name in NEEDED if not tables[name]]:
        return {"changed": False, "left": f"no {' and no '.join(absent)} have been delivered yet"}
    rows = {name: _rows(s3, name, tables[name], columns) for name, columns in COLUMNS.items()}
    data, counts = reference(rows["establishments"], rows["campaigns"], rows["campaign_ctr"])
    changed = _stored(s3, bucket) != data
    # In this order: a newer run says so before it looks at the file.
    if changed and not is_newest():
        return {"changed": False, "left": "a newer run writes it"}
    if changed:
        s3.put_object(Bucket=bucket, Key=KEY, Body=data)
    return {**counts, "uri": f"s3://{bucket}/{KEY}", "bytes": len(data), "changed": changed}


def _rows(s3: Any, table: str, locations: Sequence[str], columns: Sequence[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    files = 0
    for location in locations:
        bucket, _ = versions.split(location)
        for file in versions.files(s3, location):
            if file.key.endswith(".parquet"):
                files += 1
                body = s3.get_object(Bucket=bucket, Key=file.key)["Body"].read()
                found += pq.ParquetFile(io.BytesIO(body)).read(columns=list(columns)).to_pylist()
    if locations and not files:
        raise InputsError(
            f"there is no Parquet file of {table} below {list(locations)}: name the prefixes of its published version"
        )
    return found


def _stored(s3: Any, bucket: str) -> bytes | None:
    try:
        data: bytes = s3.get_object(Bucket=bucket, Key=KEY)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        return None
    return data


def main() -> None:
    """Runs the job."""
    given = arguments.read("inputs", "lake", "report")
    s3 = lake.client()
    inputs = lake.read_json(s3, given.inputs)

    def is_newest() -> bool:
        return "latest" not in inputs or lake.read_json(s3, inputs["latest"])["inputs"] == given.inputs

    report = build(s3, inputs["tables"], given.lake, is_newest)
    lake.write_json(s3, given.report, report)
    if "left" in report:
        print(f"{KEY} is left as it is: {report['left']}", flush=True)
    else:
        print(f"{report['uri']}: {report['establishments']} establishments with {report['ads']} ads", flush=True)


if __name__ == "__main__":
    main()
