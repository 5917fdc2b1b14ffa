"""What was planted in a generated city is what the analyses find in it."""

import polars as pl
import pytest

from include.transforms.proportions import Z_95
from local.data import city, city_world
from tests.include.transforms.city import Analyses, read
from tests.include.transforms.conftest import on_polars


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    return city.generate(tmp_path_factory.mktemp("city"), 0.3, seed=5)


@pytest.fixture(scope="module")
def found(planted):
    return Analyses(on_polars(), read(planted)).build().build_others().made


def campaigns(planted):
    return pl.DataFrame(planted.truth["campaigns"])


def test_rates_are_within_their_intervals(planted, found):
    rates = found["ctr"].filter(month="all").join(campaigns(planted), on="campaign_id", suffix="_planted")
    assert rates.height == 24
    within = rates.select((pl.col("ctr_planted") >= pl.col("low")) & (pl.col("ctr_planted") <= pl.col("high")))
    assert within.to_series().sum() >= 21  # of 24 intervals of 95 %, three miss with a chance of one in ten
    wide = Z_95 * 2 * (rates["ctr_planted"] * (1 - rates["ctr_planted"]) / rates["views"]).sqrt()
    assert ((rates["ctr"] - rates["ctr_planted"]).abs() < wide).all()


def test_ranks_follow_the_rates(found):
    for (_,), month in found["ctr"].group_by("month"):
        ranked = month.filter(pl.col("views") >= 20).sort("ctr", "views", "campaign_id", descending=[True, True, False])
        assert ranked["rank"].to_list() == list(range(1, ranked.height + 1))
        assert month.filter(pl.col("views") < 20)["rank"].null_count() == month.filter(pl.col("views") < 20).height


def test_there_is_lift_only_where_it_was_planted(planted, found):
    lift = found["lift"].filter(month="all").join(campaigns(planted), on="establishment_id")
    assert lift.height == 24
    assert set(lift.filter(pl.col("low") > 0)["campaign_id"]) == set(lift.filter(pl.col("effect") > 0)["campaign_id"])
    working = lift.filter(pl.col("effect") > 0)
    # Not each view brings its visit: some come too late in the day, or when people have no time.
    assert (working["lift"] < working["effect"] * 1.3).all()
    assert (working["relative_lift"] > 0.5).all()


def test_attributed_shares_are_highest_where_ads_work(planted, found):
    shares = found["attribution"].filter(month="all").join(campaigns(planted), on="establishment_id")
    working, idle = (shares.filter((pl.col("effect") > 0) == works)["share"] for works in (True, False))
    assert working.median() > 4 * idle.median()
    unadvertised = found["attribution"].join(campaigns(planted), on="establishment_id", how="anti")
    assert unadvertised["attributed"].sum() == 0
    assert (found["attribution"]["attributed"] <= found["attribution"]["visits"]).all()


def panel(planted, taste):
    people = [person for person in planted.truth["panel"] if person["consent"]]
    return {(person["user_id"], cell): category for person in people for cell, category in person[taste].items()}


@pytest.mark.parametrize(
    ("analysis", "taste", "cell", "fewest"),
    [("interaction_profile", "looks_at", "period", 30), ("visit_profile", "goes_to", "weekday", 8)],
)
def test_preferred_categories_are_the_planted_ones(planted, found, analysis, taste, cell, fewest):
    wanted = panel(planted, taste)
    count = "interactions" if cell == "period" else "visits"
    rows = found[analysis].filter(month="all").with_columns(all=pl.col(count).sum().over("user_id", cell))
    rows = rows.filter(pl.col("preferred") & (pl.col("all") >= fewest))
    preferred = {(user, str(of)): category for user, of, category in rows.select("user_id", cell, "category").rows()}
    known = preferred.keys() & wanted.keys()
    assert len(known) >= 12
    assert sum(preferred[key] == wanted[key] for key in known) / len(known) > 0.9


def test_hours_are_the_planted_ones(planted, found):
    hours = found["attractiveness"].filter(month="all")
    assert (hours["views"] + hours["clicks"] == hours["interactions"]).all()
    local = pl.col("moment").dt.offset_by("-3h").dt.hour().cast(pl.Int64).alias("hour")
    counted = (
        found["interactions"].group_by("category", local).agg(counted=pl.len(), users=pl.col("user_id").n_unique())
    )
    both = hours.join(counted, on=["category", "hour"], how="full")
    assert (both["interactions"] == both["counted"]).all()
    assert (both["people"] == both["users"]).all()
    seen = hours.group_by("hour").agg(pl.col("interactions").sum()).sort("hour")["interactions"]
    weights = city_world.shares("looking") @ list(planted.truth["hours"]["looking"].values())
    assert pl.DataFrame({"seen": seen, "planted": weights}).select(pl.corr("seen", "planted")).item() > 0.98


def test_people_who_refuse_are_nowhere(planted, found):
    tables = read(planted)
    refusing = tables["locations"].filter(~pl.col("consent"))["user_id"].unique()
    assert refusing.len() > 10
    for table, rows in found.items():
        if "user_id" in rows.columns:
            assert not rows["user_id"].is_in(refusing.implode()).any(), table
