import uuid
from datetime import date

import boto3
import pytest

from local import lakehouse
from local.aws import settings
from local.lakehouse import LandError
from local.stack import LAKE, running

DAY = date(1999, 1, 1)


@pytest.fixture(autouse=True)
def endpoint(stack, monkeypatch):
    monkeypatch.setattr(settings, "_current", settings.Settings(stack.state, running(stack.state).port))


def test_files_of_a_folder_land_as_a_days_delivery(tmp_path):
    name = f"olist_orders_dataset_{uuid.uuid4().hex}.csv.gz"
    for file in (name, "notes.txt", ".hidden"):
        (tmp_path / file).write_bytes(b"abc")
    assert lakehouse.land(tmp_path, DAY) == [f"landing/olist/1999-01-01/{name}"]
    found = boto3.client("s3").get_object(Bucket=LAKE, Key=f"landing/olist/1999-01-01/{name}")
    assert found["Body"].read() == b"abc"


def test_a_folder_without_files_is_told(tmp_path):
    with pytest.raises(LandError, match=r"has no file that ends in \.csv, \.csv\.gz, \.parquet"):
        lakehouse.land(tmp_path, DAY)


def test_generating_again_gives_the_same_files(tmp_path):
    first = {file.name: file.read_bytes() for file in lakehouse.generate(tmp_path, 0.002).iterdir()}
    assert len(first) == 9
    assert {file.name: file.read_bytes() for file in lakehouse.generate(tmp_path, 0.002).iterdir()} == first


def test_a_scale_of_no_orders_is_told(tmp_path):
    with pytest.raises(LandError, match="scale is 0"):
        lakehouse.generate(tmp_path, 0)
