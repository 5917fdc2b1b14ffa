"""Landing to bronze of the geo lake: sound rows of people who have consented, by pseudonym, a version a delivery.

`--files` names a JSON document: `zone`, `deliveries` (load_date, table, and key, etag and bytes of each file), and
`establishments`, locations of those that bronze has already. A delivery is all files of one table and day. Its rows are
kept, refused by who they are about, rejected with a reason, or further copies of a row; all of them are counted.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import boto3
import narwhals as nw
import pyarrow as pa
import pyarrow.parquet as pq

from include.jobs import arguments, engine, geo_tables, lake, landed
from include.jobs.engine import Engine
from include.jobs.source_files import FaultError
from include.tables import versions
from include.transforms import geo_screening as screening
from include.transforms import privacy
from include.transforms.grouping import counted

ESTABLISHMENTS, CAMPAIGNS, LOCATIONS, INTERACTIONS = TABLES = (
    "establishments",
    "campaigns",
    "location_records",
    "ad_interactions",
)
"""Tables of bronze, those first that others refer to."""
REJECTS = pa.schema(
    [
        *(
            (name, pa.string())
            for name in ("user_id", "establishment_id", "campaign_id", "ad_id", "category", "action")
        ),
        ("latitude", pa.float64()),
        ("longitude", pa.float64()),
        ("moment", pa.timestamp("us")),
        ("reason", pa.string()),
    ]
)
FILES = pa.schema(
    [
        ("source_file", pa.string()),
        ("bytes", pa.int64()),
        ("etag", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("rows_in", pa.int64()),
    ]
)
"""Columns of `geo_deliveries`, beside its partition keys."""

_COLUMNS = {
    ESTABLISHMENTS: geo_tables.ESTABLISHMENTS,
    CAMPAIGNS: geo_tables.CAMPAIGNS,
    LOCATIONS: geo_tables.LOCATIONS,
    INTERACTIONS: geo_tables.INTERACTIONS,
}
_CONSENT = pa.field("consent", pa.bool_())
_MARK = "pseudonym"


class Bronze:
    """Deliveries, on their way to versions of bronze.

    Args:
        on: The engine.
        s3: A client.
        bucket: The lake.
        version: Of what is written.
        zone: IANA name of the time zone that months are of.
        salt: Of the pseudonyms.
        known: Establishments that interactions may refer to; those that are loaded join them.
    """

    def __init__(
        self, on: Engine, s3: Any, bucket: str, version: str, zone: str, salt: bytes, known: Iterable[str]
    ) -> None:
        self.on, self.s3, self.bucket, self.version = on, s3, bucket, version
        self.zone, self.salt, self.known = zone, salt, set(known)

    def load(self, load_date: str, table: str, files: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Writes a delivery.

        Args:
            load_date: Its day, as 2026-07-01.
            table: One of `TABLES`; the files of any other are quarantined.
            files: key, etag and bytes of each.

        Returns:
            The delivery as the job's report has it.

        Raises:
            ChangedFileError: a file is not the one that the job was given.
        """
        listed = [self._looked_at(table, file) for file in files]
        made, rejects = self._made(load_date, table, files, listed)
        for file, found in zip(files, listed, strict=True):
            if found["status"] == "loaded":
                landed.require_unchanged(self.s3, self.bucket, file)
        reasons = Counter(rejects["reason"].to_pylist())
        quarantine = f"quarantine/geo_rejects/table_name={table}/load_date={load_date}"
        return {
            "table": table,
            "load_date": load_date,
            "files": listed,
            "rows_in": sum(found["rows_in"] for found in listed),
            **made,
            "rejected": rejects.num_rows,
            "reasons": dict(sorted(reasons.items())),
            "unknown": sum(count for reason, count in reasons.items() if screening.UNKNOWN_ESTABLISHMENT in reason),
            "quarantine": self._put(rejects, quarantine) if rejects.num_rows else None,
            "deliveries": self._put(
                pa.Table.from_pylist(listed, FILES), f"deliveries/geo/load_date={load_date}/table_name={table}"
            ),
        }

    def _looked_at(self, table: str, file: Mapping[str, Any]) -> dict[str, Any]:
        found = {"source_file": file["key"], "bytes": file["bytes"], "etag": file["etag"]}
        try:
            if table not in TABLES:
                raise FaultError("the file's name is that of no table")
            columns = _delivered(table)
            rows = landed.rows(self.s3, self.bucket, file, columns, optional=("name",))
        except FaultError as error:
            return {**found, "status": "quarantined", "reason": str(error), "rows_in": 0}
        return {**found, "status": "loaded", "reason": None, "rows_in": rows}

    def _made(
        self,
        load_date: str,
        table: str,
        files: Sequence[Mapping[str, Any]],
        listed: list[dict[str, Any]],
        tried: int = 0,
    ) -> tuple[dict[str, Any], pa.Table]:
        """What the sound files give, and the rejected rows; where one can't be read to its end, what the others do."""
        sound = [file for file, found in zip(files, listed, strict=True) if found["status"] == "loaded"]
        made: dict[str, Any] = {"months": {}, "location": None, "rows": 0, "refused": 0, "duplicates": 0}
        try:
            if sound and table in (ESTABLISHMENTS, CAMPAIGNS):
                return made, self._reference(load_date, table, sound, made)
            if sound:
                return made, self._records(load_date, table, sound, made, tried)
        except Exception:
            # Every engine tells of a broken page in its own way, and not in which file it is.
            if not self._quarantined(table, files, listed):
                raise
            return self._made(load_date, table, files, listed, tried + 1)
        return made, REJECTS.empty_table()

    def _quarantined(self, table: str, files: Sequence[Mapping[str, Any]], listed: list[dict[str, Any]]) -> bool:
        """Whether sound files were found broken after all, and so listed."""
        broken = False
        for file, found in zip(files, listed, strict=True):
            if found["status"] == "loaded":
                try:
                    landed.require_readable(self.s3, self.bucket, file, _delivered(table))
                except FaultError as error:
                    found |= {"status": "quarantined", "reason": str(error), "rows_in": 0}
                    broken = True
        return broken

    def _put(self, rows: pa.Table, folder: str) -> str:
        location = f"s3://{self.bucket}/{folder}/v={self.version}/"
        with TemporaryDirectory() as scratch:
            file = Path(scratch, "rows")
            pq.write_table(rows, file, compression="zstd")
            lake.upload(self.s3, file, f"{location}00000.parquet")
        return location

    def _read(self, table: str, files: Sequence[Mapping[str, Any]]) -> nw.LazyFrame:
        return self.on.read([f"s3://{self.bucket}/{file['key']}" for file in files], _delivered(table))

    # ------------------------------------------------------------------------------------ establishments and campaigns

    def _reference(
        self, load_date: str, table: str, files: Sequence[Mapping[str, Any]], made: dict[str, Any]
    ) -> pa.Table:
        """Few rows, judged one by one."""
        key = "establishment_id" if table == ESTABLISHMENTS else "ad_id"
        columns = _COLUMNS[table].names
        # In an order of their own: of two rows of a key, every engine keeps the same.
        rows = sorted(({name: row[name] for name in columns} for row in _pylist(self._read(table, files))), key=str)
        sound: dict[str, dict[str, Any]] = {}
        rejected = []
        for row in rows:
            if sound.get(row[key]) == row:
                made["duplicates"] += 1
            elif reasons := list(self._wrong(table, row, row[key] in sound)):
                rejected.append({**{name: row.get(name) for name in REJECTS.names}, "reason": "; ".join(reasons)})
            else:
                sound[row[key]] = row
        kept = [sound[one] for one in sorted(sound)]
        made["rows"] = len(kept)
        if kept:
            folder = f"bronze/{table}/load_date={load_date}"
            made["location"] = self._put(pa.Table.from_pylist(kept, _COLUMNS[table]), folder)
        if table == ESTABLISHMENTS:
            self.known |= sound.keys()
        return pa.Table.from_pylist(rejected, REJECTS)

    def _wrong(self, table: str, row: Mapping[str, Any], repeated: bool) -> Iterable[str]:
        for name in _COLUMNS[table].names:
            if name not in ("name", "latitude", "longitude") and not (row[name] or "").strip():
                yield f"{name} is missing"
        if table == ESTABLISHMENTS:
            for name, limit in (("latitude", 90), ("longitude", 180)):
                if row[name] is None or not -limit <= row[name] <= limit:
                    yield f"{name} is not from -{limit} to {limit}"
        elif (row["establishment_id"] or "").strip() and row["establishment_id"] not in self.known:
            yield screening.UNKNOWN_ESTABLISHMENT
        if repeated:
            yield "another row of the delivery has the same key"

    # ---------------------------------------------------------------------------- location records and interactions

    def _records(
        self, load_date: str, table: str, files: Sequence[Mapping[str, Any]], made: dict[str, Any], tried: int
    ) -> pa.Table:
        delivered = self._read(table, files)
        rows = privacy.consented(delivered)
        (total,) = _pylist(delivered.select(nw.len().alias("rows")))
        (consenting,) = _pylist(rows.select(nw.len().alias("rows")))
        made["refused"] = total["rows"] - consenting["rows"]
        judged = self._judged(self._pseudonymous(rows), load_date, table)
        columns = _COLUMNS[table].names
        wrong = nw.col("reason").fill_null("") != ""
        rejects = judged.filter(wrong).select(*columns, "reason").collect("pyarrow").to_native()
        sound = counted(judged.filter(~wrong), columns, "copies")
        location = f"{versions.location(self.bucket, 'bronze', table, self.version)}load_date={load_date}/"
        if tried:  # beside what a failed try may have left
            location += f"again={tried}/"
        # In the order of people, as people are what is looked for, and grouped by.
        self.on.write_months(geo_tables.with_month(sound, self.zone), location, ("user_id", "moment", *columns[1:-1]))
        counts = geo_tables.counted(self.on, self.s3, location, "copies")
        made["months"] = {
            month: {"location": f"{location}{geo_tables.MONTH}{month}/", "rows": count["rows"]}
            for month, count in counts.items()
        }
        made["rows"] = sum(count["rows"] for count in counts.values())
        made["duplicates"] = sum(count["copies"] for count in counts.values()) - made["rows"]
        padded = [
            rejects[name].cast(dtype) if name in rejects.column_names else pa.nulls(rejects.num_rows, dtype)
            for name, dtype in zip(REJECTS.names, REJECTS.types, strict=True)
        ]
        order = [(name, "ascending") for name in REJECTS.names]
        return pa.table(padded, schema=REJECTS).sort_by(order)

    def _pseudonymous(self, rows: nw.LazyFrame) -> nw.LazyFrame:
        """The rows with pseudonyms instead of ids: hashing is no expression, so distinct ids are hashed here."""
        given = nw.col("user_id").fill_null("").str.strip_chars() != ""
        ids = rows.filter(given).select("user_id").unique(["user_id"]).collect("pyarrow").to_native()["user_id"]
        names = privacy.pseudonyms(ids.to_pylist(), self.salt)
        mapping = pa.table({"user_id": sorted(names), _MARK: [names[name] for name in sorted(names)]}, _MAPPING)
        joined = rows.join(self.on.take(mapping), on="user_id", how="left")
        return joined.drop("user_id").rename({_MARK: "user_id"})

    def _judged(self, rows: nw.LazyFrame, load_date: str, table: str) -> nw.LazyFrame:
        day = date.fromisoformat(load_date)
        if table == LOCATIONS:
            return rows.with_columns(screening.location_reason(day).alias("reason"))
        known = sorted(self.known)
        establishments = pa.table({"establishment_id": known, screening.KNOWN: [True] * len(known)}, _KNOWN)
        joined = rows.join(self.on.take(establishments), on="establishment_id", how="left")
        return joined.with_columns(screening.interaction_reason(day).alias("reason"))


_MAPPING = pa.schema([("user_id", pa.string()), (_MARK, pa.string())])
_KNOWN = pa.schema([("establishment_id", pa.string()), (screening.KNOWN, pa.bool_())])


def _delivered(table: str) -> pa.Schema:
    """The columns of a table's files."""
    columns = _COLUMNS[table]
    return columns.append(_CONSENT) if table in (LOCATIONS, INTERACTIONS) else columns


def _pylist(frame: nw.LazyFrame) -> list[dict[str, Any]]:
    return frame.collect("pyarrow").to_native().to_pylist()


def known_establishments(on: Engine, locations: Sequence[str]) -> list[str]:
    """The establishments that bronze has, of any delivery."""
    rows = on.read(locations, geo_tables.ESTABLISHMENTS).select("establishment_id")
    return rows.collect("pyarrow").to_native()["establishment_id"].to_pylist()


def salt(name: str) -> bytes:
    """The salt of the pseudonyms, from AWS Secrets Manager."""
    return boto3.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"].encode()


def main() -> None:
    """Runs the job."""
    given = arguments.read("files", "version", "lake", "report", "salt_secret", optional=("engine", "dask_scheduler"))
    s3 = lake.client()
    planned = lake.read_json(s3, given.files)
    with engine.chosen(given.engine, given.dask_scheduler) as on:
        known = known_establishments(on, planned["establishments"])
        bronze = Bronze(on, s3, given.lake, given.version, planned["zone"], salt(given.salt_secret), known)
        order = {name: number for number, name in enumerate(TABLES)}
        deliveries = sorted(
            planned["deliveries"], key=lambda found: (order.get(found["table"], len(order)), found["load_date"])
        )
        loaded = []
        for delivery in deliveries:
            loaded.append(bronze.load(delivery["load_date"], delivery["table"], delivery["files"]))
            said = ", ".join(f"{loaded[-1][name]} {name}" for name in ("rows", "refused", "rejected", "duplicates"))
            print(f"{delivery['load_date']} {delivery['table']}: {said}", flush=True)
    lake.write_json(s3, given.report, {"deliveries": loaded})


if __name__ == "__main__":
    main()
