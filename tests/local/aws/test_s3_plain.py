"""The short way must not be told from moto's."""

import base64
import json
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.aws import s3_plain
from local.aws.s3 import backend
from local.aws.server import Server
from local.aws.settings import Settings, client

BUCKET = "plain"
ENCRYPTION = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}

Request = Callable[[Any], dict[str, Any]]


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    server = Server(Settings(tmp_path_factory.mktemp("state"), 0)).start()
    found = client("s3")
    found.create_bucket(Bucket=BUCKET)
    found.create_bucket(Bucket="encrypted")
    found.put_bucket_encryption(Bucket="encrypted", ServerSideEncryptionConfiguration=ENCRYPTION)
    for key in ("present", "folder/with space, é and + %2F"):
        found.put_object(
            Bucket=BUCKET, Key=key, Body=b"0123456789", Metadata={"colour": "blue"}, ChecksumAlgorithm="SHA256"
        )
    yield found
    server.stop()


def answers(s3: Any, request: Request, monkeypatch: pytest.MonkeyPatch, *, short: bool) -> dict[str, Any]:
    """What a client sees of an answer, and whether it came by the short way."""
    taken = []
    answer = s3_plain._answer

    def watched(environ: Any) -> Any:
        found = answer(environ) if short else None
        taken.append(found is not None)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(s3_plain, "_answer", watched)
        try:
            found = request(s3)
        except ClientError as error:
            found = error.response
    body = found["Body"].read() if "Body" in found else b""
    metadata = found.pop("ResponseMetadata")
    headers = {
        name: value
        for name, value in metadata["HTTPHeaders"].items()
        if name not in ("date", "last-modified", "connection", "access-control-allow-origin") and "request" not in name
    }
    return {"taken": any(taken), "status": metadata["HTTPStatusCode"], "headers": headers, "body": body}


PLAIN: dict[str, Request] = {
    "put": lambda s3: s3.put_object(Bucket=BUCKET, Key="a/new", Body=b"bytes"),
    "put-nothing": lambda s3: s3.put_object(Bucket=BUCKET, Key="empty", Body=b""),
    "put-described": lambda s3: s3.put_object(
        Bucket=BUCKET, Key="b", Body=b"x", ContentType="text/csv", CacheControl="no-store", Metadata={"a-b": "c"}
    ),
    "put-checksum": lambda s3: s3.put_object(Bucket=BUCKET, Key="sum", Body=b"x", ChecksumAlgorithm="SHA256"),
    "put-encrypted": lambda s3: s3.put_object(Bucket="encrypted", Key="x", Body=b"x"),
    "get": lambda s3: s3.get_object(Bucket=BUCKET, Key="present"),
    "get-odd-key": lambda s3: s3.get_object(Bucket=BUCKET, Key="folder/with space, é and + %2F"),
    "get-range": lambda s3: s3.get_object(Bucket=BUCKET, Key="present", Range="bytes=2-4"),
    "get-rest": lambda s3: s3.get_object(Bucket=BUCKET, Key="present", Range="bytes=7-"),
    "get-more-than-all": lambda s3: s3.get_object(Bucket=BUCKET, Key="present", Range="bytes=0-99"),
    "head": lambda s3: s3.head_object(Bucket=BUCKET, Key="present"),
    "head-checksum": lambda s3: s3.head_object(Bucket=BUCKET, Key="present", ChecksumMode="ENABLED"),
}

UNUSUAL: dict[str, Request] = {
    "get-missing": lambda s3: s3.get_object(Bucket=BUCKET, Key="missing"),
    "head-missing": lambda s3: s3.head_object(Bucket=BUCKET, Key="missing"),
    "no-bucket": lambda s3: s3.put_object(Bucket="no-such-bucket", Key="x", Body=b"x"),
    "get-past-the-end": lambda s3: s3.get_object(Bucket=BUCKET, Key="present", Range="bytes=10-12"),
    "get-last": lambda s3: s3.get_object(Bucket=BUCKET, Key="present", Range="bytes=-3"),
    "get-if-other": lambda s3: s3.get_object(Bucket=BUCKET, Key="present", IfMatch='"other"'),
    "get-as": lambda s3: s3.get_object(Bucket=BUCKET, Key="present", ResponseContentType="text/csv"),
    "put-if-new": lambda s3: s3.put_object(Bucket=BUCKET, Key="present", Body=b"x", IfNoneMatch="*"),
    "put-tagged": lambda s3: s3.put_object(Bucket=BUCKET, Key="tagged", Body=b"x", Tagging="a=b"),
    "put-acl": lambda s3: s3.put_object(Bucket=BUCKET, Key="public", Body=b"x", ACL="public-read"),
    "put-class": lambda s3: s3.put_object(Bucket=BUCKET, Key="cold", Body=b"x", StorageClass="GLACIER"),
    "put-kms": lambda s3: s3.put_object(Bucket=BUCKET, Key="kms", Body=b"x", ServerSideEncryption="aws:kms"),
    "put-below-an-object": lambda s3: s3.put_object(Bucket=BUCKET, Key="present/below", Body=b"x"),
    "put-folder": lambda s3: s3.put_object(Bucket=BUCKET, Key="marker/", Body=b""),
    "put-outside": lambda s3: s3.put_object(Bucket=BUCKET, Key="a/../../b", Body=b"x"),
    "copy": lambda s3: s3.copy_object(Bucket=BUCKET, Key="copy", CopySource=f"{BUCKET}/present"),
}


@pytest.mark.parametrize(
    ("request_", "plain"),
    [pytest.param(request, True, id=name) for name, request in PLAIN.items()]
    + [pytest.param(request, False, id=name) for name, request in UNUSUAL.items()],
)
def test_both_ways_answer_alike(s3: Any, request_: Request, plain: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    motos = answers(s3, request_, monkeypatch, short=False)
    ours = answers(s3, request_, monkeypatch, short=True)
    assert (ours.pop("taken"), motos.pop("taken")) == (plain, False)
    assert ours == motos


@pytest.mark.parametrize("short", [True, False])
def test_both_ways_keep_the_same(s3: Any, short: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.put_object(Bucket=BUCKET, Key="kept", Body=b"old", Tagging="a=b", Metadata={"old": "yes"})
    with monkeypatch.context() as patch:
        if not short:
            patch.setattr(s3_plain, "_answer", lambda environ: None)
        s3.put_object(
            Bucket=BUCKET, Key="kept", Body=b"new", ContentType="text/csv", Metadata={"new": "yes"},
            ChecksumAlgorithm="CRC32",
        )  # fmt: skip
    found = s3.get_object(Bucket=BUCKET, Key="kept", ChecksumMode="ENABLED")
    assert found["Body"].read() == b"new"
    checksum = base64.b64encode(zlib.crc32(b"new").to_bytes(4)).decode()
    assert (found["ContentType"], found["Metadata"], found["ChecksumCRC32"]) == ("text/csv", {"new": "yes"}, checksum)
    assert s3.get_object_tagging(Bucket=BUCKET, Key="kept")["TagSet"] == []
    assert s3.get_object_acl(Bucket=BUCKET, Key="kept")["Grants"][0]["Permission"] == "FULL_CONTROL"


def test_a_policy_that_denies_is_obeyed(s3: Any) -> None:
    s3.create_bucket(Bucket="closed")
    policy = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", '
        '"Resource": "arn:aws:s3:::closed/*"}]}'
    )
    s3.put_bucket_policy(Bucket="closed", Policy=policy)
    with pytest.raises(ClientError, match="403"):
        s3.put_object(Bucket="closed", Key="x", Body=b"x")


def test_a_notification_is_sent(s3: Any) -> None:
    queue = client("sqs").create_queue(QueueName="arrivals")["QueueUrl"]
    arn = client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allowed = {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sqs:SendMessage"}
    policy = {"Version": "2012-10-17", "Statement": [{**allowed, "Resource": arn}]}
    client("sqs").set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(policy)})
    s3.create_bucket(Bucket="watched")
    s3.put_bucket_notification_configuration(
        Bucket="watched",
        NotificationConfiguration={"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]},
    )
    s3.put_object(Bucket="watched", Key="arrived", Body=b"x")
    messages = client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    assert any('"key":"arrived"' in message["Body"].replace(" ", "") for message in messages)


def test_what_is_known_of_an_object_is_kept_with_its_bytes(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="lasting", Body=b"x", Metadata={"a": "b"})
    stamp, facts = backend()._index.under(BUCKET, "lasting")["lasting"]
    assert (stamp.size, facts["metadata"]["x-amz-meta-a"]) == (1, "b")
