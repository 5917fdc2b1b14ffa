import io
import json

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto import mock_aws

from include.products import audit
from include.tables import contract

LAKE = {
    "rows": "10",
    "keyless": "0",
    "amount": "12.5000",
    "first_sale": "2026-01-01 08:00:00",
    "last_sale": "2026-01-31",
}
WAREHOUSE = {"rows": 10, "amount": "12.5", "latest_sale": "2026-02-07"}


def checked(lake=None, warehouse=None):
    return audit.check_extract({**LAKE, **(lake or {})}, {**WAREHOUSE, **(warehouse or {})}, "2026-01-01", "2026-02-01")


def test_an_equal_extract_passes_with_its_figures():
    assert checked() == {
        "rows": 10,
        "amount": "12.5000",
        "first_sale": "2026-01-01 08:00:00",
        "last_sale": "2026-01-31",
    }


@pytest.mark.parametrize(
    ("lake", "warehouse", "message"),
    [
        ({"rows": "9"}, {}, "9 rows arrived of 10"),
        ({"amount": "12.4999"}, {}, r"add up to 12\.4999, in Snowflake to 12\.5"),
        ({"keyless": "1"}, {}, "1 of 10 rows lack a product_id or order_id"),
        ({"last_sale": "2026-02-01 00:00:00"}, {}, "leave the window"),
        ({"first_sale": "2025-12-31 23:59:59"}, {}, "leave the window"),
        (
            {"rows": "0"},
            {"rows": 0},
            r"no sales from 2026-01-01 to 2026-02-01.*latest sale is on 2026-02-07.*report_date",
        ),
    ],
)
def test_a_different_extract_fails_with_the_reason(lake, warehouse, message):
    with pytest.raises(audit.AuditError, match=message):
        checked(lake, warehouse)


def test_every_fault_is_listed():
    with pytest.raises(audit.AuditError, match=r"9 rows.*amounts add up"):
        checked({"rows": "9", "amount": "1"})


TABLE = contract.load("recommender_metrics")
GOOD = {"model": ["ease"], "users": [3], "recall_at_10": [0.5], "ndcg_at_10": [0.25]}


@pytest.fixture
def s3(monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)  # other tests point it at the local stack
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="lake")
        yield client


def write(s3, columns, rows_out=None, files=1):
    buffer = io.BytesIO()
    table = pa.table(columns)
    pq.write_table(table, buffer)
    for number in range(files):
        s3.put_object(Bucket="lake", Key=f"out/{TABLE.name}/part{number}.parquet", Body=buffer.getvalue())
    rows = table.num_rows if rows_out is None else rows_out
    report = {"rows_out": {TABLE.name: rows}}
    s3.put_object(Bucket="lake", Key="out/run_recommender.json", Body=json.dumps(report).encode())


def test_a_product_that_keeps_its_contract_passes(s3):
    write(s3, GOOD)
    assert audit.check_product(s3, "recommender", [TABLE], "s3://lake/out/") == {TABLE.name: 1}


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({k: v for k, v in GOOD.items() if k != "users"}, {}, "column users is missing"),
        ({**GOOD, "extra": [1]}, {}, "column extra is not in the contract"),
        ({**GOOD, "users": ["three"]}, {}, "column users is string, the contract says bigint"),
        ({k: v * 2 for k, v in GOOD.items()}, {}, r"1 rows repeat the key \(model\)"),
        ({**GOOD, "model": pa.array([None], pa.string())}, {}, "1 rows without model"),
        (GOOD, {"rows_out": 2}, "1 rows, the job reported 2"),
        (GOOD, {"files": 2}, "2 Parquet files instead of 1"),
        (GOOD, {"files": 0}, "0 Parquet files instead of 1"),
    ],
)
def test_a_product_that_breaks_its_contract_fails_with_the_reason(s3, columns, options, message):
    write(s3, columns, **options)
    with pytest.raises(audit.AuditError, match=message):
        audit.check_product(s3, "recommender", [TABLE], "s3://lake/out/")


def test_a_job_that_did_not_finish_is_recognised(s3):
    with pytest.raises(audit.AuditError, match=r"no run_recommender\.json"):
        audit.check_product(s3, "recommender", [TABLE], "s3://lake/out/")
