"""What the report and the live offers' file were made of, beside what there is: on the local catalog."""

import boto3
import pytest

from include.geo import consumers, state
from include.geo.landing import Delivery, Loaded
from include.geo.state import Bronze
from include.tables import catalog, contract
from include.tables.catalog import Place
from tests.geo_lake import LAKE, clear

ZONE = "America/Fortaleza"


@pytest.fixture
def glue(stack):
    clear()
    yield boto3.client("glue")
    clear()


def bronze(**days: str) -> Bronze:
    """Campaigns and establishments of some days, as `campaigns="2026-08-01"`."""
    loaded = {
        Delivery(day, table): Loaded({}, ZONE, "", 0, {}, f"s3://{LAKE}/bronze/{table}/load_date={day}/")
        for table, day in days.items()
    }
    return Bronze(dict(sorted(loaded.items())))


@pytest.mark.parametrize(
    "newer",
    [
        {"campaigns": "2026-08-02", "establishments": "2026-08-01"},
        {"campaigns": "2026-08-01", "establishments": "2026-08-02"},
    ],
    ids=["campaigns", "establishments"],
)
def test_new_campaigns_or_establishments_alone_are_noticed(glue, newer):
    s3 = boto3.client("s3")
    assert not any(consumers.inputs(glue, Bronze({}), ZONE).tables.values())
    assert consumers.made_of(s3, LAKE) is None
    first = consumers.inputs(glue, bronze(campaigns="2026-08-01", establishments="2026-08-01"), ZONE)
    consumers.note(s3, LAKE, first.digest)
    assert consumers.made_of(s3, LAKE) == first.digest
    there = bronze(**newer)
    second = consumers.inputs(glue, there, ZONE)
    assert consumers.made_of(s3, LAKE) != second.digest
    assert second.tables["campaigns"] == [f"s3://{LAKE}/bronze/campaigns/load_date={newer['campaigns']}/"]
    # While the analyses see nothing new.
    assert state.analysed(glue, there, ZONE) == state.analysed(glue, Bronze({}), ZONE)


def test_a_month_that_was_switched_is_noticed(glue):
    before = consumers.inputs(glue, bronze(), ZONE)
    table = contract.load("campaign_ctr")
    catalog.ensure_table(glue, table, f"s3://{LAKE}/gold/campaign_ctr/")
    found = [before.digest]
    for version in "12":
        location = f"s3://{LAKE}/gold/campaign_ctr/v={version}/month=all/"
        catalog.switch_partitions(glue, table, {("all",): Place(location, {})})
        now = consumers.inputs(glue, bronze(), ZONE)
        assert now.tables["campaign_ctr"] == [location]
        found.append(now.digest)
    assert len(set(found)) == 3
    assert now.digest != now._replace(zone="UTC").digest
