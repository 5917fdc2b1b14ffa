"""CreateTable, UpdateTable, DeleteTable and what else is about tables, not items."""

import copy
import re
import time
import uuid
from typing import Any

from local.aws.dynamodb_errors import DynamoDBError, InvalidValuesError, ValidationError, not_found, refused
from local.aws.dynamodb_reads import Answer, Request
from local.aws.dynamodb_store import Store
from local.aws.dynamodb_tables import THROTTLED_SHARE, Definition, Table, check

_NAME = re.compile(r"[a-zA-Z0-9_.-]{3,255}")
_PAGE = 100
_KEPT = (
    "TableName",
    "AttributeDefinitions",
    "KeySchema",
    "GlobalSecondaryIndexes",
    "LocalSecondaryIndexes",
    "ProvisionedThroughput",
    "DeletionProtectionEnabled",
    "SSESpecification",
    "TableClass",
)
_UPDATABLE = ("ProvisionedThroughput", "DeletionProtectionEnabled", "SSESpecification", "TableClass")


def create_table(store: Store, request: Request) -> Answer:
    """Make a table, at once ready."""
    name = request["TableName"]
    if not _NAME.fullmatch(name):
        raise ValidationError(f"TableName {name} must be 3 to 255 long, of a-z, A-Z, 0-9, '_', '-' and '.'")
    _refuse_stream(request)
    check(request)
    tags = _checked_tags({tag["Key"]: tag["Value"] for tag in request.get("Tags", [])})
    definition: Definition = {
        **{key: copy.deepcopy(request[key]) for key in _KEPT if key in request},
        "BillingMode": request.get("BillingMode", "PROVISIONED"),
        "Tags": tags,
        "TableId": str(uuid.uuid4()),
        "CreationDateTime": round(time.time(), 3),
    }
    with store.alone():
        if name in store.names():
            raise DynamoDBError("ResourceInUseException", f"Table already exists: {name}")
        return {"TableDescription": _described(store, store.create(definition))}


def delete_table(store: Store, request: Request) -> Answer:
    """Remove a table with its items."""
    with store.alone():
        table = store.table(request["TableName"])
        if table.definition.get("DeletionProtectionEnabled"):
            raise ValidationError(
                "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection "
                f"first: UpdateTable of {table.name} with DeletionProtectionEnabled=false"
            )
        described = _described(store, table)
        store.drop(table)
    return {"TableDescription": {**described, "TableStatus": "DELETING"}}


def describe_table(store: Store, request: Request) -> Answer:
    """What a table is, and how much is in it."""
    return {"Table": _described(store, store.table(request["TableName"]))}


def list_tables(store: Store, request: Request) -> Answer:
    """Names of tables, in pages."""
    after, limit = request.get("ExclusiveStartTableName", ""), request.get("Limit", _PAGE)
    names = [name for name in store.names() if name > after]
    if len(names) <= limit:
        return {"TableNames": names}
    return {"TableNames": names[:limit], "LastEvaluatedTableName": names[limit - 1]}


def update_table(store: Store, request: Request) -> Answer:
    """Change what can be changed of a table: throughput, protection, class, and which global indexes it has."""
    _refuse_stream(request)
    with store.alone():
        table = store.table(request["TableName"])
        definition = copy.deepcopy(table.definition)
        definition |= {key: request[key] for key in _UPDATABLE if key in request}
        if "BillingMode" in request:
            definition["BillingMode"] = request["BillingMode"]
            if request["BillingMode"] == "PAY_PER_REQUEST" and "ProvisionedThroughput" not in request:
                definition.pop("ProvisionedThroughput", None)
        for update in request.get("GlobalSecondaryIndexUpdates", []):
            _update_index(definition, update)
        _redefine_attributes(definition, request.get("AttributeDefinitions", []))
        check({key: part for key, part in definition.items() if part != []})
        return {"TableDescription": _described(store, store.change(table, definition))}


def update_time_to_live(store: Store, request: Request) -> Answer:
    """Say which attribute has the time after which items expire."""
    wanted = request["TimeToLiveSpecification"]
    if not wanted.get("AttributeName") or not isinstance(wanted.get("Enabled"), bool):
        raise ValidationError("TimeToLiveSpecification needs AttributeName, not empty, and Enabled, true or false")
    with store.alone():
        table = store.table(request["TableName"])
        current = table.definition.get("TimeToLive", {})
        if bool(current.get("Enabled")) == wanted["Enabled"]:
            raise ValidationError(f"TimeToLive is already {'enabled' if wanted['Enabled'] else 'disabled'}")
        if current and current["AttributeName"] != wanted["AttributeName"] and not wanted["Enabled"]:
            raise ValidationError(
                f"TimeToLive is active on a different AttributeName: current AttributeName is "
                f"{current['AttributeName']}"
            )
        store.change(table, {**copy.deepcopy(table.definition), "TimeToLive": wanted})
    return {"TimeToLiveSpecification": wanted}


def describe_time_to_live(store: Store, request: Request) -> Answer:
    """Which attribute that is."""
    attribute = store.table(request["TableName"]).expiry_attribute
    if attribute is None:
        return {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}
    return {"TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED", "AttributeName": attribute}}


def tag_resource(store: Store, request: Request) -> Answer:
    """Add or replace tags."""
    with store.alone():
        table = store.table(request["ResourceArn"])
        tags = {**table.definition["Tags"], **{tag["Key"]: tag["Value"] for tag in request["Tags"]}}
        store.change(table, {**table.definition, "Tags": _checked_tags(tags)})
    return {}


def untag_resource(store: Store, request: Request) -> Answer:
    """Take tags away."""
    with store.alone():
        table = store.table(request["ResourceArn"])
        tags = {key: value for key, value in table.definition["Tags"].items() if key not in request["TagKeys"]}
        store.change(table, {**table.definition, "Tags": tags})
    return {}


def list_tags_of_resource(store: Store, request: Request) -> Answer:
    """All tags of a table."""
    tags = store.table(request["ResourceArn"]).definition["Tags"]
    return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}


def describe_continuous_backups(store: Store, request: Request) -> Answer:
    """That there are none: point-in-time recovery is not done here."""
    store.table(request["TableName"])
    return {
        "ContinuousBackupsDescription": {
            "ContinuousBackupsStatus": "DISABLED",
            "PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "DISABLED"},
        }
    }


def _described(store: Store, table: Table) -> dict[str, Any]:
    return table.describe(*store.measure(table))


def _refuse_stream(request: Request) -> None:
    if request.get("StreamSpecification", {}).get("StreamEnabled"):
        raise refused("StreamSpecification", "tables have no change streams, leave it out")


def _checked_tags(tags: dict[str, str]) -> dict[str, str]:
    share = tags.get(THROTTLED_SHARE, "0")
    if not re.fullmatch(r"0|1|0?\.\d+|[01]\.0*", share):
        raise InvalidValuesError(f"The tag {THROTTLED_SHARE} is {share!r}: it must be a number from 0 to 1")
    return tags


def _update_index(definition: Definition, update: dict[str, Any]) -> None:
    ((action, wanted),) = update.items()
    indexes = definition.setdefault("GlobalSecondaryIndexes", [])
    known = {index["IndexName"]: index for index in indexes}
    name = wanted["IndexName"]
    if action == "Create":
        if name in known:
            raise InvalidValuesError(f"Attempting to create an index which already exists: {name}")
        indexes.append({key: part for key, part in wanted.items() if key != "Number"})
    elif name not in known:
        raise not_found(f"{definition['TableName']}, index {name}")
    elif action == "Delete":
        indexes.remove(known[name])
    elif action == "Update":
        known[name]["ProvisionedThroughput"] = wanted["ProvisionedThroughput"]
    else:
        raise refused(f"GlobalSecondaryIndexUpdates {action}")


def _redefine_attributes(definition: Definition, given: list[dict[str, str]]) -> None:
    """Add the attributes that new indexes need, and forget those that no index needs any more."""
    kinds = {
        attribute["AttributeName"]: attribute["AttributeType"]
        for attribute in [*definition["AttributeDefinitions"], *given]
    }
    for attribute in definition["AttributeDefinitions"]:
        if kinds[attribute["AttributeName"]] != attribute["AttributeType"]:
            raise InvalidValuesError(f"The type of the key attribute {attribute['AttributeName']} can't be changed")
    indexes = [*definition.get("GlobalSecondaryIndexes", []), *definition.get("LocalSecondaryIndexes", [])]
    used = {key["AttributeName"] for part in (definition, *indexes) for key in part["KeySchema"]}
    definition["AttributeDefinitions"] = [
        {"AttributeName": name, "AttributeType": kind} for name, kind in kinds.items() if name in used
    ]
