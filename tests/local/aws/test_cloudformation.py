import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest
import yaml
from botocore.exceptions import ClientError

from local import endpoints
from local.aws import secrets_deploy
from local.aws.cloudformation import RESOURCES, DeploymentError, deploy
from local.aws.server import Server
from local.aws.settings import Settings, client, current

TEMPLATE = endpoints.TEMPLATE


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(Settings(tmp_path_factory.mktemp("state"), 0)).start()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def outputs(server: Server) -> dict[str, str]:
    return vitrine()


def vitrine() -> dict[str, str]:
    """Deploys the template, as the start of a stack does."""
    endpoints.upload_code()
    return deploy(TEMPLATE, "vitrine", endpoints.template_parameters())


def create(resources: dict[str, Any], name: str = "other") -> None:
    template = json.dumps({"Resources": resources})
    client("cloudformation").create_stack(StackName=name, TemplateBody=template)


def failure(resources: dict[str, Any]) -> str:
    with pytest.raises(ClientError) as caught:
        create(resources)
    assert caught.value.response["Error"]["Code"] == "ValidationError"
    names = [found["StackName"] for found in client("cloudformation").describe_stacks()["Stacks"]]
    assert "other" not in names
    return caught.value.response["Error"]["Message"]


# -------------------------------------------------------------------------------------------------------- the template


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms."""


def _short_form(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        return {tag: loader.construct_scalar(node)}
    assert isinstance(node, yaml.SequenceNode)
    return {tag: loader.construct_sequence(node, deep=True)}


_Loader.add_multi_constructor("!", _short_form)


def test_every_type_of_the_template_is_really_created() -> None:
    template = yaml.load(TEMPLATE.read_text(), _Loader)
    wanted = {resource["Type"] for resource in template["Resources"].values() if "Condition" not in resource}
    assert wanted <= RESOURCES.keys()


def test_a_resource_that_a_condition_leaves_out_may_be_of_any_type(server: Server) -> None:
    template = """
Parameters: {Wanted: {Type: String}}
Conditions: {Wanted: !Equals [!Ref Wanted, "true"]}
Resources:
  Topic: {Type: AWS::SNS::Topic, Properties: {TopicName: there}}
  Warehouse: {Type: AWS::RedshiftServerless::Workgroup, Condition: Wanted, Properties: {WorkgroupName: no}}
"""
    api = client("cloudformation")

    def create(wanted: str) -> None:
        api.create_stack(
            StackName=f"wanted-{wanted}",
            TemplateBody=template,
            Parameters=[{"ParameterKey": "Wanted", "ParameterValue": wanted}],
        )

    create("false")
    api.delete_stack(StackName="wanted-false")
    with pytest.raises(ClientError, match="does not create AWS::RedshiftServerless::Workgroup"):
        create("true")
    assert client("sns").list_topics()["Topics"] == []


def test_a_condition_may_be_made_of_others(server: Server) -> None:
    template = """
Parameters: {Wanted: {Type: String}}
Conditions:
  Wanted: !Equals [!Ref Wanted, "true"]
  Both: !And [!Condition Wanted, !Not [!Equals [!Ref Wanted, ""]]]
  Neither: !Not [!Condition Wanted]
Resources:
  Both: {Type: AWS::SNS::Topic, Condition: Both, Properties: {TopicName: both}}
  Neither: {Type: AWS::SNS::Topic, Condition: Neither, Properties: {TopicName: neither}}
"""
    for wanted, there in (("true", "both"), ("false", "neither")):
        parameters = [{"ParameterKey": "Wanted", "ParameterValue": wanted}]
        client("cloudformation").create_stack(StackName="made-of", TemplateBody=template, Parameters=parameters)
        (topic,) = client("sns").list_topics()["Topics"]
        assert topic["TopicArn"].endswith(f":{there}")
        client("cloudformation").delete_stack(StackName="made-of")


def test_every_parameter_is_used_and_described() -> None:
    text = TEMPLATE.read_text()
    template = yaml.load(text, _Loader)
    for name, parameter in template["Parameters"].items():
        assert parameter["Description"], name
        assert f"!Ref {name}" in text or f"${{{name}}}" in text, name


def test_the_lake(outputs: dict[str, str]) -> None:
    s3, lake = client("s3"), {"Bucket": "vitrine-lake"}
    assert outputs["LakeBucket"] == "vitrine-lake"
    rules = s3.get_bucket_encryption(**lake)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert set(s3.get_public_access_block(**lake)["PublicAccessBlockConfiguration"].values()) == {True}
    lifecycle = {rule["ID"]: rule for rule in s3.get_bucket_lifecycle_configuration(**lake)["Rules"]}
    assert lifecycle["expire-athena-results"]["Expiration"] == {"Days": 7}
    assert lifecycle["expire-athena-results"]["Filter"] == {"Prefix": "athena-results/"}
    assert lifecycle["abort-unfinished-uploads"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 3}
    assert s3.get_bucket_ownership_controls(**lake)["OwnershipControls"]["Rules"]


@pytest.mark.parametrize(("queue", "source"), [("vitrine-landing", "olist"), ("vitrine-landing-geo", "geo")])
def test_what_lands_is_told(outputs: dict[str, str], queue: str, source: str) -> None:
    s3, sqs = client("s3"), client("sqs")
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert attributes["SqsManagedSseEnabled"] == "true"
    assert attributes["VisibilityTimeout"] == "120"
    assert attributes["MessageRetentionPeriod"] == str(14 * 24 * 3600)
    (statement,) = json.loads(attributes["Policy"])["Statement"]
    assert statement["Resource"] == attributes["QueueArn"]
    assert statement["Condition"] == {
        "ArnEquals": {"aws:SourceArn": "arn:aws:s3:::vitrine-lake"},
        "StringEquals": {"aws:SourceAccount": "123456789012"},
    }
    told = s3.get_bucket_notification_configuration(Bucket="vitrine-lake")["QueueConfigurations"]
    assert [one["QueueArn"] for one in told].count(attributes["QueueArn"]) == 1

    sqs.purge_queue(QueueUrl=url)  # S3's test message
    for key in (f"landing/{source}/2018-09-01/orders.csv", "landing/other/orders.csv", "raw/orders.csv"):
        s3.put_object(Bucket="vitrine-lake", Key=key, Body=b"1")
    (message,) = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    (record,) = json.loads(message["Body"])["Records"]
    assert unquote_plus(record["s3"]["object"]["key"]) == f"landing/{source}/2018-09-01/orders.csv"


def test_a_generated_secret_outlives_the_process(outputs: dict[str, str]) -> None:
    manager = client("secretsmanager")
    salt = manager.get_secret_value(SecretId="vitrine/geo-salt")["SecretString"]
    assert re.fullmatch("[A-Za-z0-9]{64}", salt)
    file = current().state / "secrets" / "vitrine" / "geo-salt"
    assert file.stat().st_mode & 0o077 == 0
    made = {"GenerateSecretString": {"PasswordLength": "40", "ExcludePunctuation": "true"}}
    arns, values = [], []
    for _ in range(2):
        arn, _ = secrets_deploy.create("kept", made)
        arns.append(arn)
        values.append(manager.get_secret_value(SecretId=arn)["SecretString"])
        secrets_deploy.remove(arn)
    assert values[0] == values[1] != salt


def test_the_catalog_and_the_workgroup(outputs: dict[str, str]) -> None:
    assert client("glue").get_database(Name="vitrine")["Database"]["LocationUri"] == "s3://vitrine-lake/"
    workgroup = client("athena").get_work_group(WorkGroup="vitrine")["WorkGroup"]["Configuration"]
    assert workgroup["ResultConfiguration"]["OutputLocation"] == "s3://vitrine-lake/athena-results/"
    assert workgroup["EnforceWorkGroupConfiguration"] is True
    assert workgroup["BytesScannedCutoffPerQuery"] == 100 << 30


def test_the_job_definition(outputs: dict[str, str]) -> None:
    (definition,) = client("batch").describe_job_definitions(jobDefinitionName="vitrine-algorithms")["jobDefinitions"]
    container = definition["containerProperties"]
    assert container["image"] == outputs["RepositoryUri"] + ":latest"
    assert " ".join(container["command"]) == (
        "Ref::product --client Ref::client --sales Ref::sales --output Ref::output --report-date Ref::report_date"
    )
    requirements = {found["type"]: found["value"] for found in container["resourceRequirements"]}
    assert requirements == {"VCPU": "1", "MEMORY": "2048"}
    assert container["jobRoleArn"] == outputs["AlgorithmsRoleArn"]
    assert container["logConfiguration"]["options"]["awslogs-group"] == "/vitrine/algorithms"
    retries = definition["retryStrategy"]
    assert retries["attempts"] == 3
    assert [rule["action"] for rule in retries["evaluateOnExit"]] == ["RETRY", "RETRY", "RETRY", "EXIT"]
    assert definition["timeout"] == {"attemptDurationSeconds": 3600}
    (group,) = client("logs").describe_log_groups(logGroupNamePrefix="/vitrine/algorithms")["logGroups"]
    assert group["retentionInDays"] == 30


def test_the_queues(outputs: dict[str, str]) -> None:
    queues = {queue["jobQueueName"]: queue for queue in client("batch").describe_job_queues()["jobQueues"]}
    assert {name: queue["priority"] for name, queue in queues.items()} == {"vitrine-default": 1, "vitrine-high": 10}
    (compute,) = client("batch").describe_compute_environments(computeEnvironments=["vitrine"])["computeEnvironments"]
    for queue in queues.values():
        assert queue["state"] == "ENABLED"
        assert [found["computeEnvironment"] for found in queue["computeEnvironmentOrder"]] == [
            compute["computeEnvironmentArn"]
        ]


def test_the_algorithms_may_touch_the_lake_and_nothing_else(outputs: dict[str, str]) -> None:
    iam, role = client("iam"), {"RoleName": "vitrine-algorithms"}
    assert iam.list_role_policies(**role)["PolicyNames"] == ["lake"]
    assert iam.list_attached_role_policies(**role)["AttachedPolicies"] == []
    for statement in iam.get_role_policy(**role, PolicyName="lake")["PolicyDocument"]["Statement"]:
        assert statement["Resource"].startswith("arn:aws:s3:::vitrine-lake")
        assert all(action.startswith("s3:") and "*" not in action for action in statement["Action"])


def test_the_real_bucket_would_refuse_requests_without_tls(server: Server) -> None:
    template = yaml.load(TEMPLATE.read_text(), _Loader)
    assert template["Parameters"]["RequireTls"]["Default"] == "true"
    (statement,) = template["Resources"]["LakePolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": False}})


def test_the_template_can_be_deployed_again_after_a_restart(tmp_path: Path, server: Server) -> None:
    server.stop()
    try:
        for body in (b"kept", None):
            started = Server(Settings(tmp_path, 0)).start()
            try:
                vitrine()
                if body:
                    client("s3").put_object(Bucket="vitrine-lake", Key="a", Body=body)
                assert client("s3").get_object(Bucket="vitrine-lake", Key="a")["Body"].read() == b"kept"
                assert client("glue").get_database(Name="vitrine")
            finally:
                started.stop()
    finally:
        server.start()
        vitrine()


# ------------------------------------------------------------------------------------------------------- no pretence


def test_types_that_nobody_creates_fail_by_name(server: Server) -> None:
    message = failure(
        {
            "Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "never-made"}},
            "Crawler": {"Type": "AWS::Glue::Crawler", "Properties": {}},
            "Stream": {"Type": "AWS::Kinesis::StreamConsumer", "Properties": {}},
        }
    )
    unknown = "AWS::Glue::Crawler, AWS::Kinesis::StreamConsumer"
    assert message == f"The local CloudFormation does not create {unknown}"
    assert "never-made" not in [bucket["Name"] for bucket in client("s3").list_buckets()["Buckets"]]


def test_a_change_set_with_a_type_that_nobody_creates_fails(server: Server) -> None:
    template = json.dumps({"Resources": {"Alarm": {"Type": "AWS::CloudWatch::Alarm", "Properties": {}}}})
    with pytest.raises(ClientError, match="does not create AWS::CloudWatch::Alarm"):
        client("cloudformation").create_change_set(
            StackName="other", ChangeSetName="first", ChangeSetType="CREATE", TemplateBody=template
        )


@pytest.mark.parametrize(
    ("kind", "properties", "reason"),
    [
        ("AWS::S3::Bucket", {"BucketName": "never-made", "WebsiteConfiguration": {}}, "WebsiteConfiguration"),
        ("AWS::Batch::JobQueue", {"Priority": 1, "ComputeEnvironmentOrder": [], "Colour": "red"}, "colour"),
        ("AWS::Athena::WorkGroup", {"WorkGroupConfiguration": {"Colour": "red"}}, "Colour"),
        ("AWS::IAM::Role", {}, "AssumeRolePolicyDocument"),
        ("AWS::Logs::LogGroup", {"KmsKeyId": "x"}, "KmsKeyId"),
        (
            "AWS::S3::Bucket",
            {
                "BucketName": "never-made",
                "LifecycleConfiguration": {"Rules": [{"Status": "Enabled", "Transitions": []}]},
            },
            "Transitions",
        ),
    ],
)
def test_a_property_that_nobody_handles_fails_by_name(
    server: Server, kind: str, properties: dict[str, Any], reason: str
) -> None:
    assert reason in failure({"Thing": {"Type": kind, "Properties": properties}})


def test_a_stack_that_fails_half_way_leaves_nothing(server: Server) -> None:
    failure(
        {
            "Logs": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": "/never/made"}},
            "Group": {"Type": "AWS::Athena::WorkGroup", "Properties": {"Colour": "red"}, "DependsOn": "Logs"},
        }
    )
    assert client("logs").describe_log_groups(logGroupNamePrefix="/never")["logGroups"] == []


def test_a_transform_fails(server: Server) -> None:
    template = json.dumps({"Transform": "AWS::Serverless-2016-10-31", "Resources": {}})
    with pytest.raises(ClientError, match="does not do the transform AWS::Serverless"):
        client("cloudformation").create_stack(StackName="other", TemplateBody=template)


def test_a_deployment_that_fails_says_which_template(server: Server, tmp_path: Path) -> None:
    template = tmp_path / "broken.yaml"
    template.write_text("Resources: {Queue: {Type: AWS::MSK::Cluster}}")
    with pytest.raises(DeploymentError, match=r"broken\.yaml was not deployed: .*AWS::MSK::Cluster"):
        deploy(template, "broken", {})


def test_changing_a_resource_is_refused_adding_and_removing_are_done(server: Server) -> None:
    cloudformation = client("cloudformation")
    create({"Logs": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": "/first"}}}, "changing")
    changed = {"Logs": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": "/first", "RetentionInDays": 7}}}
    with pytest.raises(ClientError, match="does not change a AWS::Logs::LogGroup"):
        cloudformation.update_stack(StackName="changing", TemplateBody=json.dumps({"Resources": changed}))
    other = {"Other": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": "/second"}}}
    cloudformation.delete_stack(StackName="changing")
    create(other, "changing")
    assert [group["logGroupName"] for group in client("logs").describe_log_groups(logGroupNamePrefix="/s")["logGroups"]]
    cloudformation.update_stack(
        StackName="changing",
        TemplateBody=json.dumps(
            {"Resources": {"Third": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": "/third"}}}}
        ),
    )
    names = {group["logGroupName"] for group in client("logs").describe_log_groups()["logGroups"]}
    assert {"/first", "/second", "/third"} & names == {"/third"}
    cloudformation.delete_stack(StackName="changing")


def test_deleting_a_stack_deletes_its_resources_but_retained_ones(server: Server, outputs: dict[str, str]) -> None:
    described = client("cloudformation").describe_stack_resources(StackName="vitrine")["StackResources"]
    assert {found["ResourceType"] for found in described} >= {"AWS::Batch::JobQueue", "AWS::Athena::WorkGroup"}
    (url, *_) = client("sqs").list_queues()["QueueUrls"]
    client("sqs").delete_queue(QueueUrl=url)  # by hand
    client("cloudformation").delete_stack(StackName="vitrine")
    assert "vitrine" not in [found["Name"] for found in client("athena").list_work_groups()["WorkGroups"]]
    assert client("batch").describe_job_queues()["jobQueues"] == []
    assert "QueueUrls" not in client("sqs").list_queues()
    assert "vitrine-algorithms" not in [role["RoleName"] for role in client("iam").list_roles()["Roles"]]
    assert client("s3").head_bucket(Bucket="vitrine-lake")
