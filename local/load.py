"""Puts sales into the local Snowflake: a generated world, or a client's own file, under the client's contract.

Sales are staged and loaded into a table beside the client's; the contract's roles are computed on them; then one
statement replaces the client's table. Whatever goes wrong before that leaves what was there.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from snowflake.connector import SnowflakeConnection
from snowflake.connector.errors import Error as SnowflakeError

from include.clients import contract as contracts
from include.clients.contract import Contract, ContractError
from local import sales_file
from local.data import retail
from local.data.retail import ScaleError, World
from local.sales_file import FileError
from local.snowflake.connection import connect
from local.snowflake.setup import set_up

GENERATED = "drogaria"
"""The client whose sales can be generated."""

_TYPES = {
    "string": "VARCHAR",
    "integer": "NUMBER(38, 0)",
    "decimal": "NUMBER(18, 4)",
    "timestamp": "TIMESTAMP_NTZ",
    "date": "DATE",
}
_LARGEST = 10**14  # of NUMBER(18, 4)


class LoadError(ValueError):
    """The sales can't be loaded; the message says what to change, and nothing was."""


@dataclass(frozen=True)
class Loaded:
    """What is in Snowflake after a load.

    Attributes:
        client: Whose sales.
        relation: The table's full name.
        rows: How many sale lines.
        first_sale: Moment of the first sale.
        last_sale: Moment of the last sale.
        amount: Sum of all amounts.
        currency: Of the amount, from the contract.
        report_date: The date to report on: the day after the last sale, or where a generated world ends.
        missing: Rows without a value, for each role that has such rows.
        notes: What a person would want to know about the file.
    """

    client: str
    relation: str
    rows: int
    first_sale: datetime
    last_sale: datetime
    amount: Decimal
    currency: str
    report_date: date
    missing: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        without = ", ".join(f"{role} {self.missing[role]:,}" for role in contracts.ROLES if role in self.missing)
        period = f"from {self.first_sale:%Y-%m-%d} to {self.last_sale:%Y-%m-%d}"
        lines = [
            f"{self.rows:,} sale lines of {self.client} are in {self.relation}",
            f"  {period}, {self.amount:,.2f} {self.currency} in all",
            *([f"  rows without a value: {without}"] if without else []),
            *(f"  note: {note}" for note in self.notes),
            f"  report date: {self.report_date}",
        ]
        return "\n".join(lines)


def seed(
    state: Path,
    port: int,
    client: str = GENERATED,
    sales: Path | None = None,
    scale: float = 1.0,
    random_seed: int = 1,
    until: date | None = None,
) -> Loaded:
    """Loads a client's sales, from its own file or generated, and prints what it does.

    Args:
        state: The stack's state directory.
        port: Port of the local Snowflake.
        client: As for :func:`prepare`, like the rest.
        sales: The client's own file.
        scale: Of generated sales.
        random_seed: Of generated sales.
        until: Day after the last of the generated sales.

    Raises:
        LoadError: As for :func:`prepare`, or the local Snowflake refused.
    """
    return prepare(state, client, sales, scale, random_seed, until)(port)


def prepare(
    state: Path,
    client: str = GENERATED,
    sales: Path | None = None,
    scale: float = 1.0,
    random_seed: int = 1,
    until: date | None = None,
) -> Callable[[int], Loaded]:
    """Does what can be done before Snowflake runs: checks, and generates the sales where there is no file.

    Args:
        state: The stack's state directory; a generated world is kept in `data/<client>` below.
        client: A client with a contract.
        sales: The client's own file; None generates sales.
        scale: Of generated sales; 1.0 is about 200 000 lines.
        random_seed: Of generated sales.
        until: Day after the last of the generated sales; the first of the current month by default.

    Returns:
        What loads the sales into the local Snowflake, given its port.

    Raises:
        LoadError: unknown client, wrong contract or file, or nothing to load for this client.
    """
    try:
        contract = contracts.load(client)
        if sales is not None:
            reading = f"Reading {sales} under the contract of {client}"
            return partial(_load_and_tell, reading, partial(load_file, sales, contract, state=state))
        if client != GENERATED:
            raise LoadError(f"sales of {client} are not generated: give a file (--sales PATH, or make run SALES=PATH)")
        retail.check_scale(scale)
        print(f"Generating about {retail.LINES * scale:,.0f} sale lines of {client} …", flush=True)
        world = retail.generate(state / "data" / client, scale, random_seed, until)
    except (ContractError, ScaleError) as error:
        raise LoadError(str(error)) from error
    loading = f"Loading {world.truth['rows']:,} of them"
    return partial(_load_and_tell, loading, partial(load_world, world, contract, state=state))


def _load_and_tell(what: str, load: Callable[..., Loaded], port: int) -> Loaded:
    print(f"{what} …", flush=True)
    try:
        loaded = load(port=port)
    except (ContractError, FileError) as error:
        raise LoadError(str(error)) from error
    print(loaded, flush=True)
    return loaded


def load_world(world: World, contract: Contract, port: int, state: Path) -> Loaded:
    """Loads the sales of a generated world in place of what the client has.

    Args:
        world: Whose sales are in the columns of the contract.
        contract: The client's.
        port: Port of the local Snowflake.
        state: The stack's state directory.

    Raises:
        LoadError: a role of the contract can't be computed on these sales, or the local Snowflake refused.
    """
    return _load(world.sales, contract, port, state, origin=world.sales, report_date=world.until)


def load_file(path: Path, contract: Contract, port: int, state: Path) -> Loaded:
    """Loads a client's own sales file in place of what the client has.

    Args:
        path: CSV, Parquet or Excel.
        contract: Which the file has to fit.
        port: Port of the local Snowflake.
        state: The stack's state directory.

    Raises:
        FileError: the file doesn't fit the contract.
        LoadError: a role of the contract can't be computed on these sales, or the local Snowflake refused.
    """
    file = sales_file.read(path, contract)
    with tempfile.TemporaryDirectory() as folder:
        parquet = Path(folder) / "sales.parquet"
        file.frame.write_parquet(parquet, compression="snappy")
        return _load(parquet, contract, port, state, origin=path, notes=file.notes)


def _load(
    parquet: Path,
    contract: Contract,
    port: int,
    state: Path,
    origin: Path,
    report_date: date | None = None,
    notes: list[str] | None = None,
) -> Loaded:
    source = contract.source
    target, loading = contract.relation, f"{contract.relation}_LOADING"
    columns = ", ".join(f"{name} {_TYPES[column.type]}" for name, column in source.columns.items())
    with _connected(port, state) as connection:
        try:
            set_up(connection)
            _run(connection, f"CREATE DATABASE IF NOT EXISTS {source.database}")
            _run(connection, f"CREATE SCHEMA IF NOT EXISTS {source.database}.{source.schema_}")
            _run(connection, f"CREATE OR REPLACE TABLE {loading} ({columns})")
            try:
                _copy(connection, parquet, loading)
                facts = _facts(connection, loading, contract, origin)
                _run(connection, f"CREATE OR REPLACE TABLE {target} AS SELECT * FROM {loading}")  # noqa: S608
            finally:
                _run(connection, f"DROP TABLE {loading}")
        except SnowflakeError as error:
            raise LoadError(f"{target} is unchanged: {error.msg}") from error
    last_sale = facts.pop("last_sale")
    return Loaded(
        client=contract.client,
        relation=target,
        currency=contract.currency,
        last_sale=last_sale,
        report_date=report_date or last_sale.date() + timedelta(1),
        notes=notes or [],
        **facts,
    )


@contextlib.contextmanager
def _connected(port: int, state: Path) -> Iterator[SnowflakeConnection]:
    connection = connect(port, state)
    try:
        yield connection
    finally:
        connection.close()


def _run(connection: SnowflakeConnection, statement: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def _copy(connection: SnowflakeConnection, parquet: Path, table: str) -> None:
    stage = f"{table}_STAGE"
    _run(connection, f"CREATE OR REPLACE STAGE {stage}")
    try:
        _run(connection, f"PUT 'file://{parquet.resolve()}' @{stage} AUTO_COMPRESS = FALSE")
        _run(
            connection,
            f"COPY INTO {table} FROM @{stage} FILE_FORMAT = (TYPE = PARQUET)"
            " MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE FORCE = TRUE",
        )
    finally:
        _run(connection, f"DROP STAGE {stage}")


def _facts(connection: SnowflakeConnection, table: str, contract: Contract, origin: Path) -> dict[str, Any]:
    """Computes every role over the table, and what the load reports of them."""
    roles = contract.roles
    # fakesnow sums a number of no declared scale in floating point.
    amount_sum = f"SUM(CAST({roles['amount']} AS {_TYPES['decimal']}))"
    totals = ["COUNT(*)", f"MIN({roles['sale_date']})", f"MAX({roles['sale_date']})", amount_sum]
    counts = [f"COUNT({expression})" for expression in roles.values()]
    query = f"SELECT {', '.join(totals + counts)} FROM {table}"  # noqa: S608 - a contract is code, not input
    try:
        rows, first, last, amount, *filled = _run(connection, query)[0]
    except SnowflakeError as error:
        _blame_role(connection, table, contract, origin)
        message = f"{origin}: the roles ({contract.where('roles')}) can't be computed: {error.msg}"
        raise LoadError(message) from error
    if last is None:
        raise LoadError(f"{contract.where('roles', 'sale_date')}: no row has a sale date")
    missing = {role: rows - number for role, number in zip(roles, filled, strict=True) if number < rows}
    return {
        "rows": rows,
        "first_sale": _moment(first),
        "last_sale": _moment(last),
        "amount": Decimal(amount),
        "missing": missing,
    }


def _blame_role(connection: SnowflakeConnection, table: str, contract: Contract, origin: Path) -> None:
    """Finds the role that can't be computed.

    Raises:
        LoadError: which names it, with the file, its line in the contract, and the row of an amount that is too large.
    """
    for role, expression in contract.roles.items():
        try:
            _run(connection, f"SELECT COUNT({expression}) FROM {table}")  # noqa: S608
        except SnowflakeError as error:
            message = f"{origin}: {contract.where('roles', role)}: role {role!r} can't be computed: {error.msg}"
            raise LoadError(message) from error
    amount, columns = contract.roles["amount"], contract.source.columns
    query = f"SELECT {amount}, {', '.join(columns)} FROM {table} WHERE ABS({amount}) >= {_LARGEST} LIMIT 1"  # noqa: S608
    for value, *row in _run(connection, query):
        described = ", ".join(f"{name} {field}" for name, field in zip(columns, row, strict=True) if field is not None)
        raise LoadError(
            f"{origin}: role 'amount' ({contract.where('roles', 'amount')}) is {value:f}, too large for "
            f"{_TYPES['decimal']}, in the row with {described}"
        )


def _moment(value: date) -> datetime:
    return value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)
