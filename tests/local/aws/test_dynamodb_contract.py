"""The local DynamoDB beside plain moto: the same calls, the same answers and errors, wherever moto is right.

Where moto differs from AWS (numbers that aren't normalised, ``UPDATED_NEW``, null that equals a missing attribute,
types that differ …) the behaviour is tested in ``test_dynamodb.py``.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

from local.aws.server import Server
from local.aws.settings import REGION, Settings, client

Call = tuple[str, dict[str, Any]]

_names = (f"contract-{number}" for number in itertools.count())
_UNCHECKED = ("ResponseMetadata", "ConsumedCapacity", "ConsumedCapacityUnits", "ItemCollectionMetrics")


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    server = Server(Settings(tmp_path_factory.mktemp("state"), 0)).start()
    yield client("dynamodb")
    server.stop()


@pytest.fixture(scope="module")
def motos(ours: Any) -> Iterator[Any]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield boto3.client(
        "dynamodb",
        endpoint_url=f"http://{host}:{port}",
        region_name=REGION,
        aws_access_key_id="local",
        aws_secret_access_key="local",
        config=Config(retries={"total_max_attempts": 1}),
    )
    server.stop()


@pytest.fixture(scope="module")
def shared(ours: Any, motos: Any) -> str:
    action, parameters = table("shared")
    for dynamodb in (ours, motos):
        getattr(dynamodb, action)(**parameters)
    return "shared"


def s(text: str) -> dict[str, str]:
    return {"S": text}


def n(number: int) -> dict[str, str]:
    return {"N": str(number)}


ITEM = {
    "pk": s("p"),
    "sk": n(1),
    "word": s("hello"),
    "count": n(5),
    "data": {"B": b"\x00\x01\x02"},
    "yes": {"BOOL": True},
    "nothing": {"NULL": True},
    "words": {"SS": ["a", "b", "c"]},
    "numbers": {"NS": ["1", "2", "3"]},
    "listed": {"L": [s("x"), n(2), {"M": {"deep": s("down")}}]},
    "mapped": {"M": {"a": s("b"), "list": {"L": [n(1), n(2), n(3)]}, "below": {"M": {"c": n(7)}}}},
}
KEY = {"pk": s("p"), "sk": n(1)}


def table(name: str) -> Call:
    attributes = {"pk": "S", "sk": "N", "group": "S", "rank": "N"}
    return "create_table", {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            {"AttributeName": attribute, "AttributeType": kind} for attribute, kind in attributes.items()
        ],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        "GlobalSecondaryIndexes": [
            {
                "IndexName": "by-group",
                "KeySchema": [
                    {"AttributeName": "group", "KeyType": "HASH"},
                    {"AttributeName": "rank", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["word"]},
            }
        ],
        "LocalSecondaryIndexes": [
            {
                "IndexName": "by-rank",
                "KeySchema": [
                    {"AttributeName": "pk", "KeyType": "HASH"},
                    {"AttributeName": "rank", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    }


def outcome(dynamodb: Any, action: str, parameters: dict[str, Any]) -> Any:
    try:
        answer = getattr(dynamodb, action)(**parameters)
    except ClientError as error:
        message = error.response["Error"]["Message"].removeprefix("1 validation error detected: ")
        reasons = error.response.get("CancellationReasons", [])
        extra = [error.response.get("Item"), [(one["Code"], one.get("Item")) for one in reasons]]
        return error.response["Error"]["Code"], message, sorted_sets(extra)
    return sorted_sets({name: part for name, part in answer.items() if name not in _UNCHECKED})


def sorted_sets(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: sorted(part) if key in ("SS", "NS", "BS") else sorted_sets(part) for key, part in value.items()}
    return [sorted_sets(part) for part in value] if isinstance(value, list) else value


def compare(ours: Any, motos: Any, calls: list[Call], name: str | None = None) -> list[Any]:
    """Make calls to both, of a new table unless there is a name, and give the answers."""
    results = []
    if name is None:
        name = next(_names)
        calls = [table(name), *calls]
    for action, parameters in calls:
        given = {**parameters}
        if not action.startswith(("batch", "transact")):
            given["TableName"] = name
        given = named(given, name)
        found = [outcome(dynamodb, action, given) for dynamodb in (ours, motos)]
        if action != "create_table":
            assert found[0] == found[1], (action, parameters)
            results.append(found[0])
    return results


def named(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return {(name if key == "TABLE" else key): named(part, name) for key, part in value.items()}
    if isinstance(value, list):
        return [named(part, name) for part in value]
    return name if value == "TABLE" else value


def put(item: dict[str, Any], **more: Any) -> Call:
    return "put_item", {"Item": item, **more}


def get(**more: Any) -> Call:
    return "get_item", {"Key": KEY, **more}


def update(expression: str, **more: Any) -> Call:
    values = {f":{key}": value for key, value in more.pop("values", {}).items()}
    names = {f"#{key}": value for key, value in more.pop("names", {}).items()}
    given = {"ExpressionAttributeValues": values} if values else {}
    given |= {"ExpressionAttributeNames": names} if names else {}
    return "update_item", {"Key": KEY, "UpdateExpression": expression, **given, **more}


VALUES = {
    ":hello": s("hello"),
    ":hell": s("hell"),
    ":ell": s("ell"),
    ":five": n(5),
    ":four": n(4),
    ":six": n(6),
    ":a": s("a"),
    ":yes": {"BOOL": True},
    ":type": s("N"),
    ":words": {"SS": ["c", "b", "a"]},
    ":x": s("x"),
    ":two": n(2),
    ":seven": n(7),
}
CONDITIONS = [
    "word = :hello",
    "word <> :hello",
    "#count = :five AND word = :hello",
    "#count > :five OR word = :hello",
    "NOT #count > :five",
    "NOT (#count = :five AND word = :hello)",
    "#count < :six and #count > :four",
    "#count <= :five AND #count >= :five",
    "#count BETWEEN :four AND :six",
    "#count BETWEEN :six AND :seven",
    "word BETWEEN :hell AND :hello AND #count = :five",
    "#count IN (:four, :five)",
    "#count IN (:four, :six)",
    "attribute_exists(word)",
    "attribute_not_exists(word)",
    "attribute_exists(mapped.below.c)",
    "attribute_exists(mapped.below.d)",
    "attribute_not_exists(absent)",
    "attribute_type(#count, :type)",
    "attribute_type(word, :type)",
    "begins_with(word, :hell)",
    "begins_with(word, :ell)",
    "contains(word, :ell)",
    "contains(words, :a)",
    "contains(words, :x)",
    "contains(numbers, :two)",
    "contains(listed, :x)",
    "contains(listed, :two)",
    "size(word) = :five",
    "size(words) < :four",
    "size(mapped.#list) <= :two",
    "mapped.below.c = :seven",
    "listed[1] = :two",
    "listed[0] = :x AND listed[2].deep <> :x",
    "yes = :yes",
    "words = :words",
    "word = :hello AND #count = :six OR attribute_exists(pk)",
    "word = :hello AND (#count = :six OR attribute_not_exists(pk))",
    "absent = :hello",
    "absent < :five",
    "NOT attribute_exists(absent) AND NOT word = :ell",
]


@pytest.mark.parametrize("expression", CONDITIONS)
def test_conditions_and_filters(ours: Any, motos: Any, shared: str, expression: str) -> None:
    values = {name: value for name, value in VALUES.items() if name in tokens(expression)}
    names = {"#count": "count"} if "#count" in expression else {}
    names |= {"#list": "list"} if "#list" in expression else {}
    given: dict[str, Any] = {"ExpressionAttributeValues": values} if values else {}
    given |= {"ExpressionAttributeNames": names} if names else {}
    conditional, filtered = {**given, "ConditionExpression": expression}, {**given, "FilterExpression": expression}
    compare(
        ours,
        motos,
        [
            put(ITEM),
            ("scan", filtered),
            put({**KEY, "new": s("x")}, **conditional, ReturnValuesOnConditionCheckFailure="ALL_OLD"),
            put(ITEM),
            ("delete_item", {"Key": KEY, **conditional, "ReturnValues": "ALL_OLD"}),
        ],
        shared,
    )


def tokens(expression: str) -> set[str]:
    for mark in "(),":
        expression = expression.replace(mark, " ")
    return set(expression.split())


UPDATES = [
    update("SET word = :v", values={"v": s("bye")}),
    update("SET #c = #c + :v", names={"c": "count"}, values={"v": n(3)}),
    update("SET #c = #c - :v, word = :w", names={"c": "count"}, values={"v": n(3), "w": s("w")}),
    update("SET fresh = if_not_exists(fresh, :v)", values={"v": n(3)}),
    update("SET word = if_not_exists(word, :v)", values={"v": n(3)}),
    update("SET version = if_not_exists(version, :zero) + :one", values={"zero": n(0), "one": n(1)}),
    update("SET listed = list_append(listed, :v)", values={"v": {"L": [s("y")]}}),
    update("SET listed = list_append(:v, listed)", values={"v": {"L": [s("y")]}}),
    update("SET fresh = list_append(if_not_exists(fresh, :none), :v)", values={"none": {"L": []}, "v": {"L": [n(1)]}}),
    update("SET listed[0] = :v", values={"v": s("y")}),
    update("SET listed[9] = :v", values={"v": s("y")}),
    update("SET mapped.below.c = :v, mapped.a = word", values={"v": n(8)}),
    update("SET mapped.below.e = mapped.below.c"),
    update("REMOVE word, mapped.below.c"),
    update("REMOVE listed[0], listed[1]"),
    update("REMOVE mapped.#l[1], absent", names={"l": "list"}),
    update("ADD #c :v", names={"c": "count"}, values={"v": n(-10)}),
    update("ADD fresh :v", values={"v": n(1)}),
    update("ADD words :v", values={"v": {"SS": ["d", "a"]}}),
    update("ADD freshset :v", values={"v": {"NS": ["4"]}}),
    update("DELETE words :v", values={"v": {"SS": ["a", "z"]}}),
    update("DELETE words :v", values={"v": {"SS": ["a", "b", "c"]}}),
    update("SET word = :v REMOVE yes ADD #c :one DELETE numbers :two",
           names={"c": "count"}, values={"v": s("w"), "one": n(1), "two": {"NS": ["2"]}}),
    update("SET word=:v", values={"v": s("w")}, ConditionExpression="attribute_exists(word)"),
    update("SET word = :v", values={"v": s("w")}, ConditionExpression="attribute_not_exists(word)",
           ReturnValuesOnConditionCheckFailure="ALL_OLD"),
    # errors
    update("SET pk = :v", values={"v": s("q")}),
    update("SET word = absent"),
    update("SET absent.deep = :v", values={"v": s("q")}),
    update("ADD word :v", values={"v": n(1)}),
    update("DELETE words :v", values={"v": {"NS": ["1"]}}),
    update("SET word = :absent, yes = :v", values={"v": n(1)}),
    update("SET name = :v", values={"v": n(1)}),
    update("SET word = :v, word = :w", values={"v": n(1), "w": n(2)}),
    update("SET word = :v SET yes = :v", values={"v": n(1)}),
    update(" "),
    update("SET word = :v", values={"v": n(1), "w": n(2)}),
    update("SET word = :v", values={"v": n(1)}, names={"unused": "x"}),
    update("SET word = :v", values={"v": n(1)}, ReturnValues="ALL_OLD"),
    update("SET word = :v", values={"v": n(1)}, ReturnValues="ALL_NEW"),
    update("SET word = :v", values={"v": n(1)}, ReturnValues="UPDATED_OLD"),
    update("SET word = :v", values={"v": n(1)}, ReturnValues="UPDATED_NEW"),
]  # fmt: skip


@pytest.mark.parametrize("call", UPDATES, ids=[call[1]["UpdateExpression"] for call in UPDATES])
def test_updates(ours: Any, motos: Any, shared: str, call: Call) -> None:
    compare(ours, motos, [put(ITEM), call, get()], shared)


def test_an_update_makes_an_item(ours: Any, motos: Any) -> None:
    results = compare(ours, motos, [update("SET word = :v ADD hits :one", values={"v": s("w"), "one": n(1)}), get()])
    assert results[-1] == {"Item": {**KEY, "word": s("w"), "hits": n(1)}}


def test_items_by_key(ours: Any, motos: Any) -> None:
    other = {"pk": s("p"), "sk": n(2)}
    compare(
        ours,
        motos,
        [
            get(),
            put(ITEM),
            put(ITEM, ReturnValues="ALL_OLD"),
            put({**KEY, "word": s("new")}, ReturnValues="ALL_OLD"),
            get(ConsistentRead=True),
            put(ITEM),
            get(ProjectionExpression="word, mapped.below, listed[1]"),
            get(ProjectionExpression="#c", ExpressionAttributeNames={"#c": "count"}),
            get(ProjectionExpression="absent"),
            ("delete_item", {"Key": KEY, "ReturnValues": "ALL_OLD"}),
            ("delete_item", {"Key": KEY, "ReturnValues": "ALL_OLD"}),
            get(),
            # errors
            ("get_item", {"Key": {"pk": s(""), "sk": n(1)}}),
            put({"pk": s("p")}),
            put({"sk": n(1)}),
            put({"pk": n(1), "sk": n(1)}),
            put({"pk": s("p"), "sk": s("1")}),
            put({**other, "empty": {"NS": []}}),
            put(other, ReturnValues="ALL_NEW"),
            put({**other, "large": s("x" * 420_000)}),
            put(ITEM, ExpressionAttributeNames={"#unused": "x"}, ConditionExpression="attribute_exists(pk)"),
            get(ProjectionExpression="word, word"),
        ],
    )


def rows() -> list[Call]:
    return [
        put({
            "pk": s("p" if number < 12 else "q"),
            "sk": n(number * 3 - 12),
            "word": s(f"w{number:02d}"),
            "extra": n(number),
            **({"group": s("even" if number % 2 == 0 else "odd"), "rank": n(-number)} if number % 5 else {}),
        })
        for number in range(16)
    ]  # fmt: skip


def query(condition: str, **more: Any) -> Call:
    values = {":p": s("p"), ":q": s("nobody"), ":e": s("even"), ":low": n(-6), ":high": n(9), ":zero": n(0)}
    values |= more.pop("values", {})
    used = tokens(f"{condition} {more.get('FilterExpression', '')}")
    return "query", {
        "KeyConditionExpression": condition,
        "ExpressionAttributeValues": {name: value for name, value in values.items() if name in used},
        **more,
    }


GROUP = {"ExpressionAttributeNames": {"#g": "group"}, "IndexName": "by-group"}
QUERIES = [
    query("pk = :p"),
    query("pk = :q"),
    query("pk = :p", ScanIndexForward=False),
    query("pk = :p AND sk = :zero"),
    query("pk = :p AND sk < :zero"),
    query("pk = :p AND sk <= :zero"),
    query("pk = :p AND sk > :zero"),
    query("pk = :p AND sk >= :zero", ScanIndexForward=False),
    query("pk = :p AND sk BETWEEN :low AND :high"),
    query("(pk = :p) AND (sk BETWEEN :low AND :high)"),
    query("pk = :p", FilterExpression="extra > :zero AND word <> :w", values={":w": s("w03")}),
    query("pk = :p", ProjectionExpression="word, extra"),
    query("pk = :p", Select="COUNT"),
    query("pk = :p", Limit=5),
    query("pk = :p", Limit=5, ExclusiveStartKey={"pk": s("p"), "sk": n(0)}),
    query("pk = :p", Limit=5, ExclusiveStartKey={"pk": s("p"), "sk": n(0)}, ScanIndexForward=False),
    query("pk = :p", ExclusiveStartKey={"pk": s("p"), "sk": n(1000)}),
    query("#g = :e", **GROUP),
    query("#g = :e", **GROUP, ScanIndexForward=False),
    query("#g = :e AND #r < :low", IndexName="by-group", ExpressionAttributeNames={"#g": "group", "#r": "rank"}),
    query("#g = :e", **GROUP, Limit=2),
    query("pk = :p", IndexName="by-rank"),
    query("pk = :p AND #r > :low", IndexName="by-rank", ExpressionAttributeNames={"#r": "rank"}),
    # errors
    query("sk = :zero"),
    query("pk > :p"),
    query("pk = :p AND word = :q"),
    query("pk = :p", Select="SPECIFIC_ATTRIBUTES"),
    query("#g = :e", **GROUP, Select="ALL_ATTRIBUTES"),
]  # fmt: skip


def test_queries(ours: Any, motos: Any) -> None:
    results = compare(ours, motos, [*rows(), *QUERIES])[16:]
    assert results[0]["Count"] == 12
    assert results[2]["Items"] == results[0]["Items"][::-1]


def test_pages_of_a_query(ours: Any, motos: Any) -> None:
    for forward, index in itertools.product((True, False), (None, "by-rank")):
        parameters = {
            **query("pk = :p")[1],
            "ScanIndexForward": forward,
            "Limit": 5,
            **({"IndexName": index} if index else {}),
        }
        compare_pages = [
            compare_all_pages(dynamodb, parameters)
            for dynamodb in (ours, motos)
        ]  # fmt: skip
        assert compare_pages[0] == compare_pages[1]
        assert len(compare_pages[0]) == (9 if index else 12)


def compare_all_pages(dynamodb: Any, parameters: dict[str, Any]) -> list[Any]:
    name = next(_names)
    dynamodb.create_table(**{**table(name)[1], "TableName": name})
    for _, item in rows():
        dynamodb.put_item(TableName=name, **item)
    pages = dynamodb.get_paginator("query").paginate(TableName=name, **parameters)
    return [item for page in pages for item in page["Items"]]


def test_batches(ours: Any, motos: Any) -> None:
    keys = [{"pk": s("p"), "sk": n(number)} for number in range(3)]
    puts = [{"PutRequest": {"Item": {**key, "word": s("w")}}} for key in keys]
    compare(
        ours,
        motos,
        [
            ("batch_write_item", {"RequestItems": {"TABLE": puts}}),
            ("batch_write_item", {"RequestItems": {"TABLE": [{"DeleteRequest": {"Key": keys[0]}}]}}),
            ("batch_get_item", {"RequestItems": {"TABLE": {"Keys": keys}}}),
            ("batch_get_item", {"RequestItems": {"TABLE": {"Keys": keys, "ProjectionExpression": "word"}}}),
            ("batch_write_item", {"RequestItems": {"TABLE": [puts[0], puts[0]]}}),
            ("batch_get_item", {"RequestItems": {"TABLE": {"Keys": [keys[0], keys[0]]}}}),
        ],
    )


def test_transactions(ours: Any, motos: Any) -> None:
    other = {"pk": s("p"), "sk": n(2)}
    fails = {"ConditionExpression": "attribute_not_exists(pk)", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    write = {"Put": {"TableName": "TABLE", "Item": {**other, "word": s("w")}}}
    raised = {
        "Update": {
            "TableName": "TABLE",
            "Key": KEY,
            "UpdateExpression": "SET extra = :v",
            "ExpressionAttributeValues": {":v": n(1)},
        }
    }
    compare(
        ours,
        motos,
        [
            put(ITEM),
            ("transact_write_items", {"TransactItems": [write, raised]}),
            get(),
            ("transact_get_items", {"TransactItems": [
                {"Get": {"TableName": "TABLE", "Key": key}} for key in (KEY, other, {"pk": s("no"), "sk": n(0)})
            ]}),
            ("transact_write_items", {"TransactItems": [
                {"Delete": {"TableName": "TABLE", "Key": other}},
                {"ConditionCheck": {"TableName": "TABLE", "Key": KEY, **fails}},
            ]}),
            ("get_item", {"Key": other}),
            ("transact_write_items", {"TransactItems": [write, {"Delete": {"TableName": "TABLE", "Key": other}}]}),
        ],
    )  # fmt: skip
