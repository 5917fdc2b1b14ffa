"""What all kinds of statements share: the statement itself, its outcome, and how tables are described."""

import base64
import contextlib
import json
import re
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from local.aws import athena_tables, s3
from local.aws.athena_errors import Cancelled, QueryFailed
from local.aws.athena_results import ResultColumn, ResultFile
from local.aws.athena_tables import Table
from local.aws.catalog import Catalog
from local.aws.settings import current

PARQUET_FORMATS = (
    "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
    "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
)
TEXT_FORMATS = (
    "org.apache.hadoop.mapred.TextInputFormat",
    "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
)
FORMATS = {
    "PARQUET": (athena_tables.PARQUET_SERDE, *PARQUET_FORMATS),
    "TEXTFILE": (athena_tables.TEXT_SERDE, *TEXT_FORMATS),
    "JSON": (athena_tables.JSON_SERDES[1], *TEXT_FORMATS),
}
"""SerDe, input format and output format of what ``STORED AS`` and ``format`` name."""


@dataclass
class Outcome:
    """What a statement leaves.

    Attributes:
        file: The result's description, when its rows are in a file.
        extension: Of the result file: ``csv``, ``txt``, or empty where there is none.
        manifest: S3 URIs of the data files that were written, if any.
        updated: Rows written.
        output: Where the rows went instead of a result file.
    """

    file: ResultFile
    extension: str = "csv"
    manifest: list[str] | None = None
    updated: int = 0
    output: str | None = None


@dataclass
class Statement:
    """One statement with its surroundings.

    Attributes:
        id: Of the execution.
        sql: As the user wrote it.
        database: Of tables that are written without one.
        parameters: For its question marks.
        output: The prefix for results, with a final slash.
        enforced: Whether the workgroup alone decides where results go.
        cutoff: The most bytes that it may read.
        scanned: Bytes of the files that it reads.
    """

    id: str
    sql: str
    database: str
    parameters: list[str] | None
    output: str
    enforced: bool = False
    cutoff: int | None = None
    scanned: int = 0
    connection: duckdb.DuckDBPyConnection | None = None
    stopped: threading.Event = field(default_factory=threading.Event)

    def stop(self) -> None:
        """Interrupt it wherever it is."""
        self.stopped.set()
        threading.Thread(target=self._interrupt, name=f"athena-stop-{self.id}", daemon=True).start()

    def _interrupt(self) -> None:
        # DuckDB forgets an interrupt that comes just before it starts on the next command.
        while (connection := self.connection) is not None:
            with contextlib.suppress(duckdb.Error):  # it may have been closed meanwhile
                connection.interrupt()
            time.sleep(0.05)

    def check(self) -> None:
        """Go on only if nobody stopped it.

        Raises:
            Cancelled: Somebody did.
        """
        if self.stopped.is_set():
            raise Cancelled

    @property
    def staging(self) -> Path:
        """A folder of its own beside the lake."""
        return current().state / "athena" / self.id


def written(statement: Statement, columns: list[ResultColumn], rows: list[tuple[str | None, ...]]) -> Outcome:
    """The outcome of a definition or utility: lines of text."""
    text = "".join("\t".join(value or "" for value in row) + "\n" for row in rows)
    s3.put(f"{statement.output}{statement.id}.txt", text.encode())
    return Outcome(ResultFile(columns, header=False, rows=len(rows), kept=[list(row) for row in rows]), "txt")


def add_partition(catalog: Catalog, table: Table, values: tuple[str | None, ...], location: str) -> None:
    """Add a partition to the catalog, described as its table is."""
    descriptor = catalog.get_table(table.name.database, table.name.table).as_dict().get("StorageDescriptor") or {}
    partition = {
        "Values": [athena_tables.NO_VALUE if value is None else value for value in values],
        "StorageDescriptor": {**descriptor, "Location": location},
    }
    catalog.create_partition(table.name.database, table.name.table, partition)


def view_definition(table: Table) -> dict[str, Any]:
    """The stored form of a view: ``originalSql``, ``schema``, ``columns``.

    Raises:
        QueryFailed: It isn't one that Athena stored.
    """
    match = re.fullmatch(r"/\* Presto View: (\S+) \*/", (table.view or "").strip())
    if match is None:
        raise QueryFailed("INVALID_VIEW", f"'{table.name}' is not a view that Athena created")
    return json.loads(base64.b64decode(match[1]))
