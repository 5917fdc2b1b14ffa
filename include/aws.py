"""AWS as the tasks use it: clients from Airflow's connection, and the lake's name."""

from functools import cache
from typing import Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.sdk import Variable


# A client takes a tenth of a second to make, and a task needs it more than once.
@cache
def client(service: str) -> Any:
    """A boto3 client of the connection `aws_default`."""
    return AwsBaseHook(aws_conn_id="aws_default", client_type=service).get_conn()


def lake() -> str:
    """Name of the lake's bucket."""
    return Variable.get("vitrine_lake")
