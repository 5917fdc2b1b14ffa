import subprocess
import sys

import boto3
import pytest
from rich.console import Console

from local import orders
from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def dynamodb(stack):
    """A client, with lines of a customer of our own in the history."""
    client = boto3.client("dynamodb")
    made = orders.TABLE not in client.list_tables()["TableNames"]
    if made:
        client.create_table(
            TableName=orders.TABLE,
            KeySchema=[
                {"AttributeName": "customer", "KeyType": "HASH"},
                {"AttributeName": "order_line", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("customer", "order_line")],
            BillingMode="PAY_PER_REQUEST",
        )
        client.get_waiter("table_exists").wait(TableName=orders.TABLE)
    for customer, count in (("look-up", 25), ("look-up-2", 3)):
        for number in range(count):
            line = {
                "customer": customer,
                "order_line": f"{600 + number // 5}#{number % 5 + 1:04}",
                "stock_code": "85123A",
            }
            client.put_item(TableName=orders.TABLE, Item={name: {"S": value} for name, value in line.items()})
    yield client
    if made:
        client.delete_table(TableName=orders.TABLE)


def pages(dynamodb, limit):
    found, token = [], None
    while True:
        page = orders.page(dynamodb, "look-up", limit, token)
        found.append([line["order_line"] for line in page.lines])
        token = page.token
        if token is None:
            return found


@pytest.mark.parametrize("limit", [1, 7, 24, 25, 100])
def test_pages_are_all_of_a_customers_lines_in_order_and_no_others(dynamodb, limit):
    found = pages(dynamodb, limit)
    lines = [line for page in found for line in page]
    assert lines == [f"{600 + number // 5}#{number % 5 + 1:04}" for number in range(25)]
    assert all(len(page) == limit for page in found[:-1])


def test_an_order_is_found_by_the_documented_query(dynamodb):
    answer = dynamodb.query(
        TableName=orders.TABLE,
        KeyConditionExpression="customer = :customer AND begins_with(order_line, :invoice)",
        ExpressionAttributeValues={":customer": {"S": "look-up"}, ":invoice": {"S": "602#"}},
    )
    assert [item["order_line"]["S"] for item in answer["Items"]] == [f"602#{number:04}" for number in range(1, 6)]


def test_a_page_ends_with_how_to_get_the_next(dynamodb):
    console = Console(record=True, width=100)
    orders.show(dynamodb, "look-up", 10, None, console)
    text = console.export_text()
    assert "601#0005" in text
    assert "85123A" in text
    assert "602#0001" not in text
    token = text.rsplit("--page ", 1)[1].strip()
    assert orders.page(dynamodb, "look-up", 10, token).lines[0]["order_line"] == "602#0001"


@pytest.mark.parametrize(
    ("customer", "limit", "token", "message"),
    [
        ("look-up", 0, None, "--limit is 0"),
        ("look-up", 5, "é", "--page 'é' is no page's token"),
        ("look-up", 5, "_", "--page '_' is no page's token"),
        ("nobody", 5, None, "customer 'nobody' has no orders"),
    ],
)
def test_what_cannot_be_looked_up_is_said(dynamodb, customer, limit, token, message):
    with pytest.raises(orders.LookUpError, match=message):
        orders.show(dynamodb, customer, limit, token)


def test_the_command(dynamodb, stack):
    command = [sys.executable, "-m", "local", "orders", "look-up", "--limit", "3", "--state", str(stack.state)]
    shown = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert "600#0003" in shown.stdout
    assert "--page" in shown.stdout
