import dataclasses

import polars as pl
import pytest

from include.algorithms.outcome import InputError, Outcome


def test_an_outcome_needs_only_tables_and_never_shares_its_dictionaries():
    one, other = Outcome({"rules": pl.DataFrame()}), Outcome({})
    assert one.reason is None
    one.excluded["return"] = 1
    one.facts["baskets"] = 2
    assert (other.excluded, other.facts) == ({}, {})
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.reason = "changed"


def test_an_input_error_is_a_value_error_with_its_message():
    with pytest.raises(ValueError, match="column quantity"):
        raise InputError("column quantity is missing")
