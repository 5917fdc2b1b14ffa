"""Clients of AWS for the handlers: one of each service for a worker, whose calls fail fast.

An invocation has an end, and what is not done by then goes back to the stream.
"""

from functools import cache
from typing import Any

import boto3
from botocore.config import Config

CONNECT_SECONDS, READ_SECONDS = 2, 5
CONNECTIONS = 16

S3_ATTEMPTS = 3
"""Of a call, in all. Callers of DynamoDB try again themselves, item by item; a message is told again only knowingly."""


@cache
def client(service: str) -> Any:
    """A boto3 client."""
    return boto3.client(
        service,
        config=Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            max_pool_connections=CONNECTIONS,
            parameter_validation=False,  # A tenth of the time of a large request, and the service validates, too.
            retries={"mode": "standard", "total_max_attempts": S3_ATTEMPTS if service == "s3" else 1},
        ),
    )
