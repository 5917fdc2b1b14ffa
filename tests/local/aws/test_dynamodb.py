"""The local DynamoDB: limits, types, pages, expiry, throttling and durability."""

import http.client
import itertools
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from boto3.dynamodb.conditions import Attr, Key
from botocore.exceptions import ClientError

from local.aws import dynamodb_definitions, dynamodb_reads
from local.aws.dynamodb_store import Store
from local.aws.dynamodb_tables import THROTTLED_SHARE
from local.aws.server import Server
from local.aws.settings import REGION, Settings, client

HASH = [{"AttributeName": "pk", "KeyType": "HASH"}]
HASH_AND_RANGE = [*HASH, {"AttributeName": "sk", "KeyType": "RANGE"}]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(Settings(tmp_path_factory.mktemp("state"), 0)).start()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def dynamodb(server: Server) -> Any:
    return client("dynamodb")


@pytest.fixture(scope="module")
def resource(server: Server) -> Any:
    return boto3.resource(
        "dynamodb",
        endpoint_url=server.settings.endpoint,
        region_name=REGION,
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )


def definition(name: str, **more: Any) -> dict[str, Any]:
    attributes = [{"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "sk", "AttributeType": "N"}]
    key = more.pop("KeySchema", HASH_AND_RANGE)
    return {
        "TableName": name,
        "KeySchema": key,
        "AttributeDefinitions": attributes[: len(key)] + more.pop("attributes", []),
        "BillingMode": "PAY_PER_REQUEST",
        **more,
    }


@pytest.fixture
def table(resource: Any) -> Iterator[Any]:
    """An empty table with keys ``pk`` (string) and ``sk`` (number)."""
    created = resource.create_table(**definition("lines"))
    yield created
    created.delete()


def failure(message: str) -> Any:
    return pytest.raises(ClientError, match=message)


def post(server: Server, action: str, request: Any) -> dict[str, Any]:
    """Send what boto3 would not."""
    headers = {
        "X-Amz-Target": f"DynamoDB_20120810.{action}",
        "Content-Type": "application/x-amz-json-1.0",
        "Authorization": f"AWS4-HMAC-SHA256 Credential=local/20260301/{REGION}/dynamodb/aws4_request",
    }
    connection = http.client.HTTPConnection(urlsplit(server.settings.endpoint).netloc)
    connection.request("POST", "/", json.dumps(request), headers)
    response = connection.getresponse()
    answer: dict[str, Any] = json.load(response)
    connection.close()
    assert response.status == 400
    return answer


def fill(table: Any, number: int, **more: Any) -> None:
    with table.batch_writer() as batch:
        for at in range(number):
            batch.put_item(Item={"pk": f"p{at % 7}", "sk": at, **more})


def pages(read: Any, **request: Any) -> list[dict[str, Any]]:
    found = [read(**request)]
    while "LastEvaluatedKey" in found[-1]:
        found.append(read(**request, ExclusiveStartKey=found[-1]["LastEvaluatedKey"]))
    return found


def places(found: list[dict[str, Any]]) -> list[int]:
    return [int(item["sk"]) for page in found for item in page["Items"]]


# --------------------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("1.0", "1"),
        ("1E3", "1000"),
        ("-0", "0"),
        ("+007.500", "7.5"),
        (".5", "0.5"),
        ("1e-130", "0." + "0" * 129 + "1"),
        ("9" * 38, "9" * 38),
        ("1E125", "1" + "0" * 125),
    ],
)
def test_numbers_are_exact_and_normalised(dynamodb: Any, table: Any, sent: str, stored: str) -> None:
    key = {"pk": {"S": "p"}, "sk": {"N": sent}}
    dynamodb.put_item(TableName=table.name, Item=key)
    found = dynamodb.get_item(TableName=table.name, Key={"pk": {"S": "p"}, "sk": {"N": stored}})
    assert found["Item"]["sk"] == {"N": stored}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"N": "9" * 39}, "more than 38 significant digits"),
        ({"N": "1E126"}, "Number overflow"),
        ({"N": "1E-131"}, "Number underflow"),
        ({"N": "1E99999999999999999999"}, "Number overflow"),
        ({"N": "abc"}, "cannot be converted to a numeric value: abc"),
        ({"N": "NaN"}, "cannot be converted to a numeric value: NaN"),
        ({"NULL": False}, "must have the value of true"),
        ({"SS": []}, "An string set  may not be empty"),
        ({"SS": ["a", "a"]}, r"Input collection \[a, a\] contains duplicates"),
        ({"NS": ["1", "1.0"]}, "contains duplicates"),
        ({"BS": []}, "Binary sets should not be empty"),
        ({"S": "x", "N": "1"}, "more than one datatypes set"),
        ({}, "AttributeValue is empty"),
    ],
)
def test_values_that_dynamodb_does_not_store(server: Server, table: Any, value: Any, message: str) -> None:
    item = {"pk": {"S": "p"}, "sk": {"N": "1"}, "v": {"L": [value]}}
    answer = post(server, "PutItem", {"TableName": table.name, "Item": item})
    assert answer["__type"] == "com.amazonaws.dynamodb.v20120810#ValidationException"
    assert re.search(message, answer["message"])
    assert table.scan()["Count"] == 0


def test_an_item_has_400_kb_and_32_levels_at_most(table: Any) -> None:
    overhead = len("pk" + "p" + "sk" + "text") + 2
    table.put_item(Item={"pk": "p", "sk": 1, "text": "é" * ((400 * 1024 - overhead) // 2)})
    with failure("ValidationException.*Item size has exceeded the maximum allowed size"):
        table.put_item(Item={"pk": "p", "sk": 1, "text": "é" * ((400 * 1024 - overhead) // 2 + 1)})
    with failure("Item size to update has exceeded the maximum allowed size"):
        table.update_item(
            Key={"pk": "p", "sk": 1}, UpdateExpression="SET more = :m", ExpressionAttributeValues={":m": "x"}
        )
    deep: Any = "bottom"
    for _ in range(32):
        deep = [deep]
    with failure("Nesting Levels have exceeded supported limits"):
        table.put_item(Item={"pk": "p", "sk": 2, "deep": deep})


def test_sets_and_binaries_compare_by_what_they_hold(table: Any) -> None:
    item = {"pk": "p", "sk": 1, "raw": b"\x00\xfe\xff", "blobs": {b"b", b"a"}, "nothing": None}
    table.put_item(Item=item)
    assert table.get_item(Key={"pk": "p", "sk": 1})["Item"] == item

    def found(condition: Any) -> int:
        return table.scan(FilterExpression=condition)["Count"]

    assert found(Attr("raw").begins_with(b"\x00\xfe")) == 1
    assert found(Attr("raw").gt(b"\x00\x7f")) == 1  # its Base64 would sort before
    assert found(Attr("blobs").eq({b"a", b"b"})) == 1
    assert found(Attr("blobs").contains(b"a")) == 1
    assert found(Attr("nothing").eq(None)) == 1
    assert found(Attr("absent").eq(None)) == 0
    assert found(Attr("raw").eq("AP7/")) == 0
    assert found(Attr("raw").lt(5)) == 0


# --------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("action", "request_", "message"),
    [
        ("GetItem", {"Key": {"pk": {"S": "p"}}}, "The provided key element does not match the schema"),
        ("PutItem", {"Item": {"pk": {"S": "p"}}}, "Missing the key sk in the item"),
        ("PutItem", {"Item": {"pk": {"S": "x" * 2049}, "sk": {"N": "1"}}}, "Size of hashkey has exceeded"),
        ("Query", {"KeyConditionExpression": "pk = :p"}, "attribute value used in expression is not defined"),
        ("Scan", {"FilterExpression": "status = :s"}, "reserved keyword; reserved keyword: status"),
        ("Scan", {"FilterExpression": "((a = b))"}, "The expression has redundant parentheses"),
        ("Scan", {"FilterExpression": "a = a"}, "first operand must be distinct"),
        ("Scan", {"FilterExpression": "a == b"}, 'Syntax error; token: "=", near: "== b"'),
        ("Scan", {"FilterExpression": "exists(a)"}, "Invalid function name; function: exists"),
        ("Scan", {"FilterExpression": "contains(a)"}, "Incorrect number of operands"),
        ("Scan", {"ProjectionExpression": "a.b, a"}, r"overlap .* path one: \[a, b\], path two: \[a\]"),
        ("Scan", {"ProjectionExpression": "a.b, a[1]"}, "Two document paths conflict"),
        ("Scan", {"Segment": 4, "TotalSegments": 4}, "must be less than parameter TotalSegments"),
        ("Scan", {"Limit": 0}, "greater than or equal to 1"),
        ("Scan", {"Limit": "many"}, "Limit"),
        ("Scan", {"IndexName": "none"}, "does not have the specified index: none"),
        ("Scan", {"AttributesToGet": ["a"]}, "AttributesToGet of Scan: use ProjectionExpression"),
        ("Scan", {"Colour": "red"}, "does not do the parameter Colour of Scan"),
        ("PutItem", {}, "PutItem misses the parameter Item"),
        ("ExecuteStatement", {"Statement": "SELECT 1"}, "does not do ExecuteStatement"),
        ("UpdateItem", {"Key": {"pk": {"S": "p"}, "sk": {"N": "1"}}, "UpdateExpression": "SET a = :v + b",
                        "ExpressionAttributeValues": {":v": {"S": "x"}}}, "Incorrect operand type.*operand type: S"),
    ],
)  # fmt: skip
def test_requests_that_are_wrong(
    server: Server, table: Any, action: str, request_: dict[str, Any], message: str
) -> None:
    answer = post(server, action, {"TableName": table.name, **request_})
    assert re.search(message, answer["message"])


def test_a_table_that_does_not_exist(server: Server, dynamodb: Any) -> None:
    for call in (dynamodb.scan, dynamodb.describe_table, dynamodb.delete_table):
        with pytest.raises(dynamodb.exceptions.ResourceNotFoundException, match="Table: nobody not found"):
            call(TableName="nobody")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}}, "StreamSpecification"),
        ({"ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}}, "PAY_PER_REQUEST"),
        ({"BillingMode": "PROVISIONED"}, "must both be specified"),
        ({"KeySchema": HASH_AND_RANGE[::-1]}, "one HASH key, then at most one RANGE key"),
        ({"attributes": [{"AttributeName": "x", "AttributeType": "S"}]}, "does not exactly match"),
        ({"Tags": [{"Key": THROTTLED_SHARE, "Value": "2"}]}, f"{THROTTLED_SHARE} is '2'"),
        ({"GlobalTableWitnesses": []}, "does not do the parameter GlobalTableWitnesses"),
    ],
)
def test_tables_that_are_not_made(server: Server, dynamodb: Any, change: dict[str, Any], message: str) -> None:
    assert message in post(server, "CreateTable", definition("never-made", **change))["message"]
    assert "never-made" not in dynamodb.list_tables()["TableNames"]


# -------------------------------------------------------------------------------------------------------------- updates


def test_updated_values_are_those_of_the_paths_that_were_updated(table: Any) -> None:
    key = {"pk": "p", "sk": 1}
    table.put_item(Item={**key, "a": {"b": 1, "c": 2}, "same": 1, "gone": 1})
    request = {
        "Key": key,
        "UpdateExpression": "SET a.b = :two, same = :one REMOVE gone",
        "ExpressionAttributeValues": {":one": 1, ":two": 2},
    }
    assert table.update_item(**request, ReturnValues="UPDATED_NEW")["Attributes"] == {"a": {"b": 2}, "same": 1}
    table.put_item(Item={**key, "a": {"b": 1, "c": 2}, "same": 1, "gone": 1})
    old = table.update_item(**request, ReturnValues="UPDATED_OLD")["Attributes"]
    assert old == {"a": {"b": 1}, "same": 1, "gone": 1}


def test_removing_from_what_is_not_there_makes_no_item(table: Any) -> None:
    table.update_item(Key={"pk": "p", "sk": 1}, UpdateExpression="REMOVE a")
    assert table.scan()["Count"] == 0
    table.update_item(Key={"pk": "p", "sk": 1})
    assert table.scan()["Items"] == [{"pk": "p", "sk": 1}]


def test_an_update_that_fails_changes_nothing(table: Any) -> None:
    key = {"pk": "p", "sk": 1}
    table.put_item(Item={**key, "text": "x", "kept": 1})
    with failure("An operand in the update expression has an incorrect data type"):
        table.update_item(
            Key=key,
            UpdateExpression="SET kept = :n, fresh = #t + :n",
            ExpressionAttributeNames={"#t": "text"},
            ExpressionAttributeValues={":n": 1},
        )
    assert table.get_item(Key=key)["Item"] == {**key, "text": "x", "kept": 1}


# ---------------------------------------------------------------------------------------------------- queries and scans


def test_a_page_has_1_mb_at_most_and_the_pages_have_everything(table: Any) -> None:
    fill(table, 70, text="x" * 100_000)
    queried = pages(table.query, KeyConditionExpression=Key("pk").eq("p3"))
    assert [page["Count"] for page in queried] == [10]
    scanned = pages(table.scan, ReturnConsumedCapacity="TOTAL")
    assert all(page["Count"] <= 10 for page in scanned)
    assert sorted(places(scanned)) == list(range(70))
    assert scanned[0]["ConsumedCapacity"]["CapacityUnits"] == pytest.approx(122, abs=1)
    filtered = pages(table.scan, FilterExpression=Attr("sk").eq(69))
    assert len(filtered) == len(scanned)  # the limit is on what is read, not on what is left
    assert places(filtered) == [69]


def test_a_limit_counts_what_is_read(table: Any) -> None:
    fill(table, 14)
    page = table.query(KeyConditionExpression=Key("pk").eq("p1"), Limit=2)
    assert (places([page]), page["LastEvaluatedKey"]) == ([1, 8], {"pk": "p1", "sk": 8})
    assert table.query(KeyConditionExpression=Key("pk").eq("p1"), ExclusiveStartKey=page["LastEvaluatedKey"]) | {
        "ResponseMetadata": None
    } == {"Items": [], "Count": 0, "ScannedCount": 0, "ResponseMetadata": None}


def test_segments_have_everything_once(table: Any) -> None:
    with table.batch_writer() as batch:
        for at in range(100):
            batch.put_item(Item={"pk": f"p{at}", "sk": at})
    segments = [places(pages(table.scan, Segment=at, TotalSegments=4, Limit=7)) for at in range(4)]
    assert all(len(segment) > 10 for segment in segments)
    assert sorted(itertools.chain(*segments)) == list(range(100))


def test_a_start_that_is_elsewhere_is_refused(table: Any) -> None:
    fill(table, 7)
    with failure("The provided starting key is outside query boundaries"):
        table.query(KeyConditionExpression=Key("pk").eq("p1"), ExclusiveStartKey={"pk": "p2", "sk": 2})
    with failure("does not match the range key predicate"):
        table.query(
            KeyConditionExpression=Key("pk").eq("p1") & Key("sk").lt(5), ExclusiveStartKey={"pk": "p1", "sk": 6}
        )
    with failure("Filter Expression can only contain non-primary key attributes"):
        table.query(KeyConditionExpression=Key("pk").eq("p1"), FilterExpression=Attr("sk").lt(5))


def test_indexes_follow_the_items(resource: Any, dynamodb: Any) -> None:
    attributes = [{"AttributeName": "state", "AttributeType": "S"}]
    key = [{"AttributeName": "state", "KeyType": "HASH"}]
    index = {"IndexName": "by-state", "KeySchema": key, "Projection": {"ProjectionType": "KEYS_ONLY"}}
    table = resource.create_table(**definition("indexed", attributes=attributes, GlobalSecondaryIndexes=[index]))

    def having(state: str) -> list[int]:
        found = pages(table.query, IndexName="by-state", KeyConditionExpression=Key("state").eq(state), Limit=2)
        assert all(set(item) == {"pk", "sk", "state"} for page in found for item in page["Items"])
        return sorted(places(found))

    fill(table, 6, state="new", text="x")
    table.put_item(Item={"pk": "stateless", "sk": 100})
    assert having("new") == [0, 1, 2, 3, 4, 5]
    table.update_item(
        Key={"pk": "p1", "sk": 1},
        UpdateExpression="SET #s = :done",
        ExpressionAttributeNames={"#s": "state"},
        ExpressionAttributeValues={":done": "done"},
    )
    table.delete_item(Key={"pk": "p2", "sk": 2})
    table.update_item(Key={"pk": "p3", "sk": 3}, UpdateExpression="REMOVE #s", ExpressionAttributeNames={"#s": "state"})
    assert (having("new"), having("done")) == ([0, 4, 5], [1])
    assert sorted(places(pages(table.scan, IndexName="by-state"))) == [0, 1, 4, 5]
    with failure("Type mismatch for Index Key state Expected: S Actual: N IndexName: by-state"):
        table.put_item(Item={"pk": "p", "sk": 1, "state": 5})
    with failure("Consistent reads are not supported on global secondary indexes"):
        table.scan(IndexName="by-state", ConsistentRead=True)
    with failure(r"Global secondary index by-state does not project \[text\]"):
        table.scan(IndexName="by-state", ProjectionExpression="pk, #t", ExpressionAttributeNames={"#t": "text"})

    created = {**index, "IndexName": "again", "Projection": {"ProjectionType": "ALL"}}
    dynamodb.update_table(
        TableName="indexed",
        AttributeDefinitions=attributes,
        GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "by-state"}}, {"Create": created}],
    )
    found = table.query(IndexName="again", KeyConditionExpression=Key("state").eq("done"))
    assert found["Items"] == [{"pk": "p1", "sk": 1, "state": "done", "text": "x"}]


# ------------------------------------------------------------------------------------------------ batches, transactions


def test_batches_are_limited(table: Any, dynamodb: Any) -> None:
    requests = [{"PutRequest": {"Item": {"pk": {"S": "p"}, "sk": {"N": str(at)}}}} for at in range(26)]
    with failure("Too many items requested for the BatchWriteItem call"):
        dynamodb.batch_write_item(RequestItems={table.name: requests})
    keys = [{"pk": {"S": "p"}, "sk": {"N": str(at)}} for at in range(101)]
    with failure("Too many items requested for the BatchGetItem call"):
        dynamodb.batch_get_item(RequestItems={table.name: {"Keys": keys}})


def test_a_batch_of_more_than_16_mb_is_read_in_parts(table: Any, resource: Any) -> None:
    fill(table, 50, text="x" * 390_000)
    wanted = {table.name: {"Keys": [{"pk": f"p{at % 7}", "sk": at} for at in range(50)]}}
    found = []
    while wanted:
        answer = resource.batch_get_item(RequestItems=wanted)
        found.append(len(answer["Responses"][table.name]))
        wanted = answer["UnprocessedKeys"]
    assert sum(found) == 50
    assert len(found) == 2


def test_a_transaction_happens_once(table: Any, dynamodb: Any) -> None:
    def add(token: str, amount: int = 1) -> None:
        change = {
            "TableName": table.name,
            "Key": {"pk": {"S": "p"}, "sk": {"N": "1"}},
            "UpdateExpression": "ADD hits :n",
            "ExpressionAttributeValues": {":n": {"N": str(amount)}},
        }
        dynamodb.transact_write_items(TransactItems=[{"Update": change}], ClientRequestToken=token)

    add("first")
    add("first")
    add("second")
    assert table.get_item(Key={"pk": "p", "sk": 1})["Item"]["hits"] == 2
    with failure("IdempotentParameterMismatchException"):
        add("second", 5)


def test_a_transaction_that_does_not_fit_an_item_changes_nothing(table: Any, dynamodb: Any) -> None:
    table.put_item(Item={"pk": "p", "sk": 1, "text": "x"})
    put = {"TableName": table.name, "Item": {"pk": {"S": "p"}, "sk": {"N": "2"}}}
    add = {
        "TableName": table.name,
        "Key": {"pk": {"S": "p"}, "sk": {"N": "1"}},
        "UpdateExpression": "ADD #t :one",
        "ExpressionAttributeNames": {"#t": "text"},
        "ExpressionAttributeValues": {":one": {"N": "1"}},
    }
    with pytest.raises(dynamodb.exceptions.TransactionCanceledException) as caught:
        dynamodb.transact_write_items(TransactItems=[{"Put": put}, {"Update": add}])
    assert [reason["Code"] for reason in caught.value.response["CancellationReasons"]] == ["None", "ValidationError"]
    assert table.scan()["Count"] == 1


# --------------------------------------------------------------------------------------------------- expiry, throttling


def test_expired_items_go_at_the_next_read(resource: Any, dynamodb: Any) -> None:
    table = resource.create_table(**definition("expiring"))
    now = int(time.time())
    for at, expires in enumerate([now - 60, now + 600, now - 6 * 365 * 86400, "never"]):
        table.put_item(Item={"pk": "p", "sk": at, "expires": expires})
    assert table.scan()["Count"] == 4
    specification = {"AttributeName": "expires", "Enabled": True}
    dynamodb.update_time_to_live(TableName="expiring", TimeToLiveSpecification=specification)
    assert dynamodb.describe_time_to_live(TableName="expiring")["TimeToLiveDescription"] == {
        "AttributeName": "expires",
        "TimeToLiveStatus": "ENABLED",
    }
    assert sorted(places([table.scan()])) == [1, 2, 3]
    table.put_item(Item={"pk": "p", "sk": 9, "expires": now - 1})
    assert "Item" not in table.get_item(Key={"pk": "p", "sk": 9})
    with failure("TimeToLive is already enabled"):
        dynamodb.update_time_to_live(TableName="expiring", TimeToLiveSpecification=specification)


def test_a_table_throttles_when_its_tag_says_so(table: Any, dynamodb: Any) -> None:
    arn = dynamodb.describe_table(TableName=table.name)["Table"]["TableArn"]
    dynamodb.tag_resource(ResourceArn=arn, Tags=[{"Key": THROTTLED_SHARE, "Value": "0.5"}])
    throttled, done = 0, []
    for at in range(100):
        try:
            dynamodb.put_item(TableName=table.name, Item={"pk": {"S": "p"}, "sk": {"N": str(at)}})
            done.append(at)
        except dynamodb.exceptions.ProvisionedThroughputExceededException:
            throttled += 1
    assert 30 < throttled < 70
    unprocessed = dynamodb.batch_write_item(
        RequestItems={
            table.name: [{"DeleteRequest": {"Key": {"pk": {"S": "p"}, "sk": {"N": str(at)}}}} for at in done[:25]]
        }
    )["UnprocessedItems"][table.name]
    assert 0 < len(unprocessed) < 25
    dynamodb.untag_resource(ResourceArn=arn, TagKeys=[THROTTLED_SHARE])
    assert table.scan()["Count"] == len(done) - 25 + len(unprocessed)


# ----------------------------------------------------------------------------------------------- - durability


WRITER = """
import sys
import threading
from pathlib import Path
from local.aws import dynamodb, settings
from local.aws.settings import Settings
import io, json
settings.use(Settings(Path(sys.argv[1]), 0))
dynamodb.plug()
number = 0
while True:
    item = {"pk": {"S": "p"}, "sk": {"N": str(number)}, "group": {"S": "g"}}
    body = json.dumps({"TableName": "kept", "Item": item}).encode()
    environ = {"HTTP_X_AMZ_TARGET": "DynamoDB_20120810.PutItem", "wsgi.input": io.BytesIO(body)}
    dynamodb.answer(environ, lambda status, headers: status == "200 OK" or sys.exit(1))
    print(number, flush=True)
    number += 1
"""


def test_an_answered_write_survives_kill_9(tmp_path: Path, server: Server) -> None:
    """A process writes one item after the other, says which were answered, and is killed."""
    index = {
        "IndexName": "by-group",
        "KeySchema": [{"AttributeName": "group", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
    }
    made = definition(
        "kept", attributes=[{"AttributeName": "group", "AttributeType": "S"}], GlobalSecondaryIndexes=[index]
    )
    file = tmp_path / "dynamodb" / "tables.sqlite"
    store = Store(file)
    dynamodb_definitions.create_table(store, made)
    store.close()
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    for line in writer.stdout:
        if int(line) == 200:
            writer.send_signal(signal.SIGKILL)
            break
    answered = [200, *(int(line) for line in writer.stdout if line.endswith("\n"))][-1]
    assert writer.wait() == -signal.SIGKILL
    store = Store(file)
    found = dynamodb_reads.scan(store, {"TableName": "kept"})["Count"]
    assert found in (answered + 1, answered + 2)  # the last one may have been written and not yet told
    assert dynamodb_reads.scan(store, {"TableName": "kept", "IndexName": "by-group"})["Count"] == found
    store.close()


def test_a_protected_table_is_not_deleted(dynamodb: Any) -> None:
    dynamodb.create_table(**definition("protected", DeletionProtectionEnabled=True))
    with failure("protected against deletion"):
        dynamodb.delete_table(TableName="protected")
    dynamodb.update_table(TableName="protected", DeletionProtectionEnabled=False)
    assert dynamodb.delete_table(TableName="protected")["TableDescription"]["TableStatus"] == "DELETING"


def test_writers_at_the_same_time_neither_lose_nor_double(table: Any, dynamodb: Any) -> None:
    """Three writers count by reading a version and writing the next one on the condition that it is still there."""
    key = {"pk": {"S": "p"}, "sk": {"N": "1"}}
    won: list[int] = []

    def write() -> None:
        for _ in range(8):
            while not one_more():
                pass

    def one_more() -> bool:
        found = dynamodb.get_item(TableName=table.name, Key=key, ConsistentRead=True).get("Item", {})
        version = int(found.get("version", {"N": "0"})["N"])
        try:
            dynamodb.put_item(
                TableName=table.name,
                Item={**key, "version": {"N": str(version + 1)}},
                ConditionExpression="version = :v OR attribute_not_exists(pk)",
                ExpressionAttributeValues={":v": {"N": str(version)}},
            )
        except dynamodb.exceptions.ConditionalCheckFailedException:
            return False
        won.append(version + 1)
        return True

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(won) == list(range(1, 25))
