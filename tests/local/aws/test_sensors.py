"""Airflow's S3 sensors on the local stack."""

import uuid

import boto3
import pytest
from airflow.providers.amazon.aws.sensors.s3 import S3KeySensor
from airflow.sdk.exceptions import AirflowSensorTimeout, TaskDeferred

LAKE = "vitrine-lake"


@pytest.fixture
def prefix(stack):
    return f"landing/{uuid.uuid4().hex}"


def sensor(**options):
    return S3KeySensor(task_id="wait", bucket_name=LAKE, poke_interval=0.1, timeout=0.5, **options)


def test_a_key_that_is_there_is_found(prefix):
    boto3.client("s3").put_object(Bucket=LAKE, Key=f"{prefix}/orders.csv", Body=b"order_id\n")
    sensor(bucket_key=f"{prefix}/orders.csv").execute({})
    sensor(bucket_key=f"{prefix}/*.csv", wildcard_match=True).execute({})


def test_a_key_that_is_not_there_is_waited_for(prefix):
    with pytest.raises(AirflowSensorTimeout):
        sensor(bucket_key=f"{prefix}/orders.csv").execute({})


def test_a_deferrable_sensor_gives_its_place_to_others(prefix):
    with pytest.raises(TaskDeferred) as deferred:
        sensor(bucket_key=f"{prefix}/orders.csv", deferrable=True).execute({})
    assert deferred.value.trigger.bucket_name == LAKE
