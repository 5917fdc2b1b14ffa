from datetime import UTC, datetime, timedelta, timezone

import pytest

from include.streams_lake import hours


def test_an_hour_is_that_of_utc():
    assert hours.at(datetime(2026, 3, 1, 0, 30, tzinfo=timezone(timedelta(hours=1)))) == "2026-02-28T23"
    assert hours.at(datetime(2026, 3, 1, 0, 59, 59)) == "2026-03-01T00"
    assert hours.start("2026-03-01T10") == datetime(2026, 3, 1, 10, tzinfo=UTC)


def test_hours_between_are_half_open_and_pass_midnight():
    assert list(hours.between("2026-02-28T22", "2026-03-01T01")) == ["2026-02-28T22", "2026-02-28T23", "2026-03-01T00"]
    assert list(hours.between("2026-03-01T01", "2026-03-01T01")) == []
    assert hours.before("2026-03-01T01", 2) == "2026-02-28T23"


def test_partition_values_and_back():
    assert hours.values("2026-03-01T07") == ("2026-03-01", "07")
    assert hours.of(("clicks", "2026-03-01", "07")) == "2026-03-01T07"


def test_what_is_no_hour_is_refused():
    with pytest.raises(ValueError, match="2026-03-01"):
        hours.start("2026-03-01")
