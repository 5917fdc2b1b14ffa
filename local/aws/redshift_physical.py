"""The physical attributes of Redshift's tables: read, checked against the columns, and without effect on DuckDB.

DISTSTYLE, DISTKEY, SORTKEY, ENCODE and BACKUP say where and how rows are stored, never what a query returns.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlglot.tokens import Token, TokenType

from local.aws.redshift_errors import QueryFailed
from local.aws.redshift_sql import tokens

_ENCODINGS = (
    "AUTO", "AZ64", "BYTEDICT", "DELTA", "DELTA32K", "LZO", "MOSTLY8", "MOSTLY16", "MOSTLY32", "RAW", "RUNLENGTH",
    "TEXT255", "TEXT32K", "ZSTD",
)  # fmt: skip
_STYLES = ("AUTO", "EVEN", "KEY", "ALL")


@dataclass
class Physical:
    """What a CREATE TABLE says of storage.

    Attributes:
        style: DISTSTYLE.
        distribution: Columns of DISTKEY, one at most.
        sorting: Columns of SORTKEY.
    """

    style: str | None = None
    distribution: list[str] = field(default_factory=list)
    sorting: list[str] = field(default_factory=list)

    def check(self, columns: list[str]) -> None:
        """Compare with the table's columns.

        Raises:
            QueryFailed: A key names none of them, or the attributes contradict each other.
        """
        for key in (*self.distribution, *self.sorting):
            if key not in columns:
                raise QueryFailed(f'column "{key}" named in key does not exist')
        if len(self.distribution) > 1:
            raise QueryFailed("multiple DISTKEYs specified for table")
        if self.style == "KEY" and not self.distribution:
            raise QueryFailed("DISTSTYLE KEY requires a DISTKEY column")
        if self.distribution and self.style not in (None, "KEY"):
            raise QueryFailed(f"cannot specify DISTKEY with DISTSTYLE {self.style}")


def extract(sql: str) -> tuple[str, Physical]:
    """Take the physical attributes out of a CREATE TABLE.

    Returns:
        The statement without them, and what they were.

    Raises:
        QueryFailed: One of them is not Redshift's.
    """
    reader = _Reader(sql)
    physical = Physical()
    column = ""
    while (token := reader.next()) is not None:
        word = "" if token.token_type is TokenType.STRING else token.text.upper()
        if reader.depth == 0 and word == "AS":
            break
        if reader.depth == 1 and reader.previous in ("(", ","):
            column = token.text.lower()
        elif word in ("DISTKEY", "SORTKEY") and reader.depth == 1:
            (physical.distribution if word == "DISTKEY" else physical.sorting).append(column)
            reader.cut(token)
        elif word == "ENCODE":
            reader.cut(token, _one_of(reader.word(), _ENCODINGS, "ENCODE"))
        elif reader.depth == 0 and word in ("DISTKEY", "SORTKEY", "COMPOUND", "INTERLEAVED"):
            if word in ("COMPOUND", "INTERLEAVED"):
                _one_of(reader.word(), ("SORTKEY",), word)
            keys = physical.distribution if word == "DISTKEY" else physical.sorting
            keys += reader.names(or_auto=word == "SORTKEY")
            reader.cut(token)
        elif reader.depth == 0 and word == "DISTSTYLE":
            physical.style = _one_of(reader.word(), _STYLES, "DISTSTYLE").text.upper()
            reader.cut(token)
        elif reader.depth == 0 and word == "BACKUP":
            _one_of(reader.word(), ("YES", "NO"), "BACKUP")
            reader.cut(token)
    return reader.rest(), physical


def _one_of(token: Token | None, words: tuple[str, ...], where: str) -> Token:
    if token is None or token.text.upper() not in words:
        raise QueryFailed(f'syntax error at or near "{token.text if token else ""}": {where} takes {", ".join(words)}')
    return token


class _Reader:
    """Walks over the words of a statement and remembers which are cut."""

    def __init__(self, sql: str) -> None:
        self._sql = sql
        self._tokens: Iterator[Token] = iter(tokens(sql))
        self._last: Token | None = None
        self._cuts: list[tuple[int, int]] = []
        self.depth = 0
        self.previous = ""

    def next(self) -> Token | None:
        self.previous = self._last.text if self._last else ""
        self._last = token = next(self._tokens, None)
        if token is not None:
            self.depth += {TokenType.L_PAREN: 1, TokenType.R_PAREN: -1}.get(token.token_type, 0)
        return token

    word = next

    def names(self, *, or_auto: bool) -> list[str]:
        token = self.word()
        if or_auto and token is not None and token.text.upper() == "AUTO":
            return []
        _one_of(token, ("(",), "a key")
        found = []
        while (token := self.word()) is not None and token.text != ")":
            if token.text != ",":
                found.append(token.text.lower())
        return found

    def cut(self, first: Token, last: Token | None = None) -> None:
        end = last or self._last or first
        self._cuts.append((first.start, end.end + 1))

    def rest(self) -> str:
        kept, position = "", 0
        for start, end in self._cuts:
            kept += self._sql[position:start]
            position = end
        return kept + self._sql[position:]
