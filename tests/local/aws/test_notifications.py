import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.aws.server import Server
from local.aws.settings import Settings, client

BUCKET = "told"
ARN = "arn:aws:sqs:us-east-1:123456789012:listener"
PART = 5 << 20


@pytest.fixture
def server(tmp_path) -> Iterator[Server]:
    started = Server(Settings(tmp_path / "state", 0)).start()
    client("s3").create_bucket(Bucket=BUCKET)
    yield started
    started.stop()


def statement(**changes: Any) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": ARN,
        "Condition": {
            "ArnEquals": {"aws:SourceArn": f"arn:aws:s3:::{BUCKET}"},
            "StringEquals": {"aws:SourceAccount": "123456789012"},
        },
        **changes,
    }


def queue(*statements: dict[str, Any]) -> str:
    attributes = {"Policy": json.dumps({"Statement": list(statements)})} if statements else {}
    return client("sqs").create_queue(QueueName="listener", Attributes=attributes)["QueueUrl"]


def tell(arn: str = ARN) -> None:
    target = {
        "QueueArn": arn,
        "Events": ["s3:ObjectCreated:*"],
        "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "in/"}]}},
    }
    client("s3").put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": [target]}
    )


def received(url: str) -> list[dict[str, Any]]:
    sqs, found = client("sqs"), []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            found.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


def test_each_way_to_create_an_object_is_told_once(server: Server) -> None:
    s3, url = client("s3"), queue(statement())
    tell()
    assert [body["Event"] for body in received(url)] == ["s3:TestEvent"]

    s3.put_object(Bucket=BUCKET, Key="in/a put.csv", Body=b"123")
    s3.put_object(Bucket=BUCKET, Key="in/conditional.csv", Body=b"123", IfNoneMatch="*")  # not the short way
    s3.copy_object(Bucket=BUCKET, Key="in/copied.csv", CopySource=f"{BUCKET}/in/a put.csv")
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="in/joined.csv")["UploadId"]
    of_upload = {"Bucket": BUCKET, "Key": "in/joined.csv", "UploadId": upload}
    etags = [
        s3.upload_part(**of_upload, PartNumber=number, Body=body)["ETag"]
        for number, body in ((1, b"x" * PART), (2, b"y"))
    ]
    parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]
    s3.complete_multipart_upload(**of_upload, MultipartUpload={"Parts": parts})
    s3.put_object(Bucket=BUCKET, Key="out/elsewhere.csv", Body=b"123")
    s3.delete_object(Bucket=BUCKET, Key="in/copied.csv")

    records = [record for body in received(url) for record in body["Records"]]
    told = [(record["eventName"], record["s3"]["object"]["key"].rpartition("%2F")[2]) for record in records]
    assert told == [
        ("ObjectCreated:Put", "a+put.csv"),
        ("ObjectCreated:Put", "conditional.csv"),
        ("ObjectCreated:Copy", "copied.csv"),
        ("ObjectCreated:CompleteMultipartUpload", "joined.csv"),
    ]
    assert [record["s3"]["object"]["size"] for record in records] == [3, 3, 3, PART + 1]
    assert {record["s3"]["bucket"]["name"] for record in records} == {BUCKET}


@pytest.mark.parametrize(
    "statements",
    [
        [],
        [statement(Effect="Deny")],
        [statement(Principal={"Service": "sns.amazonaws.com"})],
        [statement(Action="sqs:ReceiveMessage")],
        [statement(Resource=f"{ARN}-2")],
        [statement(Condition={"ArnEquals": {"aws:SourceArn": "arn:aws:s3:::another"}})],
        [statement(Condition={"StringEquals": {"aws:SourceAccount": "000000000000"}})],
        [statement(Condition={"StringEquals": {"aws:PrincipalOrgID": "o-1"}})],
        [statement(Condition={"StringNotEquals": {"aws:SourceAccount": "123456789012"}})],
    ],
)
def test_a_queue_that_would_not_take_the_message_is_refused(server: Server, statements: list[dict[str, Any]]) -> None:
    queue(*statements)
    with pytest.raises(ClientError, match="Unable to validate the following destination") as caught:
        tell()
    assert caught.value.response["Error"]["Code"] == "InvalidArgument"
    assert "QueueConfigurations" not in client("s3").get_bucket_notification_configuration(Bucket=BUCKET)


def test_a_queue_that_is_not_there_is_refused(server: Server) -> None:
    with pytest.raises(ClientError, match=f"{ARN} does not exist"):
        tell()


def test_one_of_several_statements_is_enough(server: Server) -> None:
    anybody = statement(Principal="*", Action=["sqs:Get*", "sqs:Send*"], Condition={})
    queue(statement(Effect="Deny"), anybody)
    tell()
