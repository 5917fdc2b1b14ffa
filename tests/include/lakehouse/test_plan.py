from datetime import UTC, date, datetime

import pytest

from include.lakehouse import plan
from include.lakehouse.plan import PlanError

MOMENT = datetime(2018, 9, 2, 5, tzinfo=UTC)


def test_the_last_delivery_is_the_parameters_or_the_runs_day():
    assert plan.load_date({"load_date": None}, MOMENT) == date(2018, 9, 2)
    assert plan.load_date({"load_date": "2018-08-01"}, MOMENT) == date(2018, 8, 1)


def test_a_date_that_is_none_is_told():
    with pytest.raises(PlanError, match=r"load_date: .* is no date of the form YYYY-MM-DD"):
        plan.load_date({"load_date": "1.8.2018"}, MOMENT)


def test_no_two_versions_are_the_same():
    versions = {plan.version(MOMENT) for _ in range(100)}
    assert len(versions) == 100
    assert all(version.startswith("20180902T050000-") for version in versions)


@pytest.mark.parametrize(
    ("files", "current", "rebuild", "step"),
    [
        ([{}], True, False, "bronze"),
        ([{}], False, True, "bronze"),
        ([], False, False, "silver"),
        ([], True, True, "silver"),
        ([], True, False, None),
    ],
)
def test_where_a_run_begins(files, current, rebuild, step):
    assert plan.first_step(files, current=current, rebuild=rebuild) == step
