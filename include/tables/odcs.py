# ruff: noqa: N815 - the standard's own names
"""What a table contract may say: the part of the Open Data Contract Standard that is used here, and what must agree.

`Document` fits a whole YAML file. What the standard has no word for stands in `customProperties`.
"""

import re
from collections.abc import Iterator
from datetime import datetime
from string import Template
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from include.yaml_lines import Location, Problem

Layer = Literal["raw", "silver", "gold", "products", "streams", "geo", "operations"]
Kind = Literal["text", "lowercase", "uppercase", "zip_prefix", "integer", "number", "money", "wall_time"]

BRONZE_TYPES: dict[Kind, str] = {
    "text": "string",
    "lowercase": "string",
    "uppercase": "string",
    "zip_prefix": "string",
    "integer": "bigint",
    "number": "double",
    "money": "decimal(18,2)",
    "wall_time": "timestamp",
}
"""Type of a column in bronze, by what it is read as."""

_PHYSICAL = {
    "string": r"string",
    "integer": r"bigint",
    "number": r"double|decimal\(\d+,\d+\)",
    "boolean": r"boolean",
    "date": r"date|timestamp",
}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ValidValues(_Part):
    """The values that a column may have, beside null."""

    rule: Literal["validValues"]
    validValues: tuple[str, ...] = Field(min_length=1)
    severity: Literal["error", "warning"] = "error"


class SqlCheck(_Part):
    """A query that counts, or sums, what is wrong."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    type: Literal["sql"]
    description: str = Field(min_length=1, description="What holds where the check passes")
    dimension: Literal["accuracy", "completeness", "conformity", "consistency", "coverage", "timeliness", "uniqueness"]
    severity: Literal["error", "warning"] = Field(
        default="error", description="Whether a failure stops the publication or is only told"
    )
    query: str = Field(
        min_length=1, description="One number, in Athena's SQL; ${object} is the table, ${name} another one"
    )
    mustBe: int | float = Field(description="The number where the check passes")

    @property
    def tables(self) -> list[str]:
        """Names of the other tables that the query reads."""
        return [name for name in Template(self.query).get_identifiers() if name != "object"]


class Limits(_Part):
    """Smallest and largest value of a column; of a date, in ISO 8601."""

    minimum: int | float | str | None = None
    maximum: int | float | str | None = None


class KindOf(_Part):
    """What a source column is read as when bronze and silver are written."""

    property: Literal["kind"]
    value: Kind


class Optional(_Part):
    """Whether a file may lack the column, or the lake the whole table."""

    property: Literal["optional"]
    value: bool


class StandIn(_Part):
    """Columns, wall times, whose text stands in where this one is null."""

    property: Literal["standIn"]
    value: tuple[str, ...] = Field(min_length=1)


class LayerOf(_Part):
    """Layer of the lake that the table belongs to."""

    property: Literal["layer"]
    value: Layer


class ProductOf(_Part):
    """Product that writes the table."""

    property: Literal["product"]
    value: str = Field(min_length=1)


class SourceKey(_Part):
    """Columns that are the key of a source row, where the table's rows are made of several."""

    property: Literal["sourceKey"]
    value: tuple[str, ...] = Field(min_length=1)


class Property(_Part):
    """One column: its types, its place in the keys, where it comes from, and what it means."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    logicalType: Literal["string", "integer", "number", "boolean", "date"]
    logicalTypeOptions: Limits = Limits()
    physicalType: str
    description: str = Field(min_length=1)
    required: bool = Field(default=False, description="Whether every row has a value")
    primaryKey: bool = False
    primaryKeyPosition: int = Field(default=-1, ge=-1)
    partitioned: bool = False
    partitionKeyPosition: int = Field(default=-1, ge=-1)
    classification: Literal["pseudonym", "quasi-identifier", "personal", "sensitive"] | None = Field(
        default=None, description="What the column tells of a person; left out where it tells nothing"
    )
    transformSourceObjects: tuple[str, ...] = Field(default=(), description="Columns that the column is made of")
    transformDescription: str = ""
    quality: tuple[ValidValues, ...] = Field(default=(), max_length=1)
    customProperties: tuple[Annotated[KindOf | Optional | StandIn, Field(discriminator="property")], ...] = ()

    def custom(self, name: str, default: Any = None) -> Any:
        """A custom property's value."""
        return _value(self.customProperties, name, default)

    @property
    def optional(self) -> bool:
        """Whether a file may lack the column (it then reads as null)."""
        return self.custom("optional", False)

    @property
    def kind(self) -> Kind | None:
        """What the source column is read as; None where the column is made by a transform."""
        return self.custom("kind")

    @property
    def values(self) -> tuple[str, ...]:
        """The values that the column may have, if not all."""
        return self.quality[0].validValues if self.quality else ()


class Schema(_Part):
    """The table."""

    name: str
    physicalName: str = Field(pattern=r"^[a-z_]+\.[a-z_]+$", description="Database and table in the Glue Catalog")
    physicalType: Literal["table"]
    dataGranularityDescription: str = ""
    properties: tuple[Property, ...] = Field(min_length=1)
    quality: tuple[SqlCheck, ...] = ()


class Description(_Part):
    """What the table is for."""

    purpose: str = Field(min_length=1)
    usage: str = ""
    limitations: str = ""


class Member(_Part):
    """Someone of the team behind the table."""

    username: str = Field(min_length=1)
    role: str = Field(min_length=1)


class Freshness(_Part):
    """How old the newest value of a column may be."""

    property: Literal["freshness"]
    value: int = Field(ge=0)
    unit: Literal["d"]
    element: str = Field(pattern=r"^[a-z_0-9]+\.[a-z_0-9]+$", description="The column, as in orders.order_date")


class Document(_Part):
    """A table contract."""

    apiVersion: Literal["v3.0.2"]
    kind: Literal["DataContract"]
    id: str
    name: str = Field(pattern=r"^[a-z][a-z_]*$")
    version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    status: Literal["draft", "active", "deprecated"]
    domain: str
    description: Description
    team: tuple[Member, ...] = Field(min_length=1)
    slaProperties: tuple[Freshness, ...] = Field(default=(), max_length=1)
    customProperties: tuple[Annotated[LayerOf | ProductOf | Optional | SourceKey, Field(discriminator="property")], ...]
    schema_: tuple[Schema, ...] = Field(alias="schema", min_length=1, max_length=1)

    @property
    def table(self) -> Schema:
        """The one table that the contract is about."""
        return self.schema_[0]

    def custom(self, name: str, default: Any = None) -> Any:
        """A custom property's value."""
        return _value(self.customProperties, name, default)

    @model_validator(mode="after")
    def _parts_agree(self) -> "Document":
        problems = [*_head_problems(self), *_column_problems(self), *_key_problems(self), *_check_problems(self)]
        if problems:
            message = "; ".join(message for _, message in problems)
            raise PydanticCustomError("contract", "{message}", {"message": message, "problems": problems})
        return self


_TABLE: Location = ("schema", 0)


def _value(properties: tuple[Any, ...], name: str, default: Any) -> Any:
    return next((found.value for found in properties if found.property == name), default)


def _head_problems(document: Document) -> Iterator[Problem]:
    table = document.table
    if table.name != document.name:
        yield (*_TABLE, "name"), f"schema[0].name must be the contract's name, {document.name!r}"
    if table.physicalName.partition(".")[2] != document.name:
        yield (*_TABLE, "physicalName"), f"physicalName must end in the contract's name, {document.name!r}"
    layer = document.custom("layer")
    if layer is None:
        yield ("customProperties",), "property 'layer' is missing"
    if layer == "products" and not document.custom("product"):
        yield ("customProperties",), "property 'product' is missing: a table of the products is one product's"
    if not any(member.role == "owner" for member in document.team):
        yield ("team",), "nobody has the role 'owner'"
    columns = {column.name: column for column in table.properties}
    for sla in document.slaProperties:
        name, _, column = sla.element.partition(".")
        if name != document.name or column not in columns or columns[column].logicalType != "date":
            yield ("slaProperties", 0, "element"), f"{sla.element!r} is no date of {document.name}"


def _column_problems(document: Document) -> Iterator[Problem]:
    silver = document.custom("layer") == "silver"
    seen: set[str] = set()
    for index, column in enumerate(document.table.properties):
        here = (*_TABLE, "properties", index)
        if column.name in seen:
            yield (*here, "name"), f"column {column.name!r} is there twice"
        seen.add(column.name)
        if not re.fullmatch(_PHYSICAL[column.logicalType], column.physicalType):
            yield (
                (*here, "physicalType"),
                f"{column.name} can't be {column.physicalType!r}: it is of type {column.logicalType}",
            )
        yield from _limit_problems(column, here)
        if column.quality and column.logicalType != "string":
            yield (*here, "quality"), f"{column.name} is of type {column.logicalType}: only a string has validValues"
        if column.kind is not None:
            yield from _kind_problems(column, here, silver)
        elif silver and (column.optional or column.custom("standIn")):
            yield (*here, "customProperties"), f"{column.name} has no kind, so it isn't read from a source column"


def _limit_problems(column: Property, here: Location) -> Iterator[Problem]:
    limits = {k: v for k, v in column.logicalTypeOptions.model_dump().items() if v is not None}
    for name, value in limits.items():
        fits = {
            "integer": isinstance(value, int),
            "number": isinstance(value, int | float),
            "date": isinstance(value, str) and _is_iso(value),
        }
        if not fits.get(column.logicalType, False):
            yield (
                (*here, "logicalTypeOptions", name),
                f"{value!r} is no {name} of a column of type {column.logicalType}",
            )
            return
    if len(limits) == 2 and limits["minimum"] > limits["maximum"]:
        yield (*here, "logicalTypeOptions"), f"{column.name}: minimum is above maximum"


def _is_iso(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _kind_problems(column: Property, here: Location, silver: bool) -> Iterator[Problem]:
    if not silver:
        yield (*here, "customProperties"), f"{column.name} has a kind, which only columns of silver tables have"
    if len(column.transformSourceObjects) != 1:
        yield (
            (*here, "transformSourceObjects"),
            f"{column.name} has a kind: transformSourceObjects must name the one source column",
        )
    assert column.kind is not None  # noqa: S101 - the caller has looked
    read = BRONZE_TYPES[column.kind]
    if column.physicalType != read and (column.kind, column.physicalType) != ("wall_time", "date"):
        yield (*here, "physicalType"), f"{column.name} is {column.physicalType!r}, but kind {column.kind} is {read!r}"


def _key_problems(document: Document) -> Iterator[Problem]:
    columns = document.table.properties
    for flag, position in (("primaryKey", "primaryKeyPosition"), ("partitioned", "partitionKeyPosition")):
        keyed = [column for column in columns if getattr(column, flag)]
        positions = sorted(getattr(column, position) for column in keyed)
        if positions != list(range(1, len(keyed) + 1)):
            yield _TABLE, f"{position} of the {len(keyed)} columns with {flag} must count from 1, it is {positions}"
    read = {column.name: column.kind for column in columns if column.kind is not None}
    for name in document.custom("sourceKey", ()):
        if name not in read:
            yield ("customProperties",), f"sourceKey {name!r} is no column that is read from the source"
    for index, column in enumerate(columns):
        for name in column.custom("standIn", ()):
            if read.get(name) != "wall_time":
                yield (*_TABLE, "properties", index, "customProperties"), f"standIn {name!r} is no wall_time"


def _check_problems(document: Document) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, check in enumerate(document.table.quality):
        here = (*_TABLE, "quality", index)
        if check.name in seen:
            yield (*here, "name"), f"check {check.name!r} is there twice"
        seen.add(check.name)
        if not Template(check.query).is_valid():
            yield (*here, "query"), f"check {check.name!r} has a $ that begins no ${{name}}; write $$ for the sign"
