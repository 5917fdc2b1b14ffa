"""The Glue Catalog: moto's, made to keep its promises and to survive a restart.

moto ignores the version that UpdateTable expects (updates get lost), loses a partition when it can't be renamed, takes
any number of partition values, and knows neither segments nor pages of partitions. A database is the folder
``<state>/catalog/<region>/<database>``, a table a file in it; each change replaces one file in one step.
"""

import functools
import json
import shutil
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from moto.core.responses import ActionResult
from moto.glue.exceptions import GlueClientError, InvalidInputException, PartitionAlreadyExistsException
from moto.glue.models import FakeDatabase, FakePartition, FakeTable, GlueBackend, glue_backends
from moto.glue.responses import GlueResponse

from local.aws import plugging
from local.aws.settings import ACCOUNT, REGION, current

PAGE = 1000
"""The most partitions that one page of GetPartitions holds."""


class ConcurrentModificationException(GlueClientError):  # noqa: N818 (the API's name)
    """Somebody else changed the table since the caller read it."""

    def __init__(self, message: str) -> None:
        super().__init__("ConcurrentModificationException", message)


def backend() -> "Catalog":
    """The backend that answers."""
    return glue_backends[ACCOUNT][REGION]  # type: ignore[return-value]


def plug() -> None:
    """Let this module answer the Glue Catalog's APIs."""
    plugging.plug(Catalog)


def _changing[**P, R](method: Callable[P, R]) -> Callable[P, R]:
    """A method that changes tables: nobody reads or writes the catalog meanwhile."""

    @functools.wraps(method)
    def locked(*args: P.args, **kwargs: P.kwargs) -> R:
        with args[0].lock:  # type: ignore[attr-defined]
            return method(*args, **kwargs)

    return locked


class CatalogResponse(GlueResponse):
    """moto's parsing of requests, plus the parameters that it overlooks."""

    @property
    def catalog(self) -> "Catalog":
        """The backend, by its real type."""
        return self.glue_backend  # type: ignore[return-value]

    def update_table(self) -> ActionResult:
        """UpdateTable, with the version that the caller read."""
        table = self.parameters["TableInput"]
        self.catalog.update_table(
            self.parameters["DatabaseName"], table["Name"], table, self.parameters.get("VersionId")
        )
        return ActionResult({})

    def get_partitions(self) -> tuple[int, dict[str, str], str]:  # type: ignore[override]
        """GetPartitions, by segment and page."""
        wanted = self.parameters
        partitions = self.catalog.get_partitions(wanted["DatabaseName"], wanted["TableName"], wanted.get("Expression"))
        segment = wanted.get("Segment") or {"SegmentNumber": 0, "TotalSegments": 1}
        partitions = partitions[segment["SegmentNumber"] :: segment["TotalSegments"]]
        start, size = int(wanted.get("NextToken") or 0), min(wanted.get("MaxResults") or PAGE, PAGE)
        found = [dict(partition.as_dict()) for partition in partitions[start : start + size]]
        if wanted.get("ExcludeColumnSchema"):
            for partition in found:
                descriptor = {k: v for k, v in (partition.get("StorageDescriptor") or {}).items() if k != "Columns"}
                partition["StorageDescriptor"] = descriptor
        more = {"NextToken": str(start + size)} if start + size < len(partitions) else {}
        # Not by moto, which takes milliseconds for each partition.
        answer = json.dumps({"Partitions": found, **more}, default=_seconds)
        return 200, {"Content-Type": "application/x-amz-json-1.1"}, answer


class Catalog(plugging.Plugged, GlueBackend):
    """moto's Glue, whose databases, tables and partitions are files too.

    Attributes:
        lock: Held during every change; hold it to read several tables at one moment.
    """

    service = "glue"
    response = CatalogResponse

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.lock = threading.RLock()
        self._folder = current().state / "catalog" / region_name
        self._restore()

    # ----------------------------------------------------------------------------------------------------- databases

    @_changing
    def create_database(
        self, database_name: str, database_input: dict[str, Any], tags: dict[str, str] | None = None
    ) -> FakeDatabase:
        """Create a database."""
        name = database_name.lower()
        database = super().create_database(name, {**database_input, "Name": name}, tags)
        self._save_database(database)
        return database

    def get_database(self, database_name: str) -> FakeDatabase:
        """Find a database; names have no case."""
        return super().get_database(database_name.lower())

    @_changing
    def update_database(self, database_name: str, database_input: dict[str, Any]) -> None:
        """Replace what is known of a database."""
        super().update_database(database_name.lower(), database_input)
        self._save_database(self.get_database(database_name))

    @_changing
    def delete_database(self, database_name: str) -> None:
        """Delete a database and its tables."""
        super().delete_database(database_name.lower())
        shutil.rmtree(self._of_database(database_name.lower()), ignore_errors=True)

    # -------------------------------------------------------------------------------------------------------- tables

    @_changing
    def create_table(
        self,
        database_name: str,
        table_name: str,
        table_input: dict[str, Any],
        open_table_format_input: dict[str, Any] | None = None,
    ) -> FakeTable:
        """Create a table."""
        name = table_name.lower()
        described = {**table_input, "Name": name}
        table = super().create_table(database_name.lower(), name, described, open_table_format_input)
        self._save(table)
        return table

    def get_table(self, database_name: str, table_name: str) -> FakeTable:
        """Find a table; names have no case."""
        return super().get_table(database_name, table_name.lower())

    @_changing
    def update_table(
        self, database_name: str, table_name: str, table_input: dict[str, Any], version: str | None = None
    ) -> None:
        """Replace what is known of a table.

        Args:
            database_name: Its database.
            table_name: Its name.
            table_input: All that is known of it from now on.
            version: The version that the caller read; another one means that an update would get lost.

        Raises:
            ConcurrentModificationException: The table has another version by now.
        """
        table = self.get_table(database_name, table_name)
        if version is not None and str(version) != str(table._current_version):
            raise ConcurrentModificationException(
                f"Update table failed due to concurrent modifications: {database_name}.{table_name} is at version "
                f"{table._current_version}, not {version}."
            )
        super().update_table(database_name, table_name, {**table_input, "Name": table.name})
        self._save(table)

    @_changing
    def delete_table_version(self, database_name: str, table_name: str, version_id: str) -> None:
        """Forget an old version of a table."""
        table = self.get_table(database_name, table_name)
        table.get_version(version_id)
        if version_id == str(table._current_version):
            raise InvalidInputException("DeleteTableVersion", "The current version of a table cannot be deleted.")
        super().delete_table_version(database_name, table_name, version_id)
        self._save(table)

    @_changing
    def delete_table(self, database_name: str, table_name: str) -> None:
        """Delete a table; its files stay."""
        super().delete_table(database_name, table_name.lower())
        self._of_table(database_name.lower(), table_name.lower()).unlink(missing_ok=True)

    # ---------------------------------------------------------------------------------------------------- partitions

    @_changing
    def create_partition(self, database_name: str, table_name: str, part_input: dict[str, Any]) -> None:
        """Add a partition."""
        table = self.get_table(database_name, table_name)
        _check_values(table, part_input)
        super().create_partition(database_name, table_name, part_input)
        self._save(table)

    @_changing
    def batch_create_partition(
        self, database_name: str, table_name: str, partition_input: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """Add partitions; those that exist are reported."""
        table = self.get_table(database_name, table_name)
        for partition in partition_input:
            _check_values(table, partition)
        errors = super().batch_create_partition(database_name, table_name, partition_input)
        self._save(table)
        return errors

    @_changing
    def update_partition(
        self, database_name: str, table_name: str, part_input: dict[str, Any], part_to_update: Any
    ) -> None:
        """Replace a partition, or rename it, in one step."""
        table = self.get_table(database_name, table_name)
        _check_update(table, part_input, part_to_update)
        super().update_partition(database_name, table_name, part_input, part_to_update)
        self._save(table)

    @_changing
    def batch_update_partition(
        self, database_name: str, table_name: str, entries: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """Replace partitions; those that don't exist are reported."""
        table = self.get_table(database_name, table_name)
        for entry in entries:
            _check_update(table, entry["PartitionInput"], entry["PartitionValueList"])
        errors = super().batch_update_partition(database_name, table_name, entries)
        self._save(table)
        return errors

    @_changing
    def delete_partition(self, database_name: str, table_name: str, part_to_delete: Any) -> None:
        """Forget a partition; its files stay."""
        super().delete_partition(database_name, table_name, part_to_delete)
        self._save(self.get_table(database_name, table_name))

    @_changing
    def batch_delete_partition(
        self, database_name: str, table_name: str, parts: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """Forget partitions; those that don't exist are reported."""
        errors = super().batch_delete_partition(database_name, table_name, parts)
        self._save(self.get_table(database_name, table_name))
        return errors

    @_changing
    def get_partitions(self, database_name: str, table_name: str, expression: str | None) -> list[FakePartition]:
        """Find the partitions that a Glue expression is true of."""
        return super().get_partitions(database_name, table_name, expression)  # type: ignore[arg-type]

    # --------------------------------------------------------------------------------------------------------- files

    def _of_database(self, database: str) -> Path:
        return self._folder / quote(database, safe="")

    def _of_table(self, database: str, table: str) -> Path:
        return self._of_database(database) / "tables" / f"{quote(table, safe='')}.json"

    def _save_database(self, database: FakeDatabase) -> None:
        described = {"name": database.name, "input": database.input, "created": database.created_time}
        _write(self._of_database(database.name) / "database.json", described)

    def _save(self, table: FakeTable) -> None:
        partitions = [
            {"input": partition.partition_input, "created": partition.creation_time}
            for partition in table.partitions.values()
        ]
        described = {
            "name": table.name,
            "created": table.created_time,
            "updated": table.updated_time,
            "version": table._current_version,
            "versions": table.versions,
            "partitions": partitions,
        }
        _write(self._of_table(table.database_name, table.name), described)

    def _restore(self) -> None:
        for file in sorted(self._folder.glob("*/database.json")):
            saved = json.loads(file.read_text())
            database = FakeDatabase(saved["name"], saved["input"], catalog_id=self.account_id)
            database.created_time = datetime.fromisoformat(saved["created"])
            self.databases[database.name] = database
            for table_file in sorted(file.parent.glob("tables/*.json")):
                table = self._restored(database.name, json.loads(table_file.read_text()))
                database.tables[table.name] = table

    def _restored(self, database: str, saved: dict[str, Any]) -> FakeTable:
        table = FakeTable(database, saved["name"], {}, catalog_id=self.account_id)
        table.created_time = datetime.fromisoformat(saved["created"])
        table.updated_time = datetime.fromisoformat(saved["updated"]) if saved["updated"] else None
        table._current_version = saved["version"]
        table.versions = saved["versions"]
        for described in saved["partitions"]:
            partition = FakePartition(database, table.name, described["input"])
            partition.creation_time = datetime.fromisoformat(described["created"])
            table.partitions[str(partition.values)] = partition
        return table


def _seconds(moment: datetime) -> float:
    """Seconds since 1970 of a moment in UTC, which is how the protocol has it."""
    return moment.replace(tzinfo=UTC).timestamp()


def _check_values(table: FakeTable, partition: dict[str, Any]) -> None:
    keys = table.as_dict().get("PartitionKeys") or []
    if len(partition.get("Values") or []) != len(keys):
        raise InvalidInputException(
            "CreatePartition",
            "The number of partition keys do not match the number of partition values: "
            f"{[key['Name'] for key in keys]}, {partition.get('Values')}",
        )


def _check_update(table: FakeTable, new: dict[str, Any], old: list[str]) -> None:
    _check_values(table, new)
    if new["Values"] != old and str(old) in table.partitions and str(new["Values"]) in table.partitions:
        raise PartitionAlreadyExistsException  # moto would have removed the old one by the time it finds out


def _write(file: Path, described: dict[str, Any]) -> None:
    """Replace a file in one step, so that a crash leaves the old or the new one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{uuid.uuid4().hex}")
    temporary.write_text(json.dumps(described, default=datetime.isoformat))  # `dump` would be ten times slower
    temporary.replace(file)
