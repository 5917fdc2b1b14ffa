"""LIST and REMOVE: what is in a stage, and taking it away."""

import re
from typing import TYPE_CHECKING

import sqlglot
from sqlglot import exp

from local.snowflake import errors, storage
from local.snowflake.results import Column, literal_rows

if TYPE_CHECKING:
    from local.snowflake.cursor import Cursor

_REMOVE = re.compile(r"(?P<location>'[^']+'|\S+)\s*(?:PATTERN\s*=\s*'(?P<pattern>[^']*)')?\s*;?", re.IGNORECASE)


def list_files(cursor: "Cursor", statement: exp.ListStage) -> str:
    """Answer `LIST @stage/path [PATTERN = '…']` for internal and external stages."""
    location = storage.resolve(cursor, statement.this)
    pattern = statement.args.get("pattern")
    columns = [Column("name"), Column("size", "BIGINT"), Column("md5"), Column("last_modified")]
    rows = [
        (location.url(file.key), file.size, file.checksum, file.modified)
        for file in location.files()
        if _matches(location.url(file.key), pattern.name if pattern else None)
    ]
    return literal_rows(columns, rows)


def remove_files(cursor: "Cursor", written: str) -> str:
    """Do `REMOVE @stage/path [PATTERN = '…']`.

    Args:
        cursor: The cursor that runs the statement.
        written: The statement after its first word.
    """
    parts = _REMOVE.fullmatch(written)
    if parts is None:
        raise errors.error(errors.SYNTAX, f"SQL compilation error: REMOVE {written}")
    name = parts["location"].strip("'")
    if not name.startswith("@"):
        raise errors.error(errors.SYNTAX, f"REMOVE takes a stage (@name/path), not '{name}'")
    location = storage.resolve(cursor, sqlglot.exp.Var(this=name))
    rows = []
    for file in list(location.files()):
        if _matches(location.url(file.key), parts["pattern"]):
            cursor.stop_if_cancelled()
            location.remove(file.key)
            rows.append((location.url(file.key), "removed"))
    return literal_rows([Column("name"), Column("result")], rows)


def _matches(name: str, pattern: str | None) -> bool:
    return pattern is None or re.fullmatch(pattern, name) is not None
