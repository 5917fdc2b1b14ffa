"""CloudFormation's ``AWS::Kinesis::Stream`` through Kinesis's API.

Streams outlive the process, stacks do not: a stream of an earlier run is taken over with its records, its shards and
the positions of its consumers.
"""

import logging
from typing import Any

from local.aws import undoing
from local.aws.settings import client

log = logging.getLogger(__name__)

ATTRIBUTES = ("Arn",)


def create(name: str, properties: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """Create a stream, or take over the one of an earlier run.

    Args:
        name: Of the stream.
        properties: As the template has them.

    Returns:
        The physical id and the attributes of ``Fn::GetAtt``.

    Raises:
        ClientError: Kinesis refuses a property.
    """
    kinesis = client("kinesis")
    request = {part: value for part, value in properties.items() if part not in ("Name", "RetentionPeriodHours")}
    hours = int(properties.get("RetentionPeriodHours", 24))
    tags = {tag["Key"]: tag["Value"] for tag in request.pop("Tags", [])}
    mode = request.get("StreamModeDetails", {}).get("StreamMode", "PROVISIONED")
    if mode == "PROVISIONED":
        request["ShardCount"] = int(request.get("ShardCount", 1))
    try:
        kinesis.create_stream(StreamName=name, **request)
    except kinesis.exceptions.ResourceInUseException:
        undoing.take_over("stream", name)
    summary = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
    if mode == "PROVISIONED" and summary["OpenShardCount"] != request["ShardCount"]:
        log.warning(
            "The stream %s of an earlier run has %d shards, not the template's %d; UpdateShardCount changes them",
            *(name, summary["OpenShardCount"], request["ShardCount"]),
        )
    if hours != summary["RetentionPeriodHours"]:
        change = "increase" if hours > summary["RetentionPeriodHours"] else "decrease"
        getattr(kinesis, f"{change}_stream_retention_period")(StreamName=name, RetentionPeriodHours=hours)
    if tags:
        kinesis.add_tags_to_stream(StreamName=name, Tags=tags)
    return name, {"Arn": summary["StreamARN"]}


def remove(name: str) -> None:
    """Delete a stream; but one that was taken over outlives a deployment that failed."""
    if not undoing.keeps("stream", name):
        client("kinesis").delete_stream(StreamName=name, EnforceConsumerDeletion=True)
