"""MERGE as one statement of DuckDB: all of it happens or nothing, alone or in a transaction.

fakesnow does it in steps, which a failure leaves half done, which no transaction may hold, and which take a source that
matches a row twice.
"""

from collections import Counter
from typing import TYPE_CHECKING

import duckdb
from sqlglot import exp

from local.snowflake import errors
from local.snowflake.results import Column, literal_rows

if TYPE_CHECKING:
    from local.snowflake.cursor import Cursor

_DONE = {"INSERT": "inserted", "UPDATE": "updated", "DELETE": "deleted"}


def merge(cursor: "Cursor", statement: exp.Merge) -> str:
    """Run the statement and return the query of its result: one row, a count for each kind of change it may make.

    Raises:
        ProgrammingError: A row of the target would be changed by two rows of the source, as Snowflake refuses it while
            ERROR_ON_NONDETERMINISTIC_MERGE is true; or a form of Databricks or SQL Server, which Snowflake lacks.
    """
    wanted = statement.copy()
    kinds = set()
    for when in wanted.args["whens"].expressions:
        if when.args.get("source"):
            raise errors.error(errors.SYNTAX, "SQL compilation error: syntax error: unexpected 'BY' after NOT MATCHED")
        then = when.args["then"]
        kinds.add(then.name.upper() if isinstance(then, exp.Var) else then.key.upper())
        if isinstance(then, exp.Update):
            for assignment in then.expressions:  # DuckDB wants the bare name of what is set
                assignment.set("this", exp.column(assignment.this.this))
    cursor.check_db_and_schema(wanted)
    try:
        changed = cursor.run(f"{cursor.translate(wanted)} RETURNING merge_action").fetchall()
    except duckdb.InvalidInputException as failure:
        if "more than one source row" not in str(failure):
            raise
        raise errors.error(errors.DUPLICATE_ROW, "Duplicate row detected during DML action") from failure
    counts = Counter(action for (action,) in changed)
    shown = [kind for kind in _DONE if kind in kinds]
    columns = [Column(f"number of rows {_DONE[kind]}", "BIGINT") for kind in shown]
    return literal_rows(columns, [[counts[kind] for kind in shown]])
