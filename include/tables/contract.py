"""Reads the table contracts and says what the Glue Catalog and the checks need to know of them.

`python -m include.tables.contract` prints the JSON schema editors use (`contract.schema.json`).
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from include import yaml_lines
from include.tables.odcs import BRONZE_TYPES, Document, Kind, Layer, Property, SqlCheck
from include.yaml_lines import Location, YamlFile, nearest

FOLDER = Path(__file__).parent

PARQUET = {
    "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
    "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
    "SerdeInfo": {"SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"},
}

__all__ = ["ContractError", "Layer", "Property", "SqlCheck", "Table", "load", "names", "of_layer", "of_product"]


class ContractError(ValueError):
    """A table contract is missing or wrong; the message has a line `file:line: problem` for each mistake."""


@dataclass(frozen=True, eq=False)
class Table:
    """A table of the lake.

    Attributes:
        name: Its name in the Glue Catalog.
        database: Glue database that it is in.
        layer: Layer of the lake that it belongs to.
        purpose: What it holds.
        properties: All columns, those of the partition keys too, in the order that gold files hold them in.
        owner: Who answers for it.
        granularity: What one row is.
        product: Product that writes it; empty where none does.
        checks: What must hold beside what the columns say.
        freshness: Days that the newest value of `dated_by` may be old; None where nothing is promised.
        dated_by: Column that freshness is told by; empty where nothing is promised.
        optional: Whether the lake may do without the table.
        source_key: Columns that are the key of a source row.
    """

    name: str
    database: str
    layer: Layer | Literal["bronze", "quarantine"]
    purpose: str
    properties: tuple[Property, ...]
    owner: str
    granularity: str = ""
    product: str = ""
    checks: tuple[SqlCheck, ...] = ()
    freshness: int | None = None
    dated_by: str = ""
    optional: bool = False
    source_key: tuple[str, ...] = ()
    file: YamlFile | None = field(default=None, repr=False)

    @property
    def relation(self) -> str:
        """Database and name, as queries say it."""
        return f"{self.database}.{self.name}"

    @property
    def columns(self) -> list[Property]:
        """Columns that are not partition keys, in order."""
        return [column for column in self.properties if not column.partitioned]

    @property
    def partition_keys(self) -> list[Property]:
        """Columns that the catalog's partitions hold, in order."""
        keys = [column for column in self.properties if column.partitioned]
        return sorted(keys, key=lambda column: column.partitionKeyPosition)

    @property
    def primary_key(self) -> list[str]:
        """Names of the columns that identify a row within a partition; empty when nothing does."""
        keys = [column for column in self.properties if column.primaryKey]
        return [column.name for column in sorted(keys, key=lambda column: column.primaryKeyPosition)]

    @property
    def reads(self) -> list[str]:
        """Names of the other tables that the checks read, sorted."""
        return sorted({name for check in self.checks for name in check.tables})

    def where(self, *location: str | int) -> str:
        """The file and line of the contract to look at, as in `include/tables/orders.yaml:12`."""
        return self.file.where(location) if self.file else self.name

    def storage(self, location: str) -> dict[str, Any]:
        """The Glue `StorageDescriptor` of the table, or of one of its partitions, at `location` (an s3:// URI)."""
        columns = [{"Name": c.name, "Type": c.physicalType, "Comment": c.description} for c in self.columns]
        return {"Columns": columns, "Location": location, **PARQUET}

    def glue_input(self, location: str) -> dict[str, Any]:
        """The Glue `TableInput` that creates the table, its data below `location` (an s3:// URI)."""
        return {
            "Name": self.name,
            "Description": self.purpose,
            "TableType": "EXTERNAL_TABLE",
            "Parameters": {"EXTERNAL": "TRUE", "classification": "parquet"},
            "PartitionKeys": [{"Name": k.name, "Type": k.physicalType} for k in self.partition_keys],
            "StorageDescriptor": self.storage(location),
        }

    def ddl(self, location: str) -> str:
        """The `CREATE EXTERNAL TABLE` statement of Athena that makes the table of `glue_input`."""

        def listed(columns: Iterable[Property]) -> str:
            return ",\n".join(f"  `{c.name}` {c.physicalType} COMMENT {_text(c.description)}" for c in columns)

        partitions = ",\n".join(f"  `{key.name}` {key.physicalType}" for key in self.partition_keys)
        clauses = [
            f"CREATE EXTERNAL TABLE `{self.database}`.`{self.name}` (\n{listed(self.columns)}\n)",
            f"COMMENT {_text(self.purpose)}",
            *([f"PARTITIONED BY (\n{partitions}\n)"] if partitions else []),
            "STORED AS PARQUET",
            f"LOCATION {_text(location)}",
            "TBLPROPERTIES ('classification' = 'parquet')",
        ]
        return "\n".join(clauses)

    def candidate(self, name: str) -> "Table":
        """The table under another name in `vitrine_audit`, for checks on a version that isn't published.

        The files hold every column, so what are partition keys of the table are columns of the candidate, and one
        location takes in the whole version.
        """
        columns = tuple(column.model_copy(update={"partitioned": False}) for column in self.properties)
        return replace(self, name=name, database="vitrine_audit", properties=columns)

    def bronze(self) -> "Table":
        """The bronze table behind a silver one: the source's columns, typed, and where each row comes from."""
        sources = (
            column.model_copy(
                update={
                    "name": column.transformSourceObjects[0],
                    "logicalType": "date" if kind == "wall_time" else column.logicalType,
                    "physicalType": BRONZE_TYPES[kind],
                    "description": f"Read into {self.name}.{column.name}: {column.description}",
                    **_UNCHECKED,
                }
            )
            for kind, column in self._read()
        )
        return self._source_table(
            "bronze", "as delivered, typed", (*sources, *LINEAGE), [_partition("load_date", "date", _DELIVERED)]
        )

    def quarantine(self) -> "Table":
        """The quarantine of a silver table: rows that were rejected, as text, and why."""
        sources = (
            column.model_copy(
                update={
                    "name": column.transformSourceObjects[0],
                    "logicalType": "string",
                    "physicalType": "string",
                    "description": f"As delivered, for {self.name}.{column.name}: {column.description}",
                    **_UNCHECKED,
                }
            )
            for _, column in self._read()
        )
        reason = Property(
            name="reason",
            logicalType="string",
            physicalType="string",
            required=True,
            description='What is wrong with the row, joined by "; ".',
        )
        partitions = [
            _partition("layer", "string", "Layer that rejected the row: bronze or silver."),
            _partition("delivery", "string", "Day of the delivery; all for silver, which is made of all deliveries."),
        ]
        return self._source_table("quarantine", "that were rejected", (*sources, *LINEAGE, reason), partitions)

    def _read(self) -> list[tuple[Kind, Property]]:
        columns = [(column.kind, column) for column in self.properties if column.kind is not None]
        if not columns:
            raise ContractError(
                f"{self.where('schema', 0, 'properties')}: {self.name} has no column with a kind, "
                "so there are no source rows to keep in bronze and quarantine"
            )
        return columns

    def _source_table(
        self,
        place: Literal["bronze", "quarantine"],
        which: str,
        columns: tuple[Property, ...],
        partitions: list[Property],
    ) -> "Table":
        keys = [key.model_copy(update={"partitionKeyPosition": i}) for i, key in enumerate(partitions, start=1)]
        return replace(
            self,
            database=f"vitrine_{place}",
            layer=place,
            purpose=f"Source rows of {self.name} {which}.",
            properties=(*columns, *keys),
            granularity="One row for each source row.",
            checks=(),
            freshness=None,
            dated_by="",
        )


_DELIVERED = "Day of the delivery: the landing folder's."
_UNCHECKED = {
    "logicalTypeOptions": Property.model_fields["logicalTypeOptions"].default,
    "required": False,
    "primaryKey": False,
    "primaryKeyPosition": -1,
    "transformSourceObjects": (),
    "transformDescription": "",
    "quality": (),
}
"""What a source column doesn't promise; its kind and whether a file may lack it stay."""

LINEAGE = (
    Property(
        name="source_file",
        logicalType="string",
        physicalType="string",
        required=True,
        description="Delivered file that the row comes from; later deliveries sort later.",
    ),
    Property(
        name="row_number",
        logicalType="integer",
        physicalType="bigint",
        required=True,
        description="Place of the row in its file, from 1.",
    ),
    Property(
        name="load_time",
        logicalType="date",
        physicalType="timestamp",
        required=True,
        description="Moment the file landed, UTC.",
    ),
)
"""Columns that say where a row comes from."""


def _partition(name: str, physical: str, description: str) -> Property:
    return Property(
        name=name,
        logicalType="date" if physical == "date" else "string",
        physicalType=physical,
        required=True,
        partitioned=True,
        description=description,
    )


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


@cache
def load(name: str, folder: Path = FOLDER) -> Table:
    """The contract of the table `name`.

    Raises:
        ContractError: no such contract, or its file has mistakes; a line `file:line: problem` for each.
    """
    known = names(folder)
    if name not in known:
        raise ContractError(f"no table contract named {name!r}{nearest(name, known)}; there are: {', '.join(known)}")
    try:
        file = yaml_lines.read(folder / f"{name}.yaml", f"a contract is a mapping of keys, as in name: {name}")
    except yaml_lines.YamlError as error:
        raise ContractError(str(error)) from error
    problems = list(file.repeated)
    if (said := file.data.get("name")) != name:
        problems.append((("name",), f"name is {said!r}, the file is named {name!r}"))
    try:
        document = Document.model_validate(file.data)
    except ValidationError as error:
        problems += yaml_lines.explained(error, Document)
        raise ContractError(file.report(problems)) from error
    for index, check in enumerate(document.table.quality):
        location: Location = ("schema", 0, "quality", index, "query")
        problems += [
            (location, f"check {check.name!r} reads ${{{other}}}, no table contract{nearest(other, known)}")
            for other in check.tables
            if other not in known
        ]
    if problems:
        raise ContractError(file.report(problems))
    return _table(document, file)


def _table(document: Document, file: YamlFile) -> Table:
    sla = document.slaProperties[0] if document.slaProperties else None
    return Table(
        name=document.name,
        database=document.table.physicalName.partition(".")[0],
        layer=document.custom("layer"),
        purpose=document.description.purpose,
        properties=document.table.properties,
        owner=next(member.username for member in document.team if member.role == "owner"),
        granularity=document.table.dataGranularityDescription,
        product=document.custom("product", ""),
        checks=document.table.quality,
        freshness=sla.value if sla else None,
        dated_by=sla.element.partition(".")[2] if sla else "",
        optional=document.custom("optional", False),
        source_key=document.custom("sourceKey", ()),
        file=file,
    )


def names(folder: Path = FOLDER) -> list[str]:
    """Names of all table contracts, sorted."""
    return sorted(file.stem for file in folder.glob("*.yaml"))


def of_layer(layer: Layer) -> list[Table]:
    """The tables of a layer, by name."""
    return [table for table in map(load, names()) if table.layer == layer]


def of_product(product: str) -> list[Table]:
    """The tables that a product writes, by name: `mba`, `clv`, `anomalies` or `recommender`."""
    return [table for table in map(load, names()) if table.product == product]


def json_schema() -> str:
    """The JSON schema of a contract, for editors."""
    return json.dumps(
        {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Document.model_json_schema(), indent=2
    )


if __name__ == "__main__":
    print(json_schema())
