"""What CloudFormation creates of Lambda, SNS and EventBridge."""

import contextlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import ClientError

from local.aws import event_sources, undoing
from local.aws.settings import client

Properties = dict[str, Any]
Created = tuple[str, dict[str, str]]

_NUMBERS = {
    *("BatchSize", "MaximumBatchingWindowInSeconds", "MaximumConcurrency", "MaximumEventAgeInSeconds", "MemorySize"),
    *("MaximumRecordAgeInSeconds", "MaximumRetryAttempts", "ParallelizationFactor", "ReservedConcurrentExecutions"),
    *("Size", "StartingPositionTimestamp", "Timeout", "TumblingWindowInSeconds"),
}
_TRUTHS = {"BisectBatchOnFunctionError", "Enabled"}


def function(name: str, properties: Properties) -> Created:
    """AWS::Lambda::Function."""
    request = _typed(properties)
    code = dict(request.pop("Code"))
    if "ZipFile" in code:
        code["ZipFile"] = _zip_of(code["ZipFile"])
    reserved = request.pop("ReservedConcurrentExecutions", None)
    tags = {tag["Key"]: tag["Value"] for tag in request.pop("Tags", [])}
    created = client("lambda").create_function(**{**request, "FunctionName": name, "Code": code, "Tags": tags})
    if reserved is not None:
        client("lambda").put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=reserved)
    return name, {"Arn": created["FunctionArn"]}


def remove_function(name: str) -> None:
    """AWS::Lambda::Function."""
    client("lambda").delete_function(FunctionName=name)


def mapping(name: str, properties: Properties) -> Created:
    """AWS::Lambda::EventSourceMapping."""
    created = client("lambda").create_event_source_mapping(**_typed(properties))
    return created["UUID"], {"Id": created["UUID"], "EventSourceMappingArn": created["EventSourceMappingArn"]}


def remove_mapping(uuid: str) -> None:
    """Delete a mapping; but when a deployment failed, the next one goes on where the one before was."""
    if undoing.under_way():
        event_sources.detach(uuid)
    else:
        client("lambda").delete_event_source_mapping(UUID=uuid)


def permission(name: str, properties: Properties) -> Created:
    """AWS::Lambda::Permission."""
    client("lambda").add_permission(**properties, StatementId=name)
    return f"{properties['FunctionName']}|{name}", {}


def remove_permission(identifier: str) -> None:
    """AWS::Lambda::Permission; one goes with its function."""
    function_name, _, statement = identifier.partition("|")
    with _gone():
        client("lambda").remove_permission(FunctionName=function_name, StatementId=statement)


def invoke_config(name: str, properties: Properties) -> Created:
    """AWS::Lambda::EventInvokeConfig."""
    request = _typed(properties)
    qualifier = request.pop("Qualifier")
    if qualifier != "$LATEST":
        raise ClientError(
            {"Error": {"Code": "InvalidParameterValueException", "Message": f"Qualifier {qualifier}: only $LATEST is"}},
            "PutFunctionEventInvokeConfig",
        )
    client("lambda").put_function_event_invoke_config(**request)
    return request["FunctionName"], {}


def remove_invoke_config(name: str) -> None:
    """AWS::Lambda::EventInvokeConfig; one goes with its function."""
    with _gone():
        client("lambda").delete_function_event_invoke_config(FunctionName=name)


def rule(name: str, properties: Properties) -> Created:
    """AWS::Events::Rule."""
    events = client("events")
    request = {**properties, "Name": name}
    targets = request.pop("Targets", [])
    if "EventPattern" in request:
        request["EventPattern"] = json.dumps(request["EventPattern"])
    arn = events.put_rule(**request)["RuleArn"]
    bus = {"EventBusName": request["EventBusName"]} if "EventBusName" in request else {}
    if targets:
        try:
            events.put_targets(Rule=name, Targets=[_typed(target) for target in targets], **bus)
        except BaseException:
            events.delete_rule(Name=name, **bus)
            raise
    return "|".join((*bus.values(), name)), {"Arn": arn}


def remove_rule(identifier: str) -> None:
    """AWS::Events::Rule."""
    events = client("events")
    bus, _, name = identifier.rpartition("|")
    where = {"EventBusName": bus} if bus else {}
    targets = events.list_targets_by_rule(Rule=name, **where)["Targets"]
    if targets:
        events.remove_targets(Rule=name, Ids=[target["Id"] for target in targets], **where)
    events.delete_rule(Name=name, **where)


def topic(name: str, properties: Properties) -> Created:
    """AWS::SNS::Topic."""
    sns = client("sns")
    request = dict(properties)
    request.pop("TopicName", None)
    subscriptions, tags = request.pop("Subscription", []), request.pop("Tags", [])
    attributes = {field: _text(value) for field, value in request.items()}
    if others := sorted(attributes.keys() - {"DisplayName", "KmsMasterKeyId", "SignatureVersion"}):
        raise ClientError(
            {"Error": {"Code": "InvalidParameter", "Message": f"the local SNS does not do {', '.join(others)}"}},
            "CreateTopic",
        )
    arn = sns.create_topic(Name=name, Attributes=attributes, Tags=tags)["TopicArn"]
    try:
        for subscribed in subscriptions:
            sns.subscribe(TopicArn=arn, Protocol=subscribed["Protocol"], Endpoint=subscribed["Endpoint"])
    except BaseException:
        sns.delete_topic(TopicArn=arn)
        raise
    return arn, {"TopicArn": arn, "TopicName": name}


def remove_topic(arn: str) -> None:
    """AWS::SNS::Topic."""
    client("sns").delete_topic(TopicArn=arn)


def topic_policy(name: str, properties: Properties) -> Created:
    """AWS::SNS::TopicPolicy."""
    for arn in properties["Topics"]:
        client("sns").set_topic_attributes(
            TopicArn=arn, AttributeName="Policy", AttributeValue=json.dumps(properties["PolicyDocument"])
        )
    return name, {}


def subscription(name: str, properties: Properties) -> Created:
    """AWS::SNS::Subscription."""
    request = {field: properties[field] for field in ("TopicArn", "Protocol", "Endpoint")}
    rest = {field: _text(value) for field, value in properties.items() if field not in request}
    arn = client("sns").subscribe(**request, Attributes=rest, ReturnSubscriptionArn=True)["SubscriptionArn"]
    return arn, {"Arn": arn}


def remove_subscription(arn: str) -> None:
    """AWS::SNS::Subscription."""
    client("sns").unsubscribe(SubscriptionArn=arn)


KINDS: dict[str, tuple[str | None, Callable[[str, Properties], Created], Callable[[str], Any], tuple[str, ...]]] = {
    "AWS::Events::Rule": ("Name", rule, remove_rule, ("Arn",)),
    "AWS::Lambda::EventInvokeConfig": (None, invoke_config, remove_invoke_config, ()),
    "AWS::Lambda::EventSourceMapping": (None, mapping, remove_mapping, ("Id", "EventSourceMappingArn")),
    "AWS::Lambda::Function": ("FunctionName", function, remove_function, ("Arn",)),
    "AWS::Lambda::Permission": (None, permission, remove_permission, ()),
    "AWS::SNS::Subscription": (None, subscription, remove_subscription, ("Arn",)),
    "AWS::SNS::Topic": ("TopicName", topic, remove_topic, ("TopicArn", "TopicName")),
    "AWS::SNS::TopicPolicy": (None, topic_policy, lambda _: None, ()),
}
"""Type to the property with its name, how it is created and removed, and its attributes."""


@contextlib.contextmanager
def _gone() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise


def _typed(value: Any, field: str = "") -> Any:
    """Properties as the API wants them: in a template a number or a truth may be text, as every parameter is."""
    if isinstance(value, dict):
        if field == "Variables":
            return {name: _text(part) for name, part in value.items()}
        return {name: _typed(part, name) for name, part in value.items()}
    if isinstance(value, list):
        return [_typed(part, field) for part in value]
    if field in _NUMBERS and isinstance(value, str):
        return float(value) if "." in value else int(value)
    if field in _TRUTHS and isinstance(value, str):
        return value.lower() == "true"
    return value


def _text(value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _zip_of(source: str) -> bytes:
    """The zip that CloudFormation makes of inline code."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr("index.py", source)
    return archive.getvalue()
