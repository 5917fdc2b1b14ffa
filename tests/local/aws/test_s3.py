import hashlib
import http.client
import io
import threading
import tracemalloc
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.s3.exceptions import InvalidBucketName, MissingBucket

from local.aws import s3
from local.aws.server import Server
from local.aws.settings import Settings

BUCKET = "the-lake"
PART = 5 << 20


class Lake:
    """An S3 endpoint on files that can be restarted."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.folder = state / "s3" / BUCKET
        self.start()

    def start(self) -> None:
        self.server = Server(Settings(self.state, 0)).start()
        self.client = boto3.client(
            "s3",
            endpoint_url=self.server.settings.endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(s3={"addressing_style": "path"}),
        )

    def restart(self) -> None:
        self.server.stop()
        self.start()

    def put(self, key: str, body: bytes = b"bytes", **options: Any) -> dict[str, Any]:
        return self.client.put_object(Bucket=BUCKET, Key=key, Body=body, **options)

    def get(self, key: str, **options: Any) -> bytes:
        return self.client.get_object(Bucket=BUCKET, Key=key, **options)["Body"].read()

    def listed(self, **options: Any) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, **options)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    lake = Lake(tmp_path_factory.mktemp("state"))
    yield lake
    lake.server.stop()


@pytest.fixture
def lake(server: Lake) -> Iterator[Lake]:
    server.client.create_bucket(Bucket=BUCKET)
    yield server
    for key in server.listed():
        server.client.delete_object(Bucket=BUCKET, Key=key)
    server.client.delete_bucket(Bucket=BUCKET)
    assert not server.folder.exists()
    assert not list((server.state / "s3-uploads").iterdir())


def md5(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


def failure(attempt: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        attempt(*arguments, **options)
    return caught.value.response


# ------------------------------------------------------------------------------------------------------------ objects


def test_an_object_is_a_file(lake: Lake) -> None:
    lake.put("a/b.txt", b"hello", ContentType="text/plain", Metadata={"owner": "me"})
    assert (lake.folder / "a" / "b.txt").read_bytes() == b"hello"
    found = lake.client.get_object(Bucket=BUCKET, Key="a/b.txt")
    assert found["Body"].read() == b"hello"
    assert found["ETag"] == md5(b"hello")
    assert (found["ContentType"], found["Metadata"], found["ContentLength"]) == ("text/plain", {"owner": "me"}, 5)


def test_an_empty_object_is_an_empty_file(lake: Lake) -> None:
    lake.put("empty", b"")
    assert (lake.folder / "empty").read_bytes() == b""
    assert lake.get("empty") == b""


def test_everything_known_of_an_object_survives_a_restart(lake: Lake) -> None:
    lake.put("a", b"one", ContentType="text/csv", ContentEncoding="zstd", Metadata={"rows": "1"}, Tagging="pii=no")
    lake.client.put_object(Bucket=BUCKET, Key="b", Body=b"two", StorageClass="STANDARD_IA", ChecksumAlgorithm="SHA256")
    before = [lake.client.head_object(Bucket=BUCKET, Key=key, ChecksumMode="ENABLED") for key in "ab"]
    lake.restart()
    after = [lake.client.head_object(Bucket=BUCKET, Key=key, ChecksumMode="ENABLED") for key in "ab"]
    for known in (*before, *after):
        del known["ResponseMetadata"]
    assert after == before
    assert after[1]["ChecksumSHA256"]
    assert lake.client.get_object_tagging(Bucket=BUCKET, Key="a")["TagSet"] == [{"Key": "pii", "Value": "no"}]
    assert lake.get("a") == b"one"


def test_overwriting_replaces_bytes_and_what_is_known(lake: Lake) -> None:
    lake.put("a", b"first and longer", ContentType="text/plain", Metadata={"run": "1"})
    lake.put("a", b"second")
    lake.restart()
    found = lake.client.get_object(Bucket=BUCKET, Key="a")
    assert found["Body"].read() == b"second"
    assert (found["ETag"], found["Metadata"], found["ContentType"]) == (md5(b"second"), {}, "binary/octet-stream")


def test_who_reads_while_an_object_is_replaced_gets_the_old_one_whole(lake: Lake) -> None:
    old = b"old" * 5_000_000
    lake.put("a", old)
    reader = lake.client.get_object(Bucket=BUCKET, Key="a")["Body"]
    start = reader.read(10)
    lake.put("a", b"new")
    assert start + reader.read() == old
    assert lake.get("a") == b"new"


def test_concurrent_writers_leave_one_whole_object(lake: Lake) -> None:
    bodies = [bytes([number]) * (100_000 + number) for number in range(8)]
    threads = [threading.Thread(target=lake.put, args=("a", body)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winner = lake.get("a")
    assert winner in bodies
    assert (lake.folder / "a").read_bytes() == winner
    assert lake.client.head_object(Bucket=BUCKET, Key="a")["ETag"] == md5(winner)


def test_a_condition_on_a_write_is_honoured(lake: Lake) -> None:
    lake.put("a", b"one", IfNoneMatch="*")
    assert failure(lake.put, "a", b"two", IfNoneMatch="*")["ResponseMetadata"]["HTTPStatusCode"] == 412
    assert lake.get("a") == b"one"


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [("bytes=2-4", b"234"), ("bytes=7-", b"789"), ("bytes=-2", b"89"), ("bytes=0-99", b"0123456789")],
)
def test_a_range_of_an_object(lake: Lake, wanted: str, expected: bytes) -> None:
    lake.put("a", b"0123456789")
    found = lake.client.get_object(Bucket=BUCKET, Key="a", Range=wanted)
    assert found["Body"].read() == expected
    assert found["ContentRange"].endswith("/10")
    assert found["ResponseMetadata"]["HTTPStatusCode"] == 206


def test_a_range_beyond_the_end_fails(lake: Lake) -> None:
    lake.put("a", b"0123456789")
    assert failure(lake.get, "a", Range="bytes=10-")["Error"]["Code"] == "InvalidRange"


def test_a_range_of_a_large_object_is_not_the_whole_object_in_memory(lake: Lake) -> None:
    lake.put("large", b"")
    with (lake.folder / "large").open("wb") as file:
        file.truncate(200 << 20)
    s3.adopt(BUCKET, "large")
    lake.client.head_object(Bucket=BUCKET, Key="large")  # computes the ETag, block by block
    tracemalloc.start()
    assert lake.get("large", Range="bytes=100000000-100000999") == bytes(1000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 << 20


# ------------------------------------------------------------------------------------------------------- multipart


def upload(lake: Lake, key: str, parts: list[bytes], **options: Any) -> dict[str, Any]:
    names = {"Bucket": BUCKET, "Key": key}
    names["UploadId"] = lake.client.create_multipart_upload(**names, **options)["UploadId"]
    done = [
        {"PartNumber": number, "ETag": lake.client.upload_part(**names, PartNumber=number, Body=part)["ETag"]}
        for number, part in enumerate(parts, 1)
    ]
    return lake.client.complete_multipart_upload(**names, MultipartUpload={"Parts": done})


def test_a_multipart_upload_becomes_one_file(lake: Lake) -> None:
    parts = [b"x" * PART, b"y" * PART, b"end"]
    upload(lake, "big", parts, ContentType="text/plain", Metadata={"rows": "3"})
    digests = b"".join(hashlib.md5(part).digest() for part in parts)
    expected = f'"{hashlib.md5(digests).hexdigest()}-3"'
    assert (lake.folder / "big").read_bytes() == b"".join(parts)
    lake.restart()
    found = lake.client.head_object(Bucket=BUCKET, Key="big")
    assert (found["ETag"], found["ContentType"], found["Metadata"]) == (expected, "text/plain", {"rows": "3"})
    assert lake.get("big", Range="bytes=5242879-5242880") == b"xy"


def test_the_transfer_manager_round_trip(lake: Lake) -> None:
    data = bytes(range(256)) * (80 << 10)
    lake.client.upload_fileobj(io.BytesIO(data), BUCKET, "managed")
    back = io.BytesIO()
    lake.client.download_fileobj(BUCKET, "managed", back)
    assert back.getvalue() == data


@pytest.mark.parametrize(("algorithm", "kind"), [("SHA256", "COMPOSITE"), ("CRC32", "FULL_OBJECT")])
def test_the_checksum_of_a_multipart_upload(lake: Lake, algorithm: str, kind: str) -> None:
    parts = [b"x" * PART, b"end"]
    upload(lake, "big", parts, ChecksumAlgorithm=algorithm, ChecksumType=kind)
    found = lake.client.head_object(Bucket=BUCKET, Key="big", ChecksumMode="ENABLED")
    lake.put("same", b"".join(parts), ChecksumAlgorithm=algorithm)
    whole = lake.client.head_object(Bucket=BUCKET, Key="same", ChecksumMode="ENABLED")[f"Checksum{algorithm}"]
    assert (found[f"Checksum{algorithm}"] == whole) == (kind == "FULL_OBJECT")


def test_an_upload_with_a_wrong_part_fails_and_leaves_the_old_object(lake: Lake) -> None:
    lake.put("a", b"old")
    names = {"Bucket": BUCKET, "Key": "a"}
    names["UploadId"] = lake.client.create_multipart_upload(**names)["UploadId"]
    lake.client.upload_part(**names, PartNumber=1, Body=b"new")
    wrong = {"Parts": [{"PartNumber": 1, "ETag": md5(b"other")}]}
    assert (
        failure(lake.client.complete_multipart_upload, **names, MultipartUpload=wrong)["Error"]["Code"] == "InvalidPart"
    )
    assert lake.get("a") == b"old"
    lake.client.abort_multipart_upload(**names)


def test_an_upload_with_small_parts_fails(lake: Lake) -> None:
    assert failure(upload, lake, "a", [b"small", b"end"])["Error"]["Code"] == "EntityTooSmall"
    for left in lake.client.list_multipart_uploads(Bucket=BUCKET)["Uploads"]:
        lake.client.abort_multipart_upload(Bucket=BUCKET, Key="a", UploadId=left["UploadId"])


# ------------------------------------------------------------------------------------------------ copy, delete, list


def test_a_copy_has_bytes_and_metadata_of_its_own(lake: Lake) -> None:
    lake.put("a", b"bytes", ContentType="text/plain", Metadata={"run": "1"}, Tagging="pii=no")
    source = {"Bucket": BUCKET, "Key": "a"}
    lake.client.copy_object(Bucket=BUCKET, Key="x/same", CopySource=source)
    lake.client.copy_object(
        Bucket=BUCKET, Key="x/other", CopySource=source, MetadataDirective="REPLACE", Metadata={"run": "2"}
    )
    lake.client.delete_object(**source)
    lake.restart()
    assert lake.get("x/same") == lake.get("x/other") == b"bytes"
    same = lake.client.head_object(Bucket=BUCKET, Key="x/same")
    assert (same["ContentType"], same["Metadata"], same["ETag"]) == ("text/plain", {"run": "1"}, md5(b"bytes"))
    assert lake.client.head_object(Bucket=BUCKET, Key="x/other")["Metadata"] == {"run": "2"}


def test_deleting_removes_the_file_and_the_folders_that_are_empty_without_it(lake: Lake) -> None:
    lake.put("a/b/c/one")
    lake.put("a/two")
    lake.client.delete_object(Bucket=BUCKET, Key="a/b/c/one")
    assert sorted(found.name for found in (lake.folder / "a").iterdir()) == ["two"]
    assert failure(lake.get, "a/b/c/one")["Error"]["Code"] == "NoSuchKey"
    lake.client.delete_object(Bucket=BUCKET, Key="a/b/c/one")  # as S3: deleting nothing is no error


def test_deleting_many(lake: Lake) -> None:
    for number in range(20):
        lake.put(f"many/{number:02}")
    wanted = [{"Key": f"many/{number:02}"} for number in range(19)]
    lake.client.delete_objects(Bucket=BUCKET, Delete={"Objects": wanted})
    lake.restart()
    assert lake.listed() == ["many/19"]


def test_listing_by_prefix_delimiter_and_pages(lake: Lake) -> None:
    for key in ("a/1", "a/2", "a/b/3", "ab", "c"):
        lake.put(key)
    found = lake.client.list_objects_v2(Bucket=BUCKET, Prefix="a", Delimiter="/")
    assert [common["Prefix"] for common in found["CommonPrefixes"]] == ["a/"]
    assert [entry["Key"] for entry in found["Contents"]] == ["ab"]
    assert lake.listed(Prefix="a/") == ["a/1", "a/2", "a/b/3"]
    assert lake.listed(PaginationConfig={"PageSize": 2}) == ["a/1", "a/2", "a/b/3", "ab", "c"]


# --------------------------------------------------------------------------------------------------------------- keys


ODD_KEYS = [
    "with space", "ação/日本語", "100%", "a+b", "q?x=1", "#hash", "a&b=c", "~tilde", ".hidden", "..x", "back\\slash",
    "month=2024-01/part-0.parquet", "'quotes\"", "n" * 255, "tab\there",
]  # fmt: skip


def test_keys_with_odd_characters(lake: Lake) -> None:
    for key in ODD_KEYS:
        lake.put(key, key.encode())
    lake.restart()
    assert lake.listed() == sorted(ODD_KEYS)
    for key in ODD_KEYS:
        assert lake.get(key) == key.encode()
        assert lake.folder.joinpath(key).read_bytes() == key.encode()


@pytest.mark.parametrize("key", ["../escaped", "a/../../escaped", "..", "a/./b", "a//b", "/a", "n" * 256, "a/.."])
def test_a_key_that_cannot_be_a_file_is_refused_with_its_reason(lake: Lake, key: str) -> None:
    error = failure(lake.put, key)["Error"]
    assert error["Code"] == "NotImplemented"
    assert "keeps objects as files" in error["Message"]
    assert lake.listed() == []
    assert not list(lake.state.rglob("escaped"))


def test_an_encoded_traversal_in_a_raw_request_is_refused(lake: Lake) -> None:
    for path in (
        f"/{BUCKET}/%2e%2e/traversed",
        f"/{BUCKET}/../traversed",
        f"/{BUCKET}/..%2ftraversed",
        "/..%2f/traversed",
    ):
        link = http.client.HTTPConnection("127.0.0.1", lake.server.settings.port)
        link.putrequest("PUT", path, skip_accept_encoding=True)
        link.putheader("Authorization", "AWS4-HMAC-SHA256 Credential=t/20250101/us-east-1/s3/aws4_request, Signature=x")
        link.putheader("Content-Length", "3")
        link.endheaders(b"bad")
        assert 400 <= link.getresponse().status < 500, path
        link.close()
    assert not list(lake.state.parent.rglob("traversed"))


@pytest.mark.parametrize("name", ["..", "a..b", "UPPER", "under_score", "x"])
def test_a_bucket_whose_name_breaks_the_rules_is_refused(lake: Lake, name: str) -> None:
    with pytest.raises(InvalidBucketName):
        s3.path(name, "key")


def test_a_key_below_an_object_or_at_the_place_of_a_folder_is_refused(lake: Lake) -> None:
    lake.put("a", b"object")
    lake.put("f/g", b"below")
    for key in ("a/b", "a/b/c", "a/", "f"):
        assert "cannot be written beside" in failure(lake.put, key, b"")["Error"]["Message"], key
    assert lake.listed() == ["a", "f/g"]
    assert (lake.get("a"), lake.get("f/g")) == (b"object", b"below")
    lake.client.delete_object(Bucket=BUCKET, Key="f/g")
    lake.put("f", b"free now")
    assert lake.get("f") == b"free now"


def test_another_spelling_of_a_key_is_refused_where_the_disk_takes_both_for_one(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.put("Reports/a")
    lake.put("reports/a")  # this disk tells them apart, so it asks nothing
    lake.client.delete_object(Bucket=BUCKET, Key="reports/a")

    def exists(place: Path) -> bool:
        present = place.parent.iterdir() if exists_here(place.parent) else ()
        return place.name.lower() in [other.name.lower() for other in present]

    exists_here = Path.exists
    monkeypatch.setattr(s3.backend(), "_folds_case", True)
    with monkeypatch.context() as folding:
        folding.setattr(Path, "exists", exists)
        for key in ("Reports/A", "reports/b"):
            error = failure(lake.put, key)["Error"]
            assert error["Code"] == "NotImplemented"
            assert "use the same case" in error["Message"]
        lake.put("Reports/a")
        lake.put("Reports/b")
    assert lake.listed() == ["Reports/a", "Reports/b"]


def test_a_folder_marker_survives_a_restart_and_keeps_its_folder(lake: Lake) -> None:
    lake.put("folder/", b"")
    lake.put("folder/a")
    lake.client.delete_object(Bucket=BUCKET, Key="folder/a")
    lake.restart()
    assert lake.listed() == ["folder/"]
    assert lake.get("folder/") == b""
    lake.client.delete_object(Bucket=BUCKET, Key="folder/")
    assert not (lake.folder / "folder").exists()


def test_a_folder_marker_with_bytes_is_refused(lake: Lake) -> None:
    assert "folder marker" in failure(lake.put, "folder/", b"bytes")["Error"]["Message"]


def test_versions_are_refused(lake: Lake) -> None:
    enabled = {"Status": "Enabled"}
    error = failure(lake.client.put_bucket_versioning, Bucket=BUCKET, VersioningConfiguration=enabled)["Error"]
    assert "keeps no versions" in error["Message"]
    lake.client.create_bucket(Bucket="locked-lake", ObjectLockEnabledForBucket=True)
    error = failure(lake.client.put_object, Bucket="locked-lake", Key="a", Body=b"")["Error"]
    assert "keeps no versions" in error["Message"]
    lake.client.delete_bucket(Bucket="locked-lake")


@pytest.mark.parametrize(
    ("action", "options", "reason"),
    [
        (
            "put_bucket_notification_configuration",
            {
                "NotificationConfiguration": {
                    "LambdaFunctionConfigurations": [
                        {
                            "LambdaFunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:f",
                            "Events": ["s3:ObjectCreated:*"],
                        }
                    ]
                }
            },
            "does not send notifications to a CloudFunctionConfiguration",
        ),
        (
            "put_bucket_inventory_configuration",
            {
                "Id": "all",
                "InventoryConfiguration": {
                    "Id": "all",
                    "IsEnabled": True,
                    "IncludedObjectVersions": "Current",
                    "Schedule": {"Frequency": "Daily"},
                    "Destination": {"S3BucketDestination": {"Bucket": "arn:aws:s3:::other", "Format": "CSV"}},
                },
            },
            "writes no inventories",
        ),
    ],
)
def test_what_would_silently_do_nothing_is_refused(
    lake: Lake, action: str, options: dict[str, Any], reason: str
) -> None:
    assert reason in failure(getattr(lake.client, action), Bucket=BUCKET, **options)["Error"]["Message"]


# ------------------------------------------------------------------------------------------------ files from outside


def test_files_become_objects_when_they_are_adopted(lake: Lake) -> None:
    written = lake.folder / "table" / "part.parquet"
    written.parent.mkdir()
    written.write_bytes(b"from outside")
    assert lake.listed() == []
    s3.adopt(BUCKET, "table/")
    assert lake.listed() == ["table/part.parquet"]
    assert lake.get("table/part.parquet") == b"from outside"
    assert lake.client.head_object(Bucket=BUCKET, Key="table/part.parquet")["ETag"] == md5(b"from outside")


def test_adopting_sees_what_changed_and_what_is_gone_under_its_prefix_only(lake: Lake) -> None:
    for key in ("x/changed", "x/gone", "x/same", "y/gone"):
        lake.put(key, b"before", Metadata={"by": "api"})
    (lake.folder / "x" / "changed").write_bytes(b"after, and longer")
    (lake.folder / "x" / "gone").unlink()
    (lake.folder / "y" / "gone").unlink()
    s3.adopt(BUCKET, "x/")
    assert lake.listed() == ["x/changed", "x/same", "y/gone"]
    assert lake.get("x/changed") == b"after, and longer"
    assert lake.client.head_object(Bucket=BUCKET, Key="x/changed")["Metadata"] == {}
    assert lake.client.head_object(Bucket=BUCKET, Key="x/same")["Metadata"] == {"by": "api"}
    assert failure(lake.get, "y/gone")["Error"]["Code"] == "NoSuchKey"
    assert lake.listed() == ["x/changed", "x/same"]


def test_a_file_replaced_behind_the_servers_back_is_never_read_with_old_headers(lake: Lake) -> None:
    lake.put("a", b"before")
    (lake.folder / "a").write_bytes(b"after, and longer")
    found = lake.client.get_object(Bucket=BUCKET, Key="a")
    assert found["Body"].read() == b"after, and longer"
    assert found["ContentLength"] == 17
    assert lake.client.head_object(Bucket=BUCKET, Key="a")["ETag"] == md5(b"after, and longer")


def test_listings_see_what_is_written_directly_while_somebody_does(lake: Lake) -> None:
    def listed() -> list[str]:
        return [key["Key"] for key in lake.client.list_objects_v2(Bucket=BUCKET, Prefix="beside/").get("Contents", [])]

    with s3.written_directly():
        s3.path(BUCKET, "beside/one").parent.mkdir(parents=True)
        s3.path(BUCKET, "beside/one").write_bytes(b"1")
        assert listed() == ["beside/one"]
    s3.path(BUCKET, "beside/two").write_bytes(b"2")
    assert listed() == ["beside/one"]
    s3.path(BUCKET, "beside/two").unlink()


def test_a_bucket_with_files_that_nobody_adopted_is_not_deleted(lake: Lake) -> None:
    (lake.folder / "precious").write_bytes(b"data")
    assert failure(lake.client.delete_bucket, Bucket=BUCKET)["Error"]["Code"] == "BucketNotEmpty"
    assert (lake.folder / "precious").read_bytes() == b"data"


def test_adopting_a_bucket_that_does_not_exist_fails(lake: Lake) -> None:
    with pytest.raises(MissingBucket):
        s3.adopt("no-such-bucket")


def test_a_bucket_of_an_earlier_run_can_be_created_again_with_its_objects(lake: Lake) -> None:
    lake.put("a", b"kept", ContentType="text/plain")
    lake.restart()
    lake.client.create_bucket(Bucket=BUCKET)
    assert lake.get("a") == b"kept"
    assert lake.client.head_object(Bucket=BUCKET, Key="a")["ContentType"] == "text/plain"


def test_other_backends_write_objects_and_find_files_by_uri(lake: Lake) -> None:
    s3.put(f"s3://{BUCKET}/results/1.csv", b"a,b")
    assert s3.path_of(f"s3://{BUCKET}/results/1.csv").read_bytes() == b"a,b"
    assert s3.path_of(f"s3a://{BUCKET}/results/") == lake.folder / "results"
    assert lake.get("results/1.csv") == b"a,b"
    with pytest.raises(MissingBucket):
        s3.put("s3://no-such-bucket/a", b"")
    with pytest.raises(ValueError, match="write s3://bucket/key"):
        s3.path_of("/just/a/path")


@pytest.mark.parametrize(
    "query",
    [
        "list-type=2",
        "list-type=2&prefix=a%2F&delimiter=%2F&encoding-type=url&fetch-owner=true",
        "list-type=2&max-keys=1&start-after=a",
        "list-type=2&prefix=nothing",
        "",
        "delimiter=%2F&max-keys=2&encoding-type=url",
    ],
)
def test_a_listing_is_the_one_that_moto_writes(lake: Lake, query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("a/é & <x>.csv", "a/b", "c", "d/e"):
        lake.put(key, ChecksumAlgorithm="SHA256")

    def listing() -> tuple[str | None, Any]:
        with urllib.request.urlopen(f"{lake.server.settings.endpoint}/{BUCKET}?{query}") as response:
            return response.headers["Content-Type"], tree(ElementTree.fromstring(response.read()))

    def tree(element: ElementTree.Element) -> tuple[str, str, list[Any]]:
        return element.tag, element.text or "", sorted(tree(child) for child in element)

    ours = listing()
    monkeypatch.delattr(s3.FileS3Response, "serialized")
    assert ours == listing()
