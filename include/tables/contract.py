"""Reads the table contracts and says what the Glue Catalog and the checks need to know of them."""

from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

FOLDER = Path(__file__).parent

PARQUET = {
    "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
    "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
    "SerdeInfo": {"SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"},
}


class ContractError(ValueError):
    """A table contract is missing or wrong; the message names the file and the fix."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Property(_Part):
    """One column: its types, its place in the keys, and what it means."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    logicalType: Literal["string", "integer", "number", "boolean", "date", "timestamp"]
    physicalType: str
    description: str = Field(min_length=1)
    required: bool = False
    primaryKey: bool = False
    primaryKeyPosition: int = 0
    partitioned: bool = False
    partitionKeyPosition: int = 0
    classification: str | None = None
    customProperties: list[dict[str, Any]] = []

    @property
    def optional(self) -> bool:
        """Whether a file may lack the column (it then reads as null)."""
        return {"property": "optional", "value": True} in self.customProperties


class Table(_Part):
    """The schema of one table of the lake."""

    name: str
    physicalName: str = Field(pattern=r"^[a-z_]+\.[a-z_]+$")
    physicalType: Literal["table"]
    properties: list[Property]
    product: str
    purpose: str

    @property
    def database(self) -> str:
        """Glue database of the table."""
        return self.physicalName.partition(".")[0]

    @property
    def columns(self) -> list[Property]:
        """Columns that the files hold, in order."""
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


class _Document(_Part):
    apiVersion: Literal["v3.0.2"]
    kind: Literal["DataContract"]
    id: str
    name: str
    version: str
    status: Literal["draft", "active", "deprecated"]
    domain: str
    description: dict[str, str]
    team: list[dict[str, str]] = Field(min_length=1)
    customProperties: list[dict[str, Any]] = []
    schema_: list[dict[str, Any]] = Field(alias="schema", min_length=1, max_length=1)

    @model_validator(mode="after")
    def _names_agree(self) -> "_Document":
        if self.schema_[0].get("name") != self.name:
            raise ValueError(f"schema[0].name must be the contract's name, {self.name!r}")
        return self


@cache
def load(name: str) -> Table:
    """The contract of the table `name`.

    Raises:
        ContractError: no such contract, or its file breaks the shape; the message names the file and every field.
    """
    file = FOLDER / f"{name}.yaml"
    if not file.exists():
        raise ContractError(f"no table contract named {name!r}; there are: {', '.join(names())}")
    try:
        document = _Document.model_validate(yaml.safe_load(file.read_text()))
        product = {p["property"]: p["value"] for p in document.customProperties}.get("product", "")
        return Table(**document.schema_[0], product=product, purpose=document.description["purpose"])
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
        raise ContractError(f"{file.name}: {faults}") from error


def names() -> list[str]:
    """Names of all table contracts, sorted."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def of_product(product: str) -> list[Table]:
    """The tables that a product writes, by name: `mba`, `clv`, `anomalies` or `recommender`."""
    return [table for table in map(load, names()) if table.product == product]
