import uuid
from dataclasses import replace

import boto3
import pytest

from include.tables import catalog, contract
from include.tables.catalog import CatalogError, Place

ROOT = "s3://vitrine-lake/scratch/"


@pytest.fixture
def glue(stack):
    return boto3.client("glue")


@pytest.fixture
def table(glue):
    """A table with one partition key that no other test has."""
    return replace(contract.load("daily_sales"), name=f"t{uuid.uuid4().hex[:8]}")


def days(count: int, version: str) -> dict[tuple[str, ...], Place]:
    return {
        (f"20{number // 360:02}-{number // 30 % 12 + 1:02}-{number % 30 + 1:02}",): Place(
            f"{ROOT}{version}/{number}/", {"files": f"{version}-{number}"}
        )
        for number in range(count)
        if (number // 30 % 12 + 1, number % 30 + 1) not in {(2, 29), (2, 30)}
    }


def test_a_table_gains_the_columns_its_contract_gains(glue, table):
    catalog.ensure_table(glue, replace(table, properties=table.properties[:-1]), ROOT)
    catalog.ensure_table(glue, table, f"{ROOT}elsewhere/")
    found = glue.get_table(DatabaseName=table.database, Name=table.name)["Table"]["StorageDescriptor"]
    assert [column["Name"] for column in found["Columns"]] == [column.name for column in table.columns]
    assert found["Location"] == ROOT


def test_a_table_that_is_not_there_points_nowhere(glue, table):
    assert catalog.place(glue, table) is None
    assert catalog.partitions(glue, table) == {}


def test_a_table_is_switched_with_its_notes(glue, table):
    for version in ("1", "2"):
        catalog.switch_table(glue, table, f"{ROOT}v={version}/", {"version": version})
        place = catalog.place(glue, table)
        assert place.location == f"{ROOT}v={version}/"
        assert place.parameters["version"] == version


def test_more_partitions_than_one_call_takes_are_made_and_switched(glue, table):
    catalog.ensure_table(glue, table, ROOT)
    first, second = days(250, "1"), days(260, "2")
    assert len(first) > 2 * catalog.BATCH
    catalog.switch_partitions(glue, table, first)
    assert catalog.partitions(glue, table) == first
    catalog.switch_partitions(glue, table, second)
    assert catalog.partitions(glue, table) == second


def test_dropped_partitions_are_gone_and_dropping_again_is_no_fault(glue, table):
    catalog.ensure_table(glue, table, ROOT)
    made = days(60, "1")
    catalog.switch_partitions(glue, table, made)
    gone = list(made)[:40]
    for _ in range(2):
        catalog.drop_partitions(glue, table, gone)
        assert catalog.partitions(glue, table) == {values: made[values] for values in list(made)[40:]}


def test_a_refused_partition_is_told(glue, table):
    catalog.ensure_table(glue, table, ROOT)
    with pytest.raises((CatalogError, glue.exceptions.InvalidInputException), match="values"):
        catalog.switch_partitions(glue, table, {("2018-01-01", "too many"): Place(ROOT, {})})
