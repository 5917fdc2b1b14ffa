"""CloudFormation's ``AWS::DynamoDB::Table`` through DynamoDB's API.

Tables outlive the process, stacks do not: a table of an earlier run is taken over with its items.
"""

from typing import Any

from botocore.exceptions import ClientError

from local.aws import undoing
from local.aws.settings import client

ATTRIBUTES = ("Arn",)

_DEFINITION = ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "LocalSecondaryIndexes")


def create(name: str, properties: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """Create a table, or take over the one of an earlier run.

    Args:
        name: Of the table.
        properties: As the template has them.

    Returns:
        The physical id and the attributes of ``Fn::GetAtt``.

    Raises:
        ClientError: DynamoDB refuses a property, or the table is there with other keys or indexes.
    """
    dynamodb = client("dynamodb")
    request = _typed({**properties, "TableName": name})
    ttl = request.pop("TimeToLiveSpecification", None)
    if "SSESpecification" in request:
        sse = request["SSESpecification"]
        request["SSESpecification"] = {"Enabled": sse.pop("SSEEnabled"), **sse}
    recovery = request.pop("PointInTimeRecoverySpecification", {})
    if recovery.get("PointInTimeRecoveryEnabled"):
        dynamodb.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=recovery)
    try:
        table = dynamodb.create_table(**request)["TableDescription"]
    except dynamodb.exceptions.ResourceInUseException:
        table = _take_over(name, request)
    if ttl:
        _set_ttl(name, ttl)
    return name, {"Arn": table["TableArn"]}


def remove(name: str) -> None:
    """Delete a table; but one that was taken over outlives a deployment that failed."""
    if not undoing.keeps("table", name):
        client("dynamodb").delete_table(TableName=name)


def _take_over(name: str, request: dict[str, Any]) -> dict[str, Any]:
    dynamodb = client("dynamodb")
    table: dict[str, Any] = dynamodb.describe_table(TableName=name)["Table"]
    undoing.take_over("table", name)
    changed = [part for part in _DEFINITION if _comparable(request.get(part)) != _comparable(table.get(part))]
    if changed:
        message = (
            f"the table {name} of an earlier run has another {' and '.join(changed)}: delete it (aws dynamodb "
            f"delete-table --table-name {name}), which loses its items, or give the new one another name"
        )
        raise ClientError({"Error": {"Code": "ResourceInUseException", "Message": message}}, "CreateTable")
    dynamodb.update_table(
        TableName=name,
        BillingMode=request.get("BillingMode", "PROVISIONED"),
        DeletionProtectionEnabled=request.get("DeletionProtectionEnabled", False),
        **{part: request[part] for part in ("ProvisionedThroughput", "SSESpecification") if part in request},
    )
    if tags := request.get("Tags"):
        dynamodb.tag_resource(ResourceArn=table["TableArn"], Tags=tags)
    return table


def _set_ttl(name: str, wanted: dict[str, Any]) -> None:
    dynamodb = client("dynamodb")
    current = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    enabled = current["TimeToLiveStatus"] == "ENABLED"
    if enabled and (not wanted["Enabled"] or current["AttributeName"] != wanted["AttributeName"]):
        off = {"Enabled": False, "AttributeName": current["AttributeName"]}
        dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=off)
        enabled = False
    if wanted["Enabled"] and not enabled:
        dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=wanted)


def _comparable(definitions: list[dict[str, Any]] | None) -> list[str]:
    names = ("AttributeName", "AttributeType", "IndexName", "KeySchema", "KeyType", "Projection")
    return sorted(
        str([(name, _plain(definition[name])) for name in names if name in definition])
        for definition in definitions or []
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return sorted((key, _plain(part)) for key, part in value.items())
    return [_plain(part) for part in value] if isinstance(value, list) else value


def _typed(value: Any, key: str = "") -> Any:
    """The same structure with numbers and booleans as such: in a template they may be text, as references are."""
    if isinstance(value, dict):
        return {name: _typed(part, name) for name, part in value.items()}
    if isinstance(value, list):
        return [_typed(part) for part in value]
    if isinstance(value, str) and key.endswith("CapacityUnits"):
        return int(value)
    return value == "true" if key.endswith("Enabled") and value in ("true", "false") else value
