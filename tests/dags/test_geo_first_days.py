"""Days on which something is lacking: before there are ads, when only campaigns are new, and when nothing is left."""

from datetime import date

import boto3
import polars as pl
import pytest
from botocore.exceptions import ClientError

from include.geo.tables import ANALYSED, VISITS
from include.streams import establishments
from include.tables import catalog, contract
from local import geo
from local.aws import settings
from local.data import city
from local.stack import running
from tests.geo_lake import LAKE, clear

DAG = "geo_advertising"
DAY, NEXT = "2026-08-01", "2026-08-02"
KEY = "reference/establishments.jsonl.gz"


def land(day: str, name: str, rows: pl.DataFrame) -> None:
    geo.put(f"landing/geo/{day}/{name}.parquet", geo.parquet(rows))


def months() -> int:
    glue = boto3.client("glue")
    return sum(len(catalog.partitions(glue, contract.load(name))) for name in (*VISITS, *ANALYSED))


def offers() -> list:
    return establishments.parse(boto3.client("s3").get_object(Bucket=LAKE, Key=KEY)["Body"].read())


@pytest.mark.long
def test_what_is_lacking_makes_no_run_fail(stack, run_dag, tmp_path):
    made = city.generate(tmp_path, 0.004, seed=3, start=date(2026, 7, 27), days=3, establishments=100)
    tables = {table: pl.read_parquet(made.file(table)) for table in city.TABLES}
    clear()
    settings.use(settings.Settings(stack.state, running(stack.state).port))

    # Nobody has seen an ad, for there is none.
    land(DAY, "establishments", tables["establishments"])
    land(DAY, "locations", tables["locations"])
    geo.put("landing/geo/2026-02-30/locations.parquet", b"of no day")
    first = run_dag(DAG, load_date=NEXT)
    assert set(first.tasks.values()) == {"success"}, first.tasks
    assert months() > 0
    with pytest.raises(ClientError, match="NoSuchKey"):
        offers()

    # Campaigns change no analysis, and yet what is offered.
    land(NEXT, "campaigns", tables["campaigns"])
    second = run_dag(DAG, load_date=NEXT)
    assert second.state == "success", second.tasks
    assert {"reference", "report", "note"} <= {task for task, state in second.tasks.items() if state == "success"}
    assert {second.tasks[task] for task in ("visits.build", "analyses.build")} == {"skipped"}
    assert {one.establishment_id for one in offers()} == set(tables["campaigns"]["establishment_id"])
    third = run_dag(DAG, load_date=NEXT)
    assert {third.tasks[task] for task in ("published", "reference", "report", "note")} == {"skipped"}

    # All people have withdrawn their consent.
    land(DAY, "locations", tables["locations"].with_columns(consent=pl.lit(False)))
    last = run_dag(DAG, load_date=NEXT)
    assert last.state == "success", last.tasks
    assert last.tasks["analyses.publish"] == "success"
    assert months() == 0
