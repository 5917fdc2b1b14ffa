"""A customer's orders, from the order history in DynamoDB.

The query, in any SDK: `Query` of the table `vitrine-orders` with `KeyConditionExpression` `customer = :customer`,
`Limit`, and the key of the line before the page as `ExclusiveStartKey`; `AND begins_with(order_line, :invoice)` with
`<InvoiceNo>#` finds the lines of one order. It reads just the lines of the page, however many customers there are.
"""

import base64
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError
from rich.console import Console
from rich.table import Table

TABLE = "vitrine-orders"


class LookUpError(ValueError):
    """The history cannot be asked so; the message says why."""


@dataclass(frozen=True)
class Page:
    """Lines of a customer's orders.

    Attributes:
        lines: Attribute names to values, in the order of their keys.
        token: Of the next page; null when this is the last.
    """

    lines: list[dict[str, str]]
    token: str | None


def page(dynamodb: Any, customer: str, limit: int, token: str | None = None) -> Page:
    """One page of a customer's lines.

    Args:
        dynamodb: A boto3 client.
        customer: HASH key of the history.
        limit: At most so many lines.
        token: Of the page; null for the first.

    Raises:
        LookUpError: limit or token are none, or there is no history.
    """
    if limit < 1:
        raise LookUpError(f"--limit is {limit}: it must be at least 1")
    start = {"ExclusiveStartKey": _key(customer, token)} if token else {}
    try:
        answer = dynamodb.query(
            TableName=TABLE,
            KeyConditionExpression="customer = :customer",
            ExpressionAttributeValues={":customer": {"S": customer}},
            Limit=limit,
            **start,
        )
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            raise LookUpError(f"there is no table {TABLE} at {dynamodb.meta.endpoint_url}: is it deployed?") from error
        raise LookUpError(f"{TABLE}: {error}") from error
    lines = [{name: str(next(iter(value.values()))) for name, value in item.items()} for item in answer["Items"]]
    last = answer.get("LastEvaluatedKey")
    return Page(lines, _token(last["order_line"]["S"]) if last else None)


def _token(order_line: str) -> str:
    return base64.urlsafe_b64encode(order_line.encode()).decode().rstrip("=")


def _key(customer: str, token: str) -> dict[str, dict[str, str]]:
    try:
        order_line = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode()
    except ValueError as error:
        raise LookUpError(f"--page {token!r} is no page's token: take it from the end of the page before") from error
    return {"customer": {"S": customer}, "order_line": {"S": order_line}}


def show(dynamodb: Any, customer: str, limit: int, token: str | None, console: Console | None = None) -> None:
    """Prints a page as a table, and how to get the next one.

    Raises:
        LookUpError: as `page`; or the customer has no orders.
    """
    found = page(dynamodb, customer, limit, token)
    if not found.lines and token is None:
        raise LookUpError(f"customer {customer!r} has no orders in {TABLE}")
    console = console or Console()
    names = dict.fromkeys(name for line in found.lines for name in line if name != "customer")
    table = Table(*names, title=f"Orders of {customer}")
    for line in found.lines:
        table.add_row(*(line.get(name, "") for name in names))
    console.print(table)
    if found.token:
        console.print(f"More with: --page {found.token}", soft_wrap=True)
