import hashlib
import hmac

import polars as pl
import pytest

from include.transforms import privacy
from tests.include.transforms.conftest import on_polars

SALT = b"0123456789abcdef"


def test_a_pseudonym_is_half_of_the_keyed_hash():
    whole = hmac.new(SALT, "José".encode(), hashlib.sha256).hexdigest()
    assert privacy.pseudonym("José", SALT) == whole[:32]


def test_pseudonyms_are_one_to_one_and_of_the_salt():
    ids = [f"user-{number}" for number in range(1_000)]
    made = privacy.pseudonyms([*ids, *ids], SALT)
    assert sorted(made) == sorted(ids)
    assert len(set(made.values())) == len(ids)
    assert not set(made.values()) & set(privacy.pseudonyms(ids, SALT + b"!").values())


def test_a_short_salt_is_an_error():
    with pytest.raises(privacy.SaltError, match="has 15 bytes"):
        privacy.pseudonym("user", SALT[:15])


def test_unknown_consent_is_none():
    engine = on_polars()
    rows = pl.DataFrame({"user_id": ["a", "b", "c"], "consent": [True, False, None]})
    made = engine.give(privacy.consented(engine.take(rows)))
    assert made.rows() == [("a",)]
    assert made.columns == ["user_id"]


def test_cells_of_fewer_than_five_people_say_nothing():
    cells = pl.DataFrame({"category": ["a", "b", "c"], "visits": [40, 40, 0], "people": [4, 5, 0]})
    engine = on_polars()
    made = engine.give(privacy.suppressed(engine.take(cells), ["visits"]))
    assert made.rows() == [("a", None, None, True), ("b", 40, 5, False), ("c", None, None, True)]
