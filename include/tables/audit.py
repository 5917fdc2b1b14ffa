"""The checks of a table's contract: one query that counts what is wrong, and the verdict on its answer.

Every check of a table is counted by the same query, so a version is read as few times as can be and all of its faults
are told at once. What a failure means is the contract's to say: an error stops the publication, a warning is only told.
That data are old is always a warning, as to withhold them would make readers see still older ones.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from string import Template
from typing import Literal, NamedTuple

import jinja2

from include.sql import SQL
from include.tables.contract import Property, Table
from include.yaml_lines import Location

_TEMPLATES = jinja2.Environment(  # noqa: S701 - SQL, not HTML
    loader=jinja2.FileSystemLoader(SQL), undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
)

_BOUNDS: tuple[tuple[Literal["minimum", "maximum"], str], ...] = (("minimum", "low"), ("maximum", "high"))


class AuditError(ValueError):
    """A query can't be written, or its answer lacks a check; the message names which."""


class Verdict(NamedTuple):
    """What a table's checks found.

    Attributes:
        rows: Number of rows.
        failures: What stops the publication; each names the table, the check, the count, and the contract's line.
        warnings: What is only told.
    """

    rows: int
    failures: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Check:
    """One check of a table, as the query needs it.

    Attributes:
        name: Of the query's column.
        kind: How it is counted.
        says: What is wrong where it fails, with a place for the `count`, the `rows` and the `limit`.
        location: Of what is checked, in the contract.
        limit: The count that passes.
        severity: Whether a failure stops the publication.
        column: What is looked at.
        values: What it is compared with, as SQL: the accepted values, the smallest or largest one, the day that age is
            told from; of a key, its columns.
        query: What counts.
    """

    name: str
    kind: Literal["required", "accepted", "minimum", "maximum", "unique", "sql", "fresh"]
    says: str
    location: Location
    limit: Decimal = Decimal(0)
    severity: Literal["error", "warning"] = "error"
    column: str = ""
    values: str = ""
    query: str = ""

    def fails(self, count: Decimal) -> bool:
        """Whether a count is too much."""
        return count > self.limit if self.kind == "fresh" else count != self.limit


def query(table: Table, names: Mapping[str, str], as_of: date | None = None) -> str:
    """The query, in Athena's SQL, that counts what is wrong with a table: one row, a column for each check.

    Args:
        table: The table's contract.
        names: Contract's name → database and table to read: of `table` itself, and of all in `table.reads`. They may be
            published tables or candidates.
        as_of: Day that the age of the data is told from. None leaves the check of freshness out.

    Raises:
        AuditError: `names` lacks a table.
    """
    if missing := [name for name in (table.name, *table.reads) if name not in names]:
        raise AuditError(f"{table.name}: its checks read {', '.join(missing)}, which names doesn't have")
    audit = {"relation": names[table.name], "checks": list(_checks(table, names, as_of))}
    return _TEMPLATES.get_template("athena/audit_table.sql").render(audit=audit)


def judge(table: Table, row: Mapping[str, str | None]) -> Verdict:
    """What the answer to `query` means.

    Args:
        table: The table's contract.
        row: The answer's only row: column → value as Athena gives it.

    Raises:
        AuditError: the answer lacks a check.
    """
    failures: list[str] = []
    warnings: list[str] = []
    rows = int(_count(table, row, "rows") or 0)
    if not rows and not table.optional:
        failures.append(f"{table.name}.empty: it has no rows ({table.where('name')})")
    for check in checks(table):
        if check.kind == "fresh" and check.name not in row:
            continue
        count = _count(table, row, check.name)
        if count is not None and check.fails(count):
            said = check.says.format(count=f"{count:f}", rows=rows, limit=check.limit)
            message = f"{table.name}.{check.name}: {said} ({table.where(*check.location)})"
            (failures if check.severity == "error" else warnings).append(message)
    return Verdict(rows, tuple(failures), tuple(warnings))


def checks(table: Table) -> list[Check]:
    """The checks of a table; what they read goes by the contracts' names."""
    return list(_checks(table, {name: name for name in (table.name, *table.reads)}, date.max))


def _count(table: Table, row: Mapping[str, str | None], name: str) -> Decimal | None:
    if name not in row:
        raise AuditError(f"{table.name}: the answer has no {name!r}, only {', '.join(row)}; was it another contract's?")
    value = row[name]
    return Decimal(value) if value else None


def _checks(table: Table, names: Mapping[str, str], as_of: date | None) -> Iterator[Check]:
    for index, column in enumerate(table.properties):
        yield from _column_checks(column, ("schema", 0, "properties", index))
    if table.primary_key:
        yield Check(
            "key_repeated",
            "unique",
            f"{{count}} of {{rows}} rows repeat a key ({', '.join(table.primary_key)})",
            ("schema", 0, "properties"),
            values=", ".join(f'"{name}"' for name in table.primary_key),
        )
    for index, rule in enumerate(table.checks):
        relations = {"object": names[table.name], **{name: names[name] for name in rule.tables}}
        yield Check(
            rule.name,
            "sql",
            f"{{count}}, must be {{limit}}: {rule.description.replace('{', '{{').replace('}', '}}')}",
            ("schema", 0, "quality", index),
            limit=Decimal(str(rule.mustBe)),
            severity=rule.severity,
            query=Template(rule.query.strip()).substitute(relations),
        )
    if table.freshness is not None and as_of is not None:
        yield Check(
            "days_old",
            "fresh",
            f"the newest {table.dated_by} is {{count}} days old, may be {{limit}}",
            ("slaProperties", 0),
            limit=Decimal(table.freshness),
            severity="warning",
            column=table.dated_by,
            values=_literal(as_of),
        )


def _column_checks(column: Property, location: Location) -> Iterator[Check]:
    name = column.name
    if column.required:
        yield Check(f"{name}_missing", "required", f"{{count}} of {{rows}} rows have no {name}", location, column=name)
    if column.values:
        yield Check(
            f"{name}_not_accepted",
            "accepted",
            f"{{count}} of {{rows}} rows have another {name} than those accepted",
            (*location, "quality", 0),
            severity=column.quality[0].severity,
            column=name,
            values=", ".join(map(_literal, column.values)),
        )
    for kind, wrong in _BOUNDS:
        if (limit := getattr(column.logicalTypeOptions, kind)) is not None:
            yield Check(
                f"{name}_too_{wrong}",
                kind,
                f"{{count}} of {{rows}} rows have a {name} beyond the {kind}, {limit}",
                (*location, "logicalTypeOptions", kind),
                column=name,
                values=_literal(_limit(limit, column, kind)),
            )


def _limit(limit: int | float | str, column: Property, kind: str) -> int | float | date:
    if not isinstance(limit, str):
        return limit
    moment = datetime.fromisoformat(limit)
    if column.physicalType == "date":
        return moment.date()
    if column.kind == "wall_time":  # the limit is of wall times, the column is UTC: less than a day apart
        moment += timedelta(days=-1 if kind == "minimum" else 1)
    return moment


def _literal(value: str | int | float | date) -> str:
    """A value as Athena's SQL has it."""
    match value:
        case datetime():
            return f"TIMESTAMP '{value:%Y-%m-%d %H:%M:%S}'"
        case date():
            return f"DATE '{value}'"
        case str():
            return "'" + value.replace("'", "''") + "'"
        case _:
            return str(value)
