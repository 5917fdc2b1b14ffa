"""Screens bronze rows: accepts sound ones, typed, the latest of each key; rejects the others with the reasons.

What a table must be is read from its contract with PyYAML alone, as this runs where pydantic isn't installed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from typing import Any, NamedTuple

import narwhals as nw
import yaml

from include.transforms import casting
from include.transforms.casting import Kind, present
from include.transforms.local_time import moment

LOAD_ORDER = ("source_file", "row_number", "load_time")
"""Bronze columns, never null, that say where a row comes from; together they identify it and order it in time.

A source file's path begins with the day of its delivery, so the later delivery sorts later, whenever it was loaded.
"""
KINDS = {
    "text": casting.TEXT,
    "lowercase": casting.LOWERCASE,
    "uppercase": casting.UPPERCASE,
    "zip_prefix": casting.ZIP_PREFIX,
    "integer": casting.INTEGER,
    "number": casting.NUMBER,
    "money": casting.MONEY,
    "wall_time": casting.WALL_TIME,
}
"""Kinds by the names that contracts give them."""
SUPERSEDED = "superseded by a later row of the same key"

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times as fast

_TYPED = "typed_"
_KNOWN = "known_"
_BROKEN = "broken_"
_ROWS = "rows_of_the_key"


class MissingColumnsError(ValueError):
    """A bronze frame lacks columns that its table must have."""


class Silver(NamedTuple):
    """What became of a bronze frame.

    Attributes:
        accepted: Typed rows, one for each key, with `load_time`, `source_file` and `row_number`.
        rejected: The other rows as they are in bronze, and `reason`: what is wrong with them, joined by "; ".
    """

    accepted: nw.LazyFrame
    rejected: nw.LazyFrame


@dataclass(frozen=True)
class Field:
    """A column of a table.

    Attributes:
        source: Its name in bronze.
        kind: What it is read as.
        name: Its name in silver.
        required: Whether a row must have a value.
        optional: Whether bronze may lack the column; it is null then.
        least: Smallest value that is accepted.
        most: Largest value that is accepted.
        values: The values that are accepted, if not all.
        stand_in: Silver columns, wall times, whose text stands in where this column, a text, is null.
    """

    source: str
    kind: Kind
    name: str = ""
    required: bool = False
    optional: bool = False
    least: Any = None
    most: Any = None
    values: tuple[str, ...] = ()
    stand_in: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        """Its name in silver."""
        return self.name or self.source


@dataclass(frozen=True)
class Table:
    """A table of the marketplace.

    Attributes:
        name: Its name.
        fields: Its columns.
        key: The silver columns that are a row's key.
        optional: Whether the marketplace may do without it.
    """

    name: str
    fields: tuple[Field, ...]
    key: tuple[str, ...]
    optional: bool = False

    def field(self, target: str) -> Field:
        """The column of this name in silver.

        Raises:
            KeyError: no column of this name is read from bronze.
        """
        for field in self.fields:
            if field.target == target:
                return field
        raise KeyError(f"{self.name} reads no {target!r}; it reads {', '.join(f.target for f in self.fields)}")

    def check(self, columns: list[str]) -> None:
        """Raises MissingColumnsError when a bronze frame of these columns can't be screened."""
        needed = [field.source for field in self.fields if not field.optional] + list(LOAD_ORDER)
        if missing := [column for column in needed if column not in columns]:
            raise MissingColumnsError(
                f"bronze {self.name} lacks {', '.join(missing)}; it has {', '.join(columns)}. "
                "Quarantine files without the required columns before they get here"
            )


def contracted(name: str) -> Table:
    """The table as its contract, `include/tables/<name>.yaml`, has it.

    Raises:
        FileNotFoundError: there is no such contract.
    """
    text = resources.files("include.tables").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    document = yaml.load(text, _LOADER)  # noqa: S506 - both loaders are safe ones
    (schema,) = document["schema"]
    own = _custom(document)
    columns = [(column, _custom(column)) for column in schema["properties"]]
    keyed = sorted((c["primaryKeyPosition"], c["name"]) for c, _ in columns if c.get("primaryKey"))
    return Table(
        name,
        tuple(_field(column, custom) for column, custom in columns if "kind" in custom),
        tuple(own.get("sourceKey", [column for _, column in keyed])),
        own.get("optional", False),
    )


def _custom(part: Mapping[str, Any]) -> dict[str, Any]:
    return {found["property"]: found["value"] for found in part.get("customProperties", [])}


def _field(column: Mapping[str, Any], custom: Mapping[str, Any]) -> Field:
    (source,) = column["transformSourceObjects"]
    limits = column.get("logicalTypeOptions", {})
    stand_in = tuple(custom.get("standIn", ()))
    return Field(
        source,
        KINDS[custom["kind"]],
        column["name"],
        required=column.get("required", False) and not stand_in,
        optional=custom.get("optional", False),
        least=_limit(limits.get("minimum")),
        most=_limit(limits.get("maximum")),
        values=tuple(value for rule in column.get("quality", []) for value in rule["validValues"]),
        stand_in=stand_in,
    )


def _limit(value: Any) -> Any:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


class Reason(NamedTuple):
    """Why a row is rejected: the text, and the condition (never null) on the flagged frame."""

    text: str
    broken: nw.Expr


def screen(table: Table, bronze: nw.LazyFrame, parents: Mapping[str, nw.LazyFrame | None] | None = None) -> Silver:
    """Types the rows of a table, rejects the unsound ones, and keeps the latest row of each key.

    A row is judged before keys are compared, so the latest *sound* row wins: a broken redelivery replaces nothing.

    Args:
        table: What the rows are to be.
        bronze: Columns are text or typed; columns that the table doesn't know are left alone.
        parents: Silver column → accepted frame in which its values must occur, once each, under the same name. None
            leaves the check out.

    Raises:
        MissingColumnsError: a column that is not optional is missing.
        TypeError: a column has a type that its kind can't be read from.
    """
    table.check(bronze.collect_schema().names())
    untyped = [name for name, dtype in bronze.collect_schema().items() if dtype == nw.Unknown]
    if untyped:  # columns of nothing but nulls
        bronze = bronze.with_columns(nw.col(*untyped).cast(nw.String))
    reasons = _own_reasons(table, bronze)
    flagged = bronze.with_columns(**_typed(table, bronze))
    if stand_ins := _stand_ins(table):
        flagged = flagged.with_columns(**stand_ins)
    for column, parent in (parents or {}).items():
        if parent is not None:
            flagged = flagged.join(
                parent.select(nw.col(column).alias(_KNOWN), nw.lit(True).alias(_KNOWN + column)),
                left_on=_TYPED + column,
                right_on=_KNOWN,
                how="left",
            )
            unknown = nw.col(_KNOWN + column).is_null() & ~nw.col(_TYPED + column).is_null()
            reasons.append(Reason(f"{column} is unknown", unknown))
    flags = [f"{_BROKEN}{number}" for number in range(len(reasons))]
    flagged = flagged.with_columns(**{flag: reason.broken for flag, reason in zip(flags, reasons, strict=True)})
    unsound = nw.any_horizontal(*flags, ignore_nulls=False)
    as_in_bronze = bronze.collect_schema().names()
    why = [nw.when(nw.col(flag)).then(nw.lit(reason.text)) for flag, reason in zip(flags, reasons, strict=True)]
    broken = flagged.filter(unsound).select(
        *as_in_bronze, nw.concat_str(why, separator="; ", ignore_nulls=True).alias("reason")
    )
    key = [_TYPED + column for column in table.key]
    sound = flagged.filter(~unsound).with_columns(nw.len().over(*key).alias(_ROWS))
    # Few keys are repeated, if any: to sort and look for the latest among all rows would take several times as long.
    repeated = sound.filter(nw.col(_ROWS) > 1)
    latest = repeated.unique(key, keep="last", order_by=LOAD_ORDER)
    superseded = repeated.join(latest.select(*LOAD_ORDER), on=list(LOAD_ORDER), how="anti")
    as_in_silver = [nw.col(_TYPED + field.target).alias(field.target) for field in table.fields]
    as_in_silver += [nw.col(column) for column in LOAD_ORDER]
    return Silver(
        nw.concat([sound.filter(nw.col(_ROWS) == 1).select(*as_in_silver), latest.select(*as_in_silver)]),
        nw.concat([broken, superseded.select(*as_in_bronze, nw.lit(SUPERSEDED).alias("reason"))]),
    )


def _typed(table: Table, bronze: nw.LazyFrame) -> dict[str, nw.Expr]:
    schema = bronze.collect_schema()
    typed = {}
    for field in table.fields:
        if field.source not in schema:
            nothing = nw.lit(None, dtype=nw.String)
            typed[_TYPED + field.target] = field.kind.read(nothing, nw.String())
            continue
        try:
            typed[_TYPED + field.target] = field.kind.read(nw.col(field.source), schema[field.source])
        except TypeError as error:
            raise TypeError(f"bronze {table.name}.{field.source}: {error}") from None
    return typed


def _stand_ins(table: Table) -> dict[str, nw.Expr]:
    return {
        _TYPED + field.target: nw.coalesce(
            nw.col(_TYPED + field.target),
            nw.concat_str(
                [nw.col(_TYPED + time).dt.to_string("%Y-%m-%d %H:%M:%S") for time in field.stand_in],
                separator="/",
                ignore_nulls=True,
            ),
        )
        for field in table.fields
        if field.stand_in
    }


def _own_reasons(table: Table, bronze: nw.LazyFrame) -> list[Reason]:
    """What can be wrong with a row by itself."""
    schema = bronze.collect_schema()
    reasons = []
    for field in table.fields:
        if field.source not in schema:
            continue
        value, there = nw.col(_TYPED + field.target), present(nw.col(field.source), schema[field.source])
        if field.required:
            reasons.append(Reason(f"{field.source} is missing", ~there))
        if field.kind.name:
            reasons.append(Reason(f"{field.source} is not {field.kind.name}", value.is_null() & there))
        if field.least is not None:
            below = value < _literal(field.least)
            reasons.append(Reason(f"{field.source} is below {field.least}", below.fill_null(False)))
        if field.most is not None:
            above = value > _literal(field.most)
            reasons.append(Reason(f"{field.source} is above {field.most}", above.fill_null(False)))
        if field.values:
            wrong = (~value.is_in(field.values)).fill_null(False)
            reasons.append(Reason(f"{field.source} is not an accepted value", wrong))
    return reasons


def _literal(value: Any) -> Any:
    return moment(value) if isinstance(value, datetime) else value
