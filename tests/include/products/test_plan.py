from datetime import UTC, date, datetime

import pytest

from include.clients.contract import ContractError
from include.products import plan

MOMENT = datetime(2026, 3, 1, 6, tzinfo=UTC)
PARAMS = {
    "client": "drogaria",
    "report_date": None,
    "MBA": True,
    "CLV": True,
    "AD": True,
    "RECOMMENDER": True,
    "MEMORY": 2048,
    "memoryReservation": None,
    "privileged": False,
    "priority": "DEFAULT",
}


def planned(**params):
    return plan.plan({**PARAMS, **params}, MOMENT, "lake")


def test_the_window_ends_where_the_data_interval_ends():
    result = planned()
    assert (result["start"], result["end"]) == ("2025-02-01", "2026-03-01")
    assert result["report_date"] == "2026-03-01"


def test_a_given_report_date_wins():
    result = planned(report_date="2011-12-10", client="online_retail")
    assert (result["start"], result["end"]) == ("2010-11-10", "2011-12-10")


def test_a_window_that_starts_on_no_day_starts_on_the_months_last():
    assert planned(report_date="2026-03-31")["start"] == "2025-02-28"


@pytest.mark.parametrize("value", [True, "True", "true"])
def test_flags_may_be_texts(value):
    assert planned(MBA=value, CLV="False", AD=False, RECOMMENDER="false")["products"] == ["mba"]


def test_every_product_off_is_an_error_that_names_the_flags():
    with pytest.raises(plan.PlanError, match="MBA, CLV, AD, RECOMMENDER"):
        planned(MBA=False, CLV="False", AD="false", RECOMMENDER=False)


def test_a_wrong_date_is_named():
    with pytest.raises(plan.PlanError, match="report_date: '01/03/2026'"):
        planned(report_date="01/03/2026")


def test_an_unknown_client_lists_the_known_ones():
    with pytest.raises(ContractError, match=r"drogaria.*online_retail"):
        planned(client="nobody")


def test_queue_memory_and_job_definition_follow_the_parameters():
    result = planned(priority="HIGH", MEMORY=512, memoryReservation=1024, privileged="True")
    assert result["queue"] == "vitrine-high"
    assert result["memory"] == "1024"
    assert result["job_definition"] == "vitrine-algorithms-privileged"
    assert planned()["job_definition"] == "vitrine-algorithms"


def test_two_plans_never_write_to_the_same_place():
    first, second = planned(), planned()
    assert first["output"] != second["output"]
    assert first["extract"] != second["extract"]


def test_the_run_date_is_the_moments_own_day():
    assert plan.report_date({"report_date": ""}, MOMENT) == date(2026, 3, 1)
