"""Ranks of campaigns; rates and intervals of a whole city are in test_planted.py."""

from datetime import datetime

import polars as pl

from include.transforms import ctr
from tests.include.transforms.conftest import on_polars

MOMENT = datetime(2026, 7, 2, 12)


def seen(campaign, establishment, views, clicks):
    actions = ["view"] * views + ["click"] * clicks
    return pl.DataFrame(
        {
            "user_id": [f"U{number}" for number in range(len(actions))],
            "campaign_id": campaign,
            "establishment_id": establishment,
            "category": "games",
            "action": actions,
            "moment": MOMENT,
        },
        schema_overrides={"moment": pl.Datetime("us")},
    )


def ranks(*parts, floor=100):
    engine = on_polars()
    made = engine.give(ctr.ctr(engine.take(pl.concat(parts)), "America/Fortaleza", floor=floor))
    rows = made.filter(month="2026-07").select("campaign_id", "establishment_id", "rank")
    return {(campaign, establishment): rank for campaign, establishment, rank in rows.iter_rows()}


def test_a_campaign_of_two_establishments_has_a_rank_for_each():
    found = ranks(seen("C", "E1", 200, 20), seen("C", "E2", 200, 10), seen("D", "E3", 200, 5), seen("D", "E4", 99, 50))
    assert found == {("C", "E1"): 1, ("C", "E2"): 2, ("D", "E3"): 3, ("D", "E4"): None}


def test_equal_rates_go_by_views_then_by_name():
    found = ranks(
        seen("B", "E1", 100, 10), seen("A", "E2", 100, 10), seen("C", "E3", 200, 20), seen("A", "E1", 100, 10)
    )
    assert found == {("C", "E3"): 1, ("A", "E1"): 2, ("A", "E2"): 3, ("B", "E1"): 4}
