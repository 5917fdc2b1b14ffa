import base64
import json

import boto3
import pytest
from botocore.exceptions import ClientError

from include.streams import quarantine

PLACE = ("sessions", "shardId-000000000003", "49600000000000000000000000000000000000000000000000000042")


@pytest.fixture
def s3(stack):
    return boto3.client("s3")


def test_a_record_is_one_object_at_its_place_and_put_again_the_same(s3):
    for prefix in ("s3://vitrine-lake/q/a/", "s3://vitrine-lake/q/a"):
        uri = quarantine.put(s3, prefix, *PLACE, "custid: missing", b'{"url": "\xc3\xa9"}')
        assert uri == f"s3://vitrine-lake/q/a/sessions/{PLACE[1]}/{PLACE[2]}.json"
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket="vitrine-lake", Prefix="q/a/")["Contents"]]
    assert keys == [f"q/a/sessions/{PLACE[1]}/{PLACE[2]}.json"]
    body = s3.get_object(Bucket="vitrine-lake", Key=keys[0])["Body"].read()
    assert body.endswith(b"}\n")
    assert json.loads(body) == {
        "function": "sessions",
        "shard_id": PLACE[1],
        "sequence_number": PLACE[2],
        "reason": "custid: missing",
        "encoding": "utf-8",
        "data": '{"url": "é"}',
    }


def test_bytes_that_are_no_text_come_back_whole(s3):
    data = bytes(range(256))
    key = quarantine.put(s3, "s3://vitrine-lake/", *PLACE, "not UTF-8", data).removeprefix("s3://vitrine-lake/")
    assert key.startswith("sessions/")
    body = json.load(s3.get_object(Bucket="vitrine-lake", Key=key)["Body"])
    assert body["encoding"] == "base64"
    assert base64.b64decode(body["data"]) == data


def test_a_bucket_that_is_not_there_raises(s3):
    with pytest.raises(ClientError, match="NoSuchBucket"):
        quarantine.put(s3, "s3://no-such-bucket-here/q/", *PLACE, "x", b"x")
