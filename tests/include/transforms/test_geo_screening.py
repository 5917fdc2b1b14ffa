from datetime import date, datetime, timedelta

import narwhals as nw
import polars as pl
import pytest

from include.transforms import geo_screening as screening

DAY = date(2026, 8, 1)
FIRST, END = screening.plausible(DAY)
LOCATION = {"user_id": "U1", "latitude": -3.7, "longitude": -38.5, "moment": datetime(2026, 7, 31)}
INTERACTION = {
    "user_id": "U1",
    "campaign_id": "C1",
    "ad_id": "A1",
    "establishment_id": "E1",
    "category": "cafe",
    "action": "view",
    "moment": datetime(2026, 7, 31),
    "known": True,
}
TYPES = {"latitude": pl.Float64, "longitude": pl.Float64, "moment": pl.Datetime("us"), "known": pl.Boolean}


def reason(row: dict, expression: nw.Expr) -> str:
    schema = {name: TYPES.get(name, pl.String) for name in row}
    frame = nw.from_native(pl.DataFrame([row], schema).lazy()).select(expression.alias("reason"))
    return frame.collect().to_native()["reason"][0] or ""


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, ""),
        ({"user_id": None}, "user_id is missing"),
        ({"user_id": "  "}, "user_id is missing"),
        ({"latitude": 90.0, "longitude": -180.0}, ""),
        ({"latitude": -90.0001}, "latitude is not from -90 to 90"),
        ({"latitude": float("nan")}, "latitude is not from -90 to 90"),
        ({"longitude": float("inf")}, "longitude is not from -180 to 180"),
        ({"longitude": None}, "longitude is not from -180 to 180"),
        ({"moment": None}, "moment is missing"),
        ({"moment": FIRST}, ""),
        ({"moment": FIRST - timedelta(seconds=1)}, "moment is more than 400 days before the delivery"),
        ({"moment": END - timedelta(microseconds=1)}, ""),
        ({"moment": END}, "moment is after the delivery"),
        ({"user_id": "", "latitude": 91.0}, "user_id is missing; latitude is not from -90 to 90"),
    ],
)
def test_location_records(values, said):
    assert reason({**LOCATION, **values}, screening.location_reason(DAY)) == said


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, ""),
        ({"action": "click"}, ""),
        ({"action": "Click"}, "action is not view or click"),
        ({"action": None}, "action is not view or click"),
        ({"known": None}, "establishment_id is unknown"),
        ({"establishment_id": None, "known": None}, "establishment_id is missing"),
        ({"campaign_id": "", "category": None}, "campaign_id is missing; category is missing"),
    ],
)
def test_interactions(values, said):
    assert reason({**INTERACTION, **values}, screening.interaction_reason(DAY)) == said


def test_what_is_plausible():
    assert screening.plausible(DAY) == (datetime(2025, 6, 27), datetime(2026, 8, 3))
