"""DynamoDB tables in CloudFormation stacks."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.aws.server import Server
from local.aws.settings import Settings, client

ATTRIBUTES = [{"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "sk", "AttributeType": "N"}]
KEY = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]


@pytest.fixture(scope="module")
def dynamodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    server = Server(Settings(tmp_path_factory.mktemp("state"), 0)).start()
    yield client("dynamodb")
    server.stop()


def definition(name: str, keys: int = 2) -> dict[str, Any]:
    return {
        "TableName": name,
        "KeySchema": KEY[:keys],
        "AttributeDefinitions": ATTRIBUTES[:keys],
        "BillingMode": "PAY_PER_REQUEST",
    }


def failure(message: str) -> Any:
    return pytest.raises(ClientError, match=message)


def deploy(stack: str, **properties: Any) -> None:
    table = {"Type": "AWS::DynamoDB::Table", "DeletionPolicy": "Delete", "Properties": properties}
    outputs = {"Arn": {"Value": {"Fn::GetAtt": ["Table", "Arn"]}}}
    template = {"Resources": {"Table": table}, "Outputs": outputs}
    client("cloudformation").create_stack(StackName=stack, TemplateBody=json.dumps(template))


def test_a_deployed_table_is_really_there_and_goes_with_its_stack(dynamodb: Any) -> None:
    deploy("made", **definition("deployed"), TimeToLiveSpecification={"AttributeName": "expires", "Enabled": "true"})
    (stack,) = client("cloudformation").describe_stacks(StackName="made")["Stacks"]
    described = dynamodb.describe_table(TableName="deployed")["Table"]
    assert stack["Outputs"][0]["OutputValue"] == described["TableArn"]
    assert dynamodb.describe_time_to_live(TableName="deployed")["TimeToLiveDescription"]["AttributeName"] == "expires"
    client("cloudformation").delete_stack(StackName="made")
    assert "deployed" not in dynamodb.list_tables()["TableNames"]


def test_a_table_that_outlived_its_stack_is_taken_over_with_its_items(dynamodb: Any) -> None:
    dynamodb.create_table(**definition("outlived"))
    dynamodb.put_item(TableName="outlived", Item={"pk": {"S": "p"}, "sk": {"N": "1"}})
    deploy("again", **definition("outlived"), TimeToLiveSpecification={"AttributeName": "expires", "Enabled": True})
    assert dynamodb.scan(TableName="outlived")["Count"] == 1
    assert (
        dynamodb.describe_time_to_live(TableName="outlived")["TimeToLiveDescription"]["TimeToLiveStatus"] == "ENABLED"
    )


def test_a_deployment_that_fails_leaves_the_items_of_the_run_before(dynamodb: Any) -> None:
    dynamodb.create_table(**definition("precious"))
    dynamodb.put_item(TableName="precious", Item={"pk": {"S": "p"}, "sk": {"N": "1"}})
    with failure("the table precious of an earlier run has another AttributeDefinitions and KeySchema: delete it"):
        deploy("other-keys", **definition("precious", keys=1))
    table = {"Type": "AWS::DynamoDB::Table", "Properties": definition("precious")}
    group = {"Type": "AWS::Athena::WorkGroup", "Properties": {"Colour": "red"}, "DependsOn": "Table"}
    with failure("Colour"):
        client("cloudformation").create_stack(
            StackName="half", TemplateBody=json.dumps({"Resources": {"Table": table, "Group": group}})
        )
    assert dynamodb.scan(TableName="precious")["Count"] == 1
