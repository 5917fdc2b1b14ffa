"""CloudFormation's ``AWS::KinesisFirehose::DeliveryStream`` through Firehose's API.

Delivery streams outlive the process, stacks do not: one of an earlier run is taken over with what it has still to
deliver, and gets the destination of the template.
"""

from typing import Any

from botocore.exceptions import ClientError

from local.aws import firehose, undoing
from local.aws.settings import client

ATTRIBUTES = ("Arn",)

_NUMBERS = {"SizeInMBs", "IntervalInSeconds", "DurationInSeconds", "PageSizeBytes"}
_DESTINATIONS = ("ExtendedS3DestinationConfiguration", "S3DestinationConfiguration")


def create(name: str, properties: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """Create a delivery stream, or take over the one of an earlier run.

    Args:
        name: Of the delivery stream.
        properties: As the template has them.

    Returns:
        The physical id and the attributes of ``Fn::GetAtt``.

    Raises:
        ClientError: Firehose refuses a property, or the one of an earlier run has another source.
    """
    request: dict[str, Any] = _typed({**properties, "DeliveryStreamName": name})
    api = client("firehose")
    try:
        api.create_delivery_stream(**request)
    except api.exceptions.ResourceInUseException:
        _take_over(name, request)
    described = api.describe_delivery_stream(DeliveryStreamName=name)["DeliveryStreamDescription"]
    return name, {"Arn": described["DeliveryStreamARN"]}


def _take_over(name: str, request: dict[str, Any]) -> None:
    api = client("firehose")
    undoing.take_over("delivery stream", name)
    described = api.describe_delivery_stream(DeliveryStreamName=name)["DeliveryStreamDescription"]
    now = described.get("Source", {}).get("KinesisStreamSourceDescription", {}).get("KinesisStreamARN")
    wanted = request.get("KinesisStreamSourceConfiguration", {}).get("KinesisStreamARN")
    if now != wanted:
        message = (
            f"the delivery stream {name} of an earlier run has the source {now or 'DirectPut'}, not "
            f"{wanted or 'DirectPut'}: delete it (aws firehose delete-delivery-stream --delivery-stream-name {name})"
        )
        raise ClientError({"Error": {"Code": "ResourceInUseException", "Message": message}}, "CreateDeliveryStream")
    for configuration in filter(None, map(request.get, _DESTINATIONS)):
        firehose.set_destination(name, configuration)
    if tags := request.get("Tags"):
        api.tag_delivery_stream(DeliveryStreamName=name, Tags=tags)


def remove(name: str) -> None:
    """Delete a delivery stream; but one that was taken over outlives a deployment that failed."""
    if not undoing.keeps("delivery stream", name):
        client("firehose").delete_delivery_stream(DeliveryStreamName=name)


def _typed(value: Any) -> Any:
    """The same structure with numbers and booleans, which in a template may be text."""
    if isinstance(value, dict):
        return {key: int(part) if key in _NUMBERS else _typed(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_typed(part) for part in value]
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value
