"""The errors DynamoDB answers with, by AWS's codes."""

from typing import Any


class DynamoDBError(Exception):
    """A request that is answered with an error.

    Args:
        code: AWS's name of the error.
        message: What is wrong, for the caller.
        **members: Further members of the answer, e.g. ``CancellationReasons``.
    """

    def __init__(self, code: str, message: str, **members: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.members = members


class ValidationError(DynamoDBError):
    """The request is wrong in itself, or doesn't fit the table or the item."""

    def __init__(self, message: str) -> None:
        super().__init__("ValidationException", message)


class InvalidValuesError(ValidationError):
    """A parameter's value is wrong."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"One or more parameter values were invalid: {reason}")


class ConditionFailedError(DynamoDBError):
    """The item is not as the request's condition wants it.

    Args:
        item: The item to hand back, where the request asked for it.
    """

    def __init__(self, item: dict[str, Any] | None = None) -> None:
        members = {"Item": item} if item else {}
        super().__init__("ConditionalCheckFailedException", "The conditional request failed", **members)


class ThroughputError(DynamoDBError):
    """The table was told to throttle."""

    def __init__(self) -> None:
        super().__init__(
            "ProvisionedThroughputExceededException",
            "The level of configured provisioned throughput for the table was exceeded. Consider increasing your "
            "provisioning level with the UpdateTable API.",
        )


def not_found(table: str) -> DynamoDBError:
    """There is no such table."""
    return DynamoDBError("ResourceNotFoundException", f"Requested resource not found: Table: {table} not found")


def refused(what: str, instead: str = "") -> DynamoDBError:
    """The request is right, but the local DynamoDB does not do it."""
    return DynamoDBError(
        "NotImplemented", f"The local DynamoDB does not do {what}" + (f": {instead}" if instead else "")
    )
