import pytest

from include.streams_lake import completeness
from include.streams_lake.completeness import CompletenessError

EQUAL = {
    "lines": {"count": 100, "missing": 0, "outdated": 0},
    "alarms": {"raised": 2, "expected": 1, "missing": 0, "unexpected": 0, "unsent": 0},
    "named": [],
}


@pytest.mark.parametrize(
    ("hours", "refined", "expected"),
    [
        (1, [], ["2026-03-01T10"]),
        (2, [], ["2026-03-01T09", "2026-03-01T10"]),
        (1, ["2026-02-01T05", "2026-03-01T10"], ["2026-02-01T05", "2026-03-01T10"]),
    ],
)
def test_the_hours_that_are_compared(hours, refined, expected):
    assert completeness.hours_of("2026-03-01T10", "2026-03-01T11", hours, refined) == expected


def test_an_interval_of_hours_is_compared_whole():
    assert len(completeness.hours_of("2026-03-01T00", "2026-03-02T00", 1, [])) == 24


def test_a_share_of_lines_may_differ_but_no_more():
    report = EQUAL | {"lines": {"count": 100, "missing": 1, "outdated": 1}, "named": ["line a of b is missing"]}
    assert completeness.judge_orders(report, 0.02) == [
        "100 lines: 1 missing, 1 outdated",
        "2 alarms raised, 1 by the batch layer: equal",
    ]
    with pytest.raises(CompletenessError, match=r"1 missing, 1 outdated.*vitrine.order_gaps.*line a of b is missing"):
        completeness.judge_orders(report, 0.019)


@pytest.mark.parametrize("cause", ["missing", "unexpected", "unsent"])
def test_an_alarm_that_does_not_fit_fails(cause):
    alarms = EQUAL["alarms"] | {cause: 1}
    with pytest.raises(CompletenessError, match=f"1 {cause}"):
        completeness.judge_orders(EQUAL | {"alarms": alarms}, 0.0)


def test_one_hour_of_the_index_that_differs_is_enough():
    of = {"lines": 10, "requests": 12, "documents": 11, "missing": 0, "surplus": 0}
    hours = {"2026-03-01T09": of, "2026-03-01T10": of | {"missing": 1, "documents": 10}}
    with pytest.raises(CompletenessError) as caught:
        completeness.judge_index({"hours": hours, "named": ["x"]}, 0.05)
    assert "2026-03-01T10: 10 lines of 12 requests, 10 documents: 1 missing" in str(caught.value)
    assert "2026-03-01T09" not in str(caught.value)
    assert completeness.judge_index({"hours": hours, "named": ["x"]}, 0.1)[0].endswith("11 documents: equal")
