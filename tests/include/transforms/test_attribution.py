"""Attribution against the rule, visit by visit; lift against counts by hand."""

from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.transforms import attribution
from tests.include.transforms.conftest import on_polars

MIDNIGHT = datetime(2026, 7, 2)
HOUR, MICRO = timedelta(hours=1), timedelta(microseconds=1)
ZONE = "America/Fortaleza"


def visited(rows):
    schema = {"user_id": pl.String, "establishment_id": pl.String, "moment": pl.Datetime("us")}
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(category=pl.lit("games"))


def interacted(rows):
    names = ("user_id", "establishment_id", "ad_id", "action", "moment")
    types = [pl.String] * 4 + [pl.Datetime("us")]
    made = pl.DataFrame(rows, schema=dict(zip(names, types, strict=True)), orient="row")
    return made.with_columns(campaign_id=pl.concat_str(pl.lit("of "), "ad_id"))


def attributed(visits, interactions, hours=6):
    engine = on_polars()
    touches = engine.take(engine.give(attribution.touches(engine.take(interacted(interactions)))))
    made = engine.give(attribution.attributed(engine.take(visited(visits)), touches, hours))
    assert made.height == len(visits)
    assert (made["campaign_id"] == "of " + made["ad_id"]).all()
    return {(u, e, m): (at, ad, how) for u, e, m, at, ad, how in made.drop("category", "campaign_id").iter_rows()}


def by_the_rule(visit, interactions, hours):
    user, store, moment = visit
    before = [
        (at, action == "click", ad)
        for u, e, ad, action, at in interactions
        if (u, e) == (user, store) and moment - hours * HOUR <= at <= moment
    ]
    if not before:
        return None, None, None
    at = max(before)[0]
    clicked, ad = min((not click, ad) for when, click, ad in before if when == at)
    return at, ad, "view" if clicked else "click"


moments = st.builds(
    lambda hours, micros: MIDNIGHT + hours * HOUR + micros * MICRO, st.integers(-9, 9), st.sampled_from([-1, 0, 1])
)


@settings(max_examples=60, deadline=None)
@given(
    visits=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), moments), min_size=1, max_size=12),
    interactions=st.lists(
        st.tuples(
            st.sampled_from("ab"),
            st.sampled_from("xy"),
            st.sampled_from(["A-1", "A-2", "B"]),
            st.sampled_from(["view", "click"]),
            moments,
        ),
        max_size=25,
    ),
    hours=st.sampled_from([1, 6, 24]),
)
def test_every_visit_has_the_touch_of_the_rule(visits, interactions, hours):
    found = attributed(visits, interactions, hours)
    assert found == {visit: by_the_rule(visit, interactions, hours) for visit in visits}


def test_the_window_begins_exactly_six_hours_before():
    visit = ("a", "x", MIDNIGHT + 3 * HOUR)
    for early, counts in ((timedelta(), True), (MICRO, False)):
        at = visit[2] - 6 * HOUR - early
        found = attributed([visit], [("a", "x", "A", "view", at)])
        assert found[visit] == ((at, "A", "view") if counts else (None, None, None))


@pytest.mark.parametrize("hours", [0, 25])
def test_a_window_out_of_bounds_is_an_error(hours):
    with pytest.raises(ValueError, match="window_hours is"):
        attributed([], [], hours)


def test_shares_by_local_month():
    """At 02:59 UTC of 1 August it is still July in Fortaleza."""
    engine = on_polars()
    july, august = datetime(2026, 8, 1, 2, 59), datetime(2026, 8, 1, 3)
    visits = visited([("a", "x", july), ("a", "x", august), ("b", "x", august)])
    through = visits.with_columns(through=pl.Series(["click", "view", None]))
    made = engine.give(attribution.attribution(engine.take(through), ZONE))
    figures = ("visits", "click_through", "view_through", "people", "attributed", "share")
    assert {row["month"]: tuple(row[name] for name in figures) for row in made.iter_rows(named=True)} == {
        "2026-07": (1, 1, 0, 1, 1, 1.0),
        "2026-08": (2, 0, 1, 2, 1, 0.5),
        "all": (3, 1, 1, 2, 2, 2 / 3),
    }


def test_lift_counts_days_of_people():
    engine = on_polars()
    noon = MIDNIGHT + 15 * HOUR
    day = timedelta(days=1)
    locations = visited([(user, "-", noon + n * day) for user in "abcd" for n in range(2)])
    visits = visited([("a", "x", noon), ("a", "x", noon), ("b", "x", noon + day), ("c", "y", noon)])
    # d's second ad is of a day without location records.
    seen = interacted(
        [(user, "x", "A", "view", noon - HOUR) for user in "abd"] + [("d", "x", "A", "view", noon + 9 * day)]
    )
    days = engine.take(engine.give(attribution.active_days(engine.take(locations), ZONE)))
    made = engine.give(attribution.lift(days, engine.take(visits), engine.take(seen), ZONE))
    (whole,) = made.filter(month="all").iter_rows(named=True)
    assert [whole[name] for name in attribution.LIFT[2:6]] == [3, 1, 5, 1]
    assert whole["lift"] == pytest.approx(1 / 3 - 1 / 5)
    assert whole["relative_lift"] == pytest.approx((1 / 3) / (1 / 5) - 1)
    assert whole["low"] < 0 < whole["lift"] < whole["high"]


def test_the_people_of_a_lift_are_those_of_the_smaller_sample():
    days = [MIDNIGHT + day * 24 * HOUR for day in range(3)]
    active = [("a", days[0]), ("a", days[1]), ("b", days[0]), ("c", days[0]), ("c", days[2])]
    shown = [(user, "x", "A-1", "view", day + 12 * HOUR) for user, day in active if (user, day) != ("a", days[1])]
    shown += [("a", "y", "B", "view", days[0] + 12 * HOUR), ("d", "y", "B", "view", days[0] + 12 * HOUR)]
    engine = on_polars()
    schema = {"user_id": pl.String, "day": pl.Datetime("us")}
    people = attribution.people_compared(
        engine.take(pl.DataFrame(active, schema=schema, orient="row")), engine.take(interacted(shown)), ZONE
    )
    rows = engine.give(people).filter(month="all").sort("establishment_id")
    # To x, only a has a day without an ad; to y, only a has one with an ad, as d was never active.
    assert rows.rows() == [("x", "all", 1), ("y", "all", 1)]
