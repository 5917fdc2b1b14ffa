"""What may be known of people: consent, pseudonyms instead of names, and no figures about a handful of them."""

import hmac
from collections.abc import Iterable, Sequence
from hashlib import sha256

import narwhals as nw

FEWEST_PEOPLE = 5
PSEUDONYM_DIGITS = 32
SALT_BYTES = 16
"""The fewest that a salt has; as many as a pseudonym has."""


class SaltError(ValueError):
    """A salt is too short to hide anything."""


def pseudonym(user_id: str, salt: bytes) -> str:
    """The first 16 bytes of HMAC-SHA256 of a user_id under the salt (RFC 2104, FIPS 180-4), as hex digits.

    Whoever has the salt can find a known person; without it, nobody can try ids until one fits, as with a plain hash.

    Raises:
        SaltError: the salt has fewer than `SALT_BYTES` bytes.
    """
    if len(salt) < SALT_BYTES:
        raise SaltError(f"the salt has {len(salt)} bytes, it must have {SALT_BYTES} or more, from a secret")
    return hmac.digest(salt, user_id.encode(), sha256).hex()[:PSEUDONYM_DIGITS]


def pseudonyms(user_ids: Iterable[str], salt: bytes) -> dict[str, str]:
    """The pseudonym of each distinct user_id; hashing is no dataframe expression, so this is done row by row."""
    return {user_id: pseudonym(user_id, salt) for user_id in set(user_ids)}


def consented(rows: nw.LazyFrame) -> nw.LazyFrame:
    """The rows of people who have consented, without the column `consent`; an unknown one (null) is none."""
    return rows.filter(nw.col("consent").fill_null(False)).drop("consent")


def suppressed(
    cells: nw.LazyFrame, figures: Sequence[str], *, people: str = "people", fewest: int = FEWEST_PEOPLE
) -> nw.LazyFrame:
    """Published cells without the figures of those that have too few people.

    Args:
        cells: Rows.
        figures: Columns of numbers that say something of the people in the cell.
        people: Column of the number of distinct people, which is left out as well.
        fewest: People that a cell must have for its figures to stay.

    Returns:
        The cells, with null for what is left out, and `suppressed`.
    """
    enough = nw.col(people) >= fewest
    rows = cells.with_columns((~enough).alias("suppressed"))
    return rows.with_columns(
        nw.when(~nw.col("suppressed")).then(nw.col(name)).alias(name) for name in (*figures, people)
    )
