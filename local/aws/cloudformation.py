"""CloudFormation that creates what it reports.

moto marks a resource of a type it doesn't know as created, and ignores properties of those it knows. Here a template is
accepted only when all its types are in `RESOURCES`; each is created through the public API of its service, whose
validation rejects a property the service lacks, and a property that nobody handles fails with its name.
"""

import contextlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from moto.cloudformation import parsing
from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.models import CloudFormationBackend, Stack

from local.aws import (
    dynamodb_deploy,
    firehose_deploy,
    kinesis_deploy,
    lambda_deploy,
    plugging,
    secrets_deploy,
    undoing,
)
from local.aws.settings import client

Properties = dict[str, Any]
Created = tuple[str, dict[str, str]]

_GLUE_JOB_NUMBERS = {"MaxCapacity", "MaxRetries", "NumberOfWorkers", "Timeout"}
_QUEUE_ATTRIBUTES = (
    "DelaySeconds",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "ReceiveMessageWaitTimeSeconds",
    "SqsManagedSseEnabled",
    "VisibilityTimeout",
)


class DeploymentError(RuntimeError):
    """A template could not be deployed; nothing is left of the attempt."""


def plug() -> None:
    """Let this module answer CloudFormation."""
    parsing.resource_class_from_type = _resource_type  # type: ignore[assignment]
    parsing.resource_name_property_from_type = _name_property
    parsing.parse_condition = _condition  # type: ignore[assignment]
    plugging.plug(StrictCloudFormationBackend)


def deploy(template: Path, stack: str, parameters: dict[str, str]) -> dict[str, str]:
    """Create a stack from a template file, through the API.

    Args:
        template: The CloudFormation template, YAML or JSON.
        stack: Name of the stack.
        parameters: Values of the template's parameters.

    Returns:
        The stack's outputs.

    Raises:
        DeploymentError: The template asks for something the local stack does not create, or a resource failed.
    """
    cloudformation = client("cloudformation")
    try:
        cloudformation.create_stack(
            StackName=stack,
            TemplateBody=template.read_text(),
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )
    except ClientError as error:
        raise DeploymentError(f"{template} was not deployed: {error.response['Error']['Message']}") from error
    described = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}


# ------------------------------------------------------------------------------------------------------------ backend


class StrictCloudFormationBackend(plugging.Plugged, CloudFormationBackend):
    """moto's stacks, restricted to templates that are created to the letter."""

    service = "cloudformation"

    def create_stack(self, name: str, template: str, *args: Any, **kwargs: Any) -> Stack:
        """Create a stack, or leave nothing of it."""
        _check(template)
        before = set(self.stacks)
        try:
            return super().create_stack(name, template, *args, **kwargs)
        except Exception:
            with undoing.undoing():
                for stack_id in set(self.stacks) - before:
                    self.stacks.pop(stack_id).resource_map.delete()
            raise

    def update_stack(self, name: str, template: str, *args: Any, **kwargs: Any) -> Stack:
        """Add and remove resources; changing one fails."""
        _check(template)
        return super().update_stack(name, template, *args, **kwargs)

    def create_change_set(self, stack_name: str, change_set_name: str, template: str, *args: Any, **kwargs: Any) -> Any:
        """Prepare a change of a stack."""
        _check(template)
        return super().create_change_set(stack_name, change_set_name, template, *args, **kwargs)

    def describe_stack_resources(self, *args: Any, **kwargs: Any) -> tuple[Stack, list[Any]]:
        """List a stack's resources, without those whose condition is false."""
        stack, resources = super().describe_stack_resources(*args, **kwargs)
        return stack, [resource for resource in resources if resource is not None]

    def create_stack_set(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse: there is one account and one region."""
        raise ValidationError(message="The local CloudFormation has no stack sets")


def _check(template: str) -> None:
    parsed = Stack.parse_template(template)
    if "Transform" in parsed:
        raise ValidationError(message=f"The local CloudFormation does not do the transform {parsed['Transform']}")
    # What depends on a condition is refused when it comes to be created.
    wanted = {resource["Type"] for resource in parsed.get("Resources", {}).values() if "Condition" not in resource}
    unknown = sorted(wanted - RESOURCES.keys())
    if unknown:
        raise ValidationError(message=f"The local CloudFormation does not create {', '.join(unknown)}")


# ---------------------------------------------------------------------------------------------------------- resources


_GONE = re.compile("NotFound|NoSuch|NonExistent|DoesNotExist")


class Resource:
    """One resource of a stack, with the members that moto's stacks ask for."""

    def __init__(self, kind: "ResourceType", physical_id: str, attributes: dict[str, str]) -> None:
        self.kind = kind
        self.physical_resource_id = physical_id
        self.attributes = attributes

    def is_created(self) -> bool:
        """Whether creation is over: it was synchronous."""
        return True

    def get_cfn_attribute(self, attribute_name: str) -> str:
        """What ``Fn::GetAtt`` gives."""
        if attribute_name not in self.attributes:
            raise parsing.UnformattedGetAttTemplateException
        return self.attributes[attribute_name]

    def delete(self, account_id: str, region_name: str) -> None:
        """Delete the resource through its service's API; one that is gone already needs no deleting."""
        try:
            self.kind.remove(self.physical_resource_id)
        except ClientError as error:
            if not _GONE.search(error.response["Error"]["Code"]):
                raise


@dataclass(frozen=True)
class ResourceType:
    """How resources of one type come and go.

    Attributes:
        name_property: The property that names the resource; without it the stack makes a name up.
        create: From that name and the properties to the physical id and the attributes of ``Fn::GetAtt``.
        remove: Delete by physical id.
        attributes: Names of the attributes.
    """

    name_property: str | None
    create: Callable[[str, Properties], Created]
    remove: Callable[[str], Any]
    attributes: tuple[str, ...] = ()

    def has_cfn_attr(self, attr: str) -> bool:
        """Whether ``Fn::GetAtt`` knows the attribute; moto asks."""
        return attr in self.attributes

    def create_from_cloudformation_json(
        self, name: str, description: dict[str, Any], account: str, region: str, **context: Any
    ) -> Resource:
        """Create the resource; moto calls it."""
        try:
            return Resource(self, *self.create(name, dict(description["Properties"])))
        except (ClientError, BotoCoreError, KeyError) as error:
            reason = f"property {error} is missing" if isinstance(error, KeyError) else str(error)
            raise ValidationError(message=f"{context['LogicalId']} ({context['ResourceType']}): {reason}") from error

    def update_from_cloudformation_json(self, cloudformation_json: dict[str, Any], **_: Any) -> Resource:
        """Refuse to change a resource; moto calls it."""
        raise ValidationError(
            message=f"The local CloudFormation does not change a {cloudformation_json['Type']}: delete the stack and "
            "create it again, or restart the local stack"
        )


def _resource_type(name: str) -> ResourceType:
    if name not in RESOURCES:
        raise ValidationError(message=f"The local CloudFormation does not create {name}")
    return RESOURCES[name]


def _name_property(resource_type: str) -> str | None:
    return _resource_type(resource_type).name_property


_MOTOS_CONDITION = parsing.parse_condition


def _condition(condition: dict[str, Any] | bool, *maps: Any) -> bool:
    """A condition's value; moto takes one that is made of others by `!Condition` for false."""
    return _MOTOS_CONDITION(_spelt_out(condition), *maps)


def _spelt_out(part: Any) -> Any:
    if isinstance(part, list):
        return [_spelt_out(one) for one in part]
    if isinstance(part, dict):
        return {"Condition" if name == "Fn::Condition" else name: _spelt_out(one) for name, one in part.items()}
    return part


def _none_left(properties: Properties) -> None:
    if properties:
        raise ValidationError(message=f"The local CloudFormation does not do the properties {', '.join(properties)}")


def _decapitalized(value: Any) -> Any:
    """The same structure with keys as Batch's and ECR's APIs write them; maps with keys of the user's stay."""
    if isinstance(value, dict):
        return {
            key[0].lower() + key[1:]: part if key in ("Options", "Parameters", "Tags") else _decapitalized(part)
            for key, part in value.items()
        }
    if isinstance(value, list):
        return [_decapitalized(part) for part in value]
    return value


def _bucket(name: str, properties: Properties) -> Created:
    s3 = client("s3")
    properties.pop("BucketName", None)
    s3.create_bucket(Bucket=name)
    if encryption := properties.pop("BucketEncryption", None):
        rules = [
            {("Apply" if key.startswith("ServerSide") else "") + key: part for key, part in rule.items()}
            for rule in encryption["ServerSideEncryptionConfiguration"]
        ]
        s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": rules})
    if block := properties.pop("PublicAccessBlockConfiguration", None):
        s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=block)
    if ownership := properties.pop("OwnershipControls", None):
        s3.put_bucket_ownership_controls(Bucket=name, OwnershipControls=ownership)
    if lifecycle := properties.pop("LifecycleConfiguration", None):
        rules = [_lifecycle_rule(dict(rule)) for rule in lifecycle["Rules"]]
        s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": rules})
    if tags := properties.pop("Tags", None):
        s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": tags})
    if notification := properties.pop("NotificationConfiguration", None):
        queues = [_notification(dict(queue)) for queue in notification.pop("QueueConfigurations", [])]
        _none_left(notification)
        s3.put_bucket_notification_configuration(Bucket=name, NotificationConfiguration={"QueueConfigurations": queues})
    _none_left(properties)
    return name, {"Arn": f"arn:aws:s3:::{name}"}


def _lifecycle_rule(rule: Properties) -> Properties:
    result = {"Status": rule.pop("Status"), "Filter": {"Prefix": rule.pop("Prefix", "")}}
    if "Id" in rule:
        result["ID"] = rule.pop("Id")
    if "ExpirationInDays" in rule:
        result["Expiration"] = {"Days": int(rule.pop("ExpirationInDays"))}
    if "AbortIncompleteMultipartUpload" in rule:
        result["AbortIncompleteMultipartUpload"] = rule.pop("AbortIncompleteMultipartUpload")
    _none_left(rule)
    return result


def _notification(queue: Properties) -> Properties:
    result = {"QueueArn": queue.pop("Queue"), "Events": [queue.pop("Event")]}
    if "Filter" in queue:
        result["Filter"] = {"Key": {"FilterRules": queue.pop("Filter")["S3Key"]["Rules"]}}
    _none_left(queue)
    return result


def _bucket_policy(name: str, properties: Properties) -> Created:
    bucket = properties["Bucket"]
    client("s3").put_bucket_policy(Bucket=bucket, Policy=json.dumps(properties["PolicyDocument"]))
    return bucket, {}


def _role(name: str, properties: Properties) -> Created:
    iam = client("iam")
    policies, managed = properties.pop("Policies", []), properties.pop("ManagedPolicyArns", [])
    trust = json.dumps(properties.pop("AssumeRolePolicyDocument"))
    role = iam.create_role(**{**properties, "RoleName": name, "AssumeRolePolicyDocument": trust})["Role"]
    for policy in policies:
        document = json.dumps(policy["PolicyDocument"])
        iam.put_role_policy(RoleName=name, PolicyName=policy["PolicyName"], PolicyDocument=document)
    for arn in managed:
        iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    return name, {"Arn": role["Arn"], "RoleId": role["RoleId"]}


def _remove_role(name: str) -> None:
    iam = client("iam")
    for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        iam.delete_role_policy(RoleName=name, PolicyName=policy)
    for policy in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
        iam.detach_role_policy(RoleName=name, PolicyArn=policy["PolicyArn"])
    iam.delete_role(RoleName=name)


def _instance_profile(name: str, properties: Properties) -> Created:
    iam = client("iam")
    roles = properties.pop("Roles")
    profile = iam.create_instance_profile(**{**properties, "InstanceProfileName": name})["InstanceProfile"]
    for role in roles:
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=role)
    return name, {"Arn": profile["Arn"]}


def _remove_instance_profile(name: str) -> None:
    iam = client("iam")
    for role in iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]["Roles"]:
        iam.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=role["RoleName"])
    iam.delete_instance_profile(InstanceProfileName=name)


def _log_group(name: str, properties: Properties) -> Created:
    logs = client("logs")
    properties.pop("LogGroupName", None)
    retention = properties.pop("RetentionInDays", None)
    _none_left(properties)
    logs.create_log_group(logGroupName=name)
    if retention:
        logs.put_retention_policy(logGroupName=name, retentionInDays=int(retention))
    groups = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    return name, {"Arn": next(group["arn"] for group in groups if group["logGroupName"] == name)}


def _repository(name: str, properties: Properties) -> Created:
    ecr = client("ecr")
    properties.pop("RepositoryName", None)
    lifecycle = properties.pop("LifecyclePolicy", None)
    repository = ecr.create_repository(repositoryName=name, **_decapitalized(properties))["repository"]
    if lifecycle:
        ecr.put_lifecycle_policy(repositoryName=name, lifecyclePolicyText=lifecycle["LifecyclePolicyText"])
    return name, {"Arn": repository["repositoryArn"], "RepositoryUri": repository["repositoryUri"]}


def _database(name: str, properties: Properties) -> Created:
    glue = client("glue")
    database = properties["DatabaseInput"]
    try:
        glue.create_database(**properties)
    except glue.exceptions.AlreadyExistsException:
        # The catalog outlives the process, the stack does not: this is the database of the run before.
        glue.update_database(Name=database["Name"], **properties)
    return database["Name"], {}


def _glue_job(name: str, properties: Properties) -> Created:
    # In a template a number may be text, as every reference to a parameter is.
    numbers = {field: int(properties[field]) for field in _GLUE_JOB_NUMBERS & properties.keys()}
    execution = {field: int(limit) for field, limit in properties.pop("ExecutionProperty", {}).items()}
    if execution:
        properties["ExecutionProperty"] = execution
    return client("glue").create_job(**{**properties, **numbers, "Name": name})["Name"], {}


def _work_group(name: str, properties: Properties) -> Created:
    properties.pop("Name", None)
    properties.pop("RecursiveDeleteOption", None)  # only about deletion, where it is always done
    configuration = properties.pop("WorkGroupConfiguration", {})
    client("athena").create_work_group(Name=name, Configuration=configuration, **properties)
    return name, {}


def _compute_environment(name: str, properties: Properties) -> Created:
    if "ServiceRole" not in properties:
        properties["ServiceRole"] = _batch_service_role()
    request = {**_decapitalized(properties), "computeEnvironmentName": name}
    arn = client("batch").create_compute_environment(**request)["computeEnvironmentArn"]
    return arn, {"ComputeEnvironmentArn": arn}


def _batch_service_role() -> str:
    """AWS makes this role by itself when an account first uses Batch; moto wants to be given one."""
    iam = client("iam")
    try:
        role = iam.get_role(RoleName="AWSServiceRoleForBatch")
    except iam.exceptions.NoSuchEntityException:
        role = iam.create_service_linked_role(AWSServiceName="batch.amazonaws.com")
    return role["Role"]["Arn"]


def _job_queue(name: str, properties: Properties) -> Created:
    arn = client("batch").create_job_queue(**{**_decapitalized(properties), "jobQueueName": name})["jobQueueArn"]
    return arn, {"JobQueueArn": arn}


def _job_definition(name: str, properties: Properties) -> Created:
    request = {**_decapitalized(properties), "jobDefinitionName": name}
    return client("batch").register_job_definition(**request)["jobDefinitionArn"], {}


def _queue(name: str, properties: Properties) -> Created:
    sqs = client("sqs")
    properties.pop("QueueName", None)
    wanted = {
        attribute: str(value).lower() if isinstance(value, bool) else str(value)
        for attribute, value in ((known, properties.pop(known, None)) for known in _QUEUE_ATTRIBUTES)
        if value is not None
    }
    _none_left(properties)
    url = sqs.create_queue(QueueName=name, Attributes=wanted)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return url, {"Arn": arn, "QueueName": name, "QueueUrl": url}


def _queue_policy(name: str, properties: Properties) -> Created:
    urls = properties["Queues"]
    for url in urls:
        client("sqs").set_queue_attributes(
            QueueUrl=url, Attributes={"Policy": json.dumps(properties["PolicyDocument"])}
        )
    return " ".join(urls), {}


def _remove_queue_policy(urls: str) -> None:
    sqs = client("sqs")
    for url in urls.split():
        with contextlib.suppress(sqs.exceptions.QueueDoesNotExist):  # a stack's resources go in any order
            sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": ""})


RESOURCES: dict[str, ResourceType] = {
    "AWS::Athena::WorkGroup": ResourceType(
        "Name",
        _work_group,
        lambda name: client("athena").delete_work_group(WorkGroup=name, RecursiveDeleteOption=True),
    ),
    "AWS::Batch::ComputeEnvironment": ResourceType(
        "ComputeEnvironmentName",
        _compute_environment,
        lambda arn: client("batch").delete_compute_environment(computeEnvironment=arn),
        ("ComputeEnvironmentArn",),
    ),
    "AWS::Batch::JobDefinition": ResourceType(
        "JobDefinitionName",
        _job_definition,
        lambda arn: client("batch").deregister_job_definition(jobDefinition=arn),
    ),
    "AWS::Batch::JobQueue": ResourceType(
        "JobQueueName", _job_queue, lambda arn: client("batch").delete_job_queue(jobQueue=arn), ("JobQueueArn",)
    ),
    "AWS::DynamoDB::Table": ResourceType(
        "TableName", dynamodb_deploy.create, dynamodb_deploy.remove, dynamodb_deploy.ATTRIBUTES
    ),
    "AWS::ECR::Repository": ResourceType(
        "RepositoryName",
        _repository,
        lambda name: client("ecr").delete_repository(repositoryName=name),
        ("Arn", "RepositoryUri"),
    ),
    "AWS::Glue::Database": ResourceType(None, _database, lambda name: client("glue").delete_database(Name=name)),
    "AWS::Glue::Job": ResourceType("Name", _glue_job, lambda name: client("glue").delete_job(JobName=name)),
    "AWS::IAM::InstanceProfile": ResourceType(
        "InstanceProfileName", _instance_profile, _remove_instance_profile, ("Arn",)
    ),
    "AWS::IAM::Role": ResourceType("RoleName", _role, _remove_role, ("Arn", "RoleId")),
    "AWS::Kinesis::Stream": ResourceType(
        "Name", kinesis_deploy.create, kinesis_deploy.remove, kinesis_deploy.ATTRIBUTES
    ),
    "AWS::KinesisFirehose::DeliveryStream": ResourceType(
        "DeliveryStreamName", firehose_deploy.create, firehose_deploy.remove, firehose_deploy.ATTRIBUTES
    ),
    "AWS::Logs::LogGroup": ResourceType(
        "LogGroupName", _log_group, lambda name: client("logs").delete_log_group(logGroupName=name), ("Arn",)
    ),
    "AWS::S3::Bucket": ResourceType(
        "BucketName", _bucket, lambda name: client("s3").delete_bucket(Bucket=name), ("Arn",)
    ),
    "AWS::S3::BucketPolicy": ResourceType(
        None, _bucket_policy, lambda bucket: client("s3").delete_bucket_policy(Bucket=bucket)
    ),
    "AWS::SQS::Queue": ResourceType(
        "QueueName", _queue, lambda url: client("sqs").delete_queue(QueueUrl=url), ("Arn", "QueueName", "QueueUrl")
    ),
    "AWS::SecretsManager::Secret": ResourceType("Name", secrets_deploy.create, secrets_deploy.remove, ("Id",)),
    "AWS::SQS::QueuePolicy": ResourceType(None, _queue_policy, _remove_queue_policy),
    **{kind: ResourceType(*how) for kind, how in lambda_deploy.KINDS.items()},
}
