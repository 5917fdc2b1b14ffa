import socket
import threading

import boto3
import pytest
from moto import mock_aws
from werkzeug.serving import make_server
from werkzeug.wrappers import Response

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


@pytest.fixture
def aws(monkeypatch):
    """Sets what the AWS clients of a test find in their environment, retries off."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    given = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in (given | {"AWS_MAX_ATTEMPTS": "1", "AWS_EC2_METADATA_DISABLED": "true"}).items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def assert_aws_fails(match, prepared):
    for call in (
        lambda: storage.parquet_files("s3://lake/x"),
        lambda: storage.local_copies(["s3://lake/x/a.parquet"], prepared).__enter__(),
        lambda: storage.publish(prepared, NAMES, "s3://lake/out"),
    ):
        with pytest.raises(storage.ServiceError, match=match):
            call()


@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (400, "ExpiredToken"), (503, "SlowDown")])
def test_what_s3_refuses_for_other_reasons_is_a_service_error(aws, prepared, status, code):
    def refuse(request_environment, start_response):
        body = f"<Error><Code>{code}</Code><Message>no</Message></Error>"
        # A HEAD has no body: its error's code is the status.
        return Response(body, status, content_type="application/xml")(request_environment, start_response)

    server = make_server("127.0.0.1", 0, refuse, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        aws.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        assert_aws_fails(f"s3://lake/.*{code}|s3://lake/.*{status}", prepared)
    finally:
        server.shutdown()
        server.server_close()


def test_no_network_is_a_service_error(aws, prepared):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    aws.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    assert_aws_fails("Could not connect", prepared)


def test_no_credentials_are_a_service_error(aws, prepared, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        aws.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        aws.setenv(name, str(tmp_path / "none"))
    assert_aws_fails("Unable to locate credentials", prepared)


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
