import pytest

from include.geo import quality


def delivery(table: str = "location_records", **counts: int) -> dict:
    return {"table": table, "rows_in": 10, "rows": 5, "refused": 2, "rejected": 2, "duplicates": 1, **counts}


def test_rows_are_kept_refused_rejected_or_copies():
    (row,) = quality.bronze({"deliveries": [delivery(), delivery(), delivery("unknown", rows=0)]})
    assert row[:6] == ("bronze", "location_records", 20, 10, 4, None)
    assert row.reconciled
    assert row.warnings == "4 rows without consent were dropped; 2 rows were delivered again"


@pytest.mark.parametrize("count", ["rows", "refused", "rejected", "duplicates"])
def test_a_row_that_is_missing_is_noticed(count):
    (row,) = quality.bronze({"deliveries": [delivery(), delivery(**{count: 0})]})
    assert not row.reconciled


def test_the_visits_are_of_all_records():
    report = {"rows_in": 9, "tables": {"visits": {"rows_out": 0}, "active_days": {"rows_out": 3}}}
    assert [row.reconciled for row in quality.visits(report, 9, {})] == [True, True]
    assert [row.reconciled for row in quality.visits(report, 10, {})] == [True, False]
    assert list(quality.visits(None, 0, {})) == []


def test_analyses_tell_their_warnings():
    report = {"tables": {"campaign_ctr": {"layer": "gold", "rows_out": 4}}}
    (row,) = quality.analyses([report], {"campaign_ctr": "odd"})
    assert (row.layer, row.rows_out, row.warnings) == ("gold", 4, "odd")
