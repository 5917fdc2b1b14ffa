import boto3
import pytest
from moto import mock_aws

from include.algorithms import storage
from include.algorithms.outcome import InputError


@pytest.fixture
def s3(monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket="lake")
        yield client


@pytest.fixture
def prepared(tmp_path):
    folder = tmp_path / "prepared"
    for name in ("rules/a.parquet", "a.xlsx", "run.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


NAMES = ["rules/a.parquet", "a.xlsx", "run.json"]


def keys(s3):
    return [item["Key"] for item in s3.list_objects_v2(Bucket="lake").get("Contents", [])]


def test_objects_are_listed_below_the_prefix_only_and_copied(s3, tmp_path):
    for key in ("sales/v=1/b.parquet", "sales/v=1/month=1/a.parquet", "sales/v=10/c.parquet", "sales/v=1/_SUCCESS"):
        s3.put_object(Bucket="lake", Key=key, Body=key.encode())
    files = storage.parquet_files("s3://lake/sales/v=1/")
    assert files == ["s3://lake/sales/v=1/b.parquet", "s3://lake/sales/v=1/month=1/a.parquet"]
    with storage.local_copies(files, tmp_path) as copies:
        assert [copy.read_text() for copy in copies] == ["sales/v=1/b.parquet", "sales/v=1/month=1/a.parquet"]
    assert not any(copy.exists() for copy in copies)


def test_a_missing_bucket_is_an_input_error(s3):
    with pytest.raises(InputError, match=r"s3://nowhere/x: .*NoSuchBucket"):
        storage.parquet_files("s3://nowhere/x")
    with pytest.raises(InputError, match="no Parquet files below s3://lake/x"):
        storage.parquet_files("s3://lake/x")
    with pytest.raises(InputError, match="names no bucket"):
        storage.parquet_files("s3://")


def test_published_to_s3(s3, prepared):
    storage.publish(prepared, NAMES, "s3://lake/out/v=1/")
    assert keys(s3) == ["out/v=1/a.xlsx", "out/v=1/rules/a.parquet", "out/v=1/run.json"]
    assert s3.get_object(Bucket="lake", Key="out/v=1/a.xlsx")["Body"].read() == b"a.xlsx"


def test_a_failure_half_way_leaves_nothing_in_s3(s3, prepared):
    s3.put_object(Bucket="lake", Key="out/run.json", Body=b"of an earlier run")
    (prepared / "a.xlsx").unlink()
    with pytest.raises(FileNotFoundError):
        storage.publish(prepared, NAMES, "s3://lake/out")
    assert keys(s3) == []


def test_an_upload_that_s3_refuses_is_an_input_error(s3, prepared):
    with pytest.raises(InputError, match="NoSuchBucket"):
        storage.publish(prepared, NAMES, "s3://nowhere/out")


def test_published_to_a_folder_all_or_nothing(tmp_path, prepared):
    out = tmp_path / "out"
    storage.publish(prepared, NAMES, str(out))
    assert sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()) == sorted(NAMES)
    (prepared / "run.json").unlink()
    with pytest.raises(InputError, match="cannot be written"):
        storage.publish(prepared, NAMES, str(out))
    assert not [p for p in out.rglob("*") if p.is_file()]
