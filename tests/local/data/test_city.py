import json
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from local.data import city, city_days, city_map, city_world


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return city.generate(tmp_path_factory.mktemp("city"), 0.05)


@pytest.fixture(scope="module")
def tables(made):
    return {table: pl.read_parquet(made.file(table)) for table in city.TABLES}


def test_the_same_arguments_give_the_same_rows(tmp_path):
    for folder, seed in {"a": 1, "b": 1, "c": 2}.items():
        city.generate(tmp_path / folder, 0.005, seed, days=5)
    for table in city.TABLES:
        a, b, c = (pl.read_parquet(tmp_path / folder / f"{table}.parquet") for folder in "abc")
        assert a.equals(b), table
        assert not a.equals(c), table


def test_there_are_as_many_location_records_as_were_asked_for(made, tables):
    assert tables["locations"].height == 50_000
    assert made.rows == {table: rows.height for table, rows in tables.items()}
    assert json.loads((made.directory / city.TRUTH).read_text()) == made.truth


def test_columns(tables):
    assert tables["locations"].schema == {
        "user_id": pl.String,
        "latitude": pl.Float64,
        "longitude": pl.Float64,
        "moment": pl.Datetime("us"),
        "consent": pl.Boolean,
    }
    assert tables["interactions"].columns == [
        "user_id",
        "campaign_id",
        "ad_id",
        "establishment_id",
        "category",
        "action",
        "moment",
        "consent",
    ]
    assert tables["establishments"].columns == ["establishment_id", "name", "category", "latitude", "longitude"]
    assert tables["campaigns"].columns == ["campaign_id", "ad_id", "establishment_id", "category"]
    assert not any(rows.null_count().sum_horizontal().item() for rows in tables.values())


def test_days_follow_each_other_and_are_in_the_order_of_time(tables):
    assert tables["locations"]["moment"].is_sorted()
    local = tables["locations"]["moment"].dt.offset_by("-3h").dt.date()
    assert local.n_unique() == city.DAYS
    assert (local[0], local[-1]) == (city.FROM, city.FROM + timedelta(city.DAYS - 1))


def test_interactions_are_of_the_campaigns_and_clicks_follow_views(tables):
    ads = ["campaign_id", "ad_id", "establishment_id", "category"]
    assert tables["interactions"].join(tables["campaigns"], on=ads, how="anti").is_empty()
    key = ["user_id", "ad_id"]
    clicks = tables["interactions"].filter(action="click").sort("moment")
    views = tables["interactions"].filter(action="view").sort("moment").with_columns(seen="moment")
    seen = clicks.join_asof(views, on="moment", by=key, check_sortedness=False)
    assert clicks.height > 50
    assert (seen["moment"] - seen["seen"]).dt.total_seconds().is_between(1, 25).all()


def test_nobody_moves_faster_than_a_car(tables):
    tracks = tables["locations"].sort("user_id", "moment")
    points = tracks.select("latitude", "longitude").to_numpy()
    metres = city_map.metres(points[:-1], points[1:])
    seconds = tracks["moment"].diff()[1:].dt.total_microseconds().to_numpy() / 1e6
    same = (tracks["user_id"][1:] == tracks["user_id"][:-1]).to_numpy()
    assert (metres[same] < 200 + 15 * seconds[same]).all()


def test_people_live_and_shops_stand_on_land():
    world = city.world(0.05)
    places = city_map.neighbourhoods()
    for points in (world.points, world.home):
        inside = np.any([place._inside(points[:, ::-1]) for place in places], axis=0)
        assert inside.mean() > 0.99  # rounding puts a few just outside


def test_a_day_that_cannot_have_so_many_records_is_an_error():
    with pytest.raises(ValueError, match="ask for more people"):
        city_days.of(city.world(0.01), 0, city.FROM, 100_000)


@pytest.mark.parametrize(
    ("arguments", "message"), [({"scale": 0}, "scale is 0"), ({"establishments": 9}, "must be at least 100")]
)
def test_wrong_arguments_are_errors(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        city.generate(tmp_path, **arguments)


def test_every_neighbourhood_closes_and_none_overlaps():
    places = city_map.neighbourhoods()
    rng = np.random.default_rng(1)
    assert len({place.name for place in places}) == len(places) == 15
    for place in places:
        assert (place.outline[0] == place.outline[-1]).all()
        points = place.points(rng, 200)[:, ::-1]
        assert sum(other._inside(points).sum() for other in places) == len(points)
    assert len(city_world.CATEGORIES) == 8
