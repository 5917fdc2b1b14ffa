"""DynamoDB on SQLite: the API's JSON in front of ``dynamodb_reads``, ``_writes`` and ``_definitions``.

moto is not behind it: a request comes from the endpoint's dispatcher straight to :func:`answer`. What an action
doesn't do, a parameter it doesn't know included, is refused by name. It isn't an ``rpc.Service``: items go to the
client as the store has them, unparsed, so an answer is put together from pieces of JSON.
"""

import functools
import json
import logging
import uuid
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import botocore.session
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from local.aws import dynamodb_capacity, dynamodb_definitions, dynamodb_reads, dynamodb_writes, settings
from local.aws.dynamodb_errors import DynamoDBError, ThroughputError, ValidationError, refused
from local.aws.dynamodb_reads import Answer, Request
from local.aws.dynamodb_store import Store

log = logging.getLogger(__name__)

_PREFIX = "com.amazonaws.dynamodb.v20120810#"


@dataclass(frozen=True)
class _Action:
    """One action of the API.

    Attributes:
        carry_out: Does it.
        required: Names of parameters that must be there.
        optional: Names of those that may be.
    """

    carry_out: Callable[[Store, Request], Answer]
    required: frozenset[str]
    optional: frozenset[str]


def _action(carry_out: Callable[[Store, Request], Answer], required: str, optional: str = "") -> _Action:
    return _Action(carry_out, frozenset(required.split()), frozenset(optional.split()))


_PLACEHOLDERS = "ExpressionAttributeNames ExpressionAttributeValues"
_WRITING = (
    f"ConditionExpression {_PLACEHOLDERS} ReturnValues ReturnValuesOnConditionCheckFailure ReturnConsumedCapacity"
)
_LISTING = (
    f"IndexName FilterExpression ProjectionExpression {_PLACEHOLDERS} ConsistentRead ExclusiveStartKey Limit "
    "ReturnConsumedCapacity Select"
)
_ON_ONE_TABLE = {
    "GetItem": _action(
        dynamodb_reads.get_item,
        "TableName Key",
        "ConsistentRead ExpressionAttributeNames ProjectionExpression ReturnConsumedCapacity",
    ),
    "PutItem": _action(dynamodb_writes.put_item, "TableName Item", _WRITING),
    "UpdateItem": _action(dynamodb_writes.update_item, "TableName Key", f"UpdateExpression {_WRITING}"),
    "DeleteItem": _action(dynamodb_writes.delete_item, "TableName Key", _WRITING),
    "Query": _action(dynamodb_reads.query, "TableName", f"KeyConditionExpression ScanIndexForward {_LISTING}"),
    "Scan": _action(dynamodb_reads.scan, "TableName", f"Segment TotalSegments {_LISTING}"),
}
_ON_ITEMS = _ON_ONE_TABLE | {
    "BatchGetItem": _action(dynamodb_reads.batch_get_item, "RequestItems", "ReturnConsumedCapacity"),
    "BatchWriteItem": _action(dynamodb_writes.batch_write_item, "RequestItems", "ReturnConsumedCapacity"),
    "TransactGetItems": _action(dynamodb_reads.transact_get_items, "TransactItems", "ReturnConsumedCapacity"),
    "TransactWriteItems": _action(
        dynamodb_writes.transact_write_items, "TransactItems", "ClientRequestToken ReturnConsumedCapacity"
    ),
}
_ACTIONS = _ON_ITEMS | {
    "CreateTable": _action(
        dynamodb_definitions.create_table,
        "TableName KeySchema AttributeDefinitions",
        "BillingMode DeletionProtectionEnabled GlobalSecondaryIndexes LocalSecondaryIndexes ProvisionedThroughput "
        "SSESpecification StreamSpecification TableClass Tags",
    ),
    "UpdateTable": _action(
        dynamodb_definitions.update_table,
        "TableName",
        "AttributeDefinitions BillingMode DeletionProtectionEnabled GlobalSecondaryIndexUpdates ProvisionedThroughput "
        "SSESpecification StreamSpecification TableClass",
    ),
    "DeleteTable": _action(dynamodb_definitions.delete_table, "TableName"),
    "DescribeTable": _action(dynamodb_definitions.describe_table, "TableName"),
    "ListTables": _action(dynamodb_definitions.list_tables, "", "ExclusiveStartTableName Limit"),
    "UpdateTimeToLive": _action(dynamodb_definitions.update_time_to_live, "TableName TimeToLiveSpecification"),
    "DescribeTimeToLive": _action(dynamodb_definitions.describe_time_to_live, "TableName"),
    "DescribeContinuousBackups": _action(dynamodb_definitions.describe_continuous_backups, "TableName"),
    "TagResource": _action(dynamodb_definitions.tag_resource, "ResourceArn Tags"),
    "UntagResource": _action(dynamodb_definitions.untag_resource, "ResourceArn TagKeys"),
    "ListTagsOfResource": _action(dynamodb_definitions.list_tags_of_resource, "ResourceArn"),
}
_LEGACY = {
    "AttributesToGet": "use ProjectionExpression",
    "AttributeUpdates": "use UpdateExpression",
    "ConditionalOperator": "use an expression",
    "Expected": "use ConditionExpression",
    "KeyConditions": "use KeyConditionExpression",
    "QueryFilter": "use FilterExpression",
    "ScanFilter": "use FilterExpression",
}

_store: Store | None = None


def plug() -> None:
    """Open the tables in the state of the current settings."""
    global _store
    stop()
    _store = Store(settings.current().state / "dynamodb" / "tables.sqlite")


def stop() -> None:
    """Close the tables; they stay."""
    global _store
    if _store is not None:
        _store.close()
        _store = None


def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer one request to DynamoDB."""
    action = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
    try:
        status, body = "200 OK", _json(_answer(action, environ["wsgi.input"].read()))
    except DynamoDBError as error:
        status, body = "400 Bad Request", _error(error.code, error.message, error.members)
    except Exception as error:
        log.exception("DynamoDB %s", action)
        status, body = (
            "500 Internal Server Error",
            _error("InternalServerError", f"{type(error).__name__}: {error}", {}),
        )
    headers = {
        "Content-Type": "application/x-amz-json-1.0",
        "Content-Length": str(len(body)),
        "x-amzn-RequestId": uuid.uuid4().hex.upper(),
        "x-amz-crc32": str(zlib.crc32(body)),
    }
    start_response(status, list(headers.items()))
    return [body]


def _answer(name: str, body: bytes) -> Answer:
    if _store is None:
        raise RuntimeError("DynamoDB is not plugged in: call local.aws.dynamodb.plug() first")
    action = _ACTIONS.get(name)
    if action is None:
        raise refused(name or "requests without the header X-Amz-Target")
    try:
        request = json.loads(body)
    except ValueError as error:
        raise DynamoDBError("SerializationException", f"The body is not JSON: {error}") from error
    if not isinstance(request, dict):
        raise DynamoDBError("SerializationException", "The body is not a structure")
    _check(name, action, request)
    try:
        if name in _ON_ONE_TABLE and dynamodb_capacity.throttles(_store.table(request["TableName"])):
            raise ThroughputError
        return action.carry_out(_store, request)
    except (AttributeError, KeyError, TypeError, ValueError):
        _check_structure(name, request)
        raise


def _check(name: str, action: _Action, request: Request) -> None:
    missing = action.required - request.keys()
    if missing:
        raise ValidationError(f"{name} misses the parameter {', '.join(sorted(missing))}")
    for parameter in request.keys() - action.required - action.optional:
        raise refused(f"the parameter {parameter} of {name}", _LEGACY.get(parameter, ""))
    if name not in _ON_ITEMS:
        _check_structure(name, request)


def _check_structure(name: str, request: Request) -> None:
    """Compare a request with the API's model; for items that would take longer than what they ask for."""
    shape = _model().operation_model(name).input_shape
    if shape is not None and (report := ParamValidator().validate(request, shape)).has_errors():
        raise ValidationError(report.generate_report())


@functools.cache
def _model() -> ServiceModel:
    return botocore.session.get_session().get_service_model("dynamodb")


def _error(code: str, message: str, members: dict[str, Any]) -> bytes:
    # Cancelled transactions alone have a capital M; SDKs read both.
    name = "Message" if "CancellationReasons" in members else "message"
    return _json({"__type": _PREFIX + code, name: message, **members})


def _json(value: Any) -> bytes:
    """JSON of a value in which bytes are JSON already."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, dict):
        return b"{%b}" % b",".join(json.dumps(key).encode() + b":" + _json(part) for key, part in value.items())
    if isinstance(value, list):
        return b"[%b]" % b",".join(map(_json, value))
    return json.dumps(value).encode()
