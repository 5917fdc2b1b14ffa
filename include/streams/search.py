"""The search index of the web logs: how to reach it, what it is called, what it looks like."""

import functools
import json
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from opensearchpy import OpenSearch, Urllib3AWSV4SignerAuth, Urllib3HttpConnection

TEMPLATE = Path(__file__).with_name("search_template.json")
TEMPLATE_NAME = "weblogs"
INDICES = "weblogs-*"


class SearchError(ValueError):
    """The search server cannot be asked as things are configured."""


def index_of(moment: datetime) -> str:
    """The index of a moment, which is in UTC: one for each day."""
    return f"weblogs-{moment:%Y.%m.%d}"


def connect(url: str, timeout: float = 10.0) -> OpenSearch:
    """A client of the search server that signs its requests as AWS wants them; retrying is left to the caller.

    Args:
        url: ``https://<domain's endpoint>``, or whatever else speaks OpenSearch's API.
        timeout: Seconds an answer may take.

    Raises:
        SearchError: the address is no URL, or there are no AWS credentials to sign with.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SearchError(f"SEARCH_URL is {url!r}: set it to the domain's endpoint, https://…")
    session = boto3.Session()
    credentials = session.get_credentials()
    if credentials is None or not session.region_name:
        raise SearchError("no AWS credentials or region to sign search requests with: set AWS_ACCESS_KEY_ID and so on")
    service = "aoss" if parts.hostname.endswith(".aoss.amazonaws.com") else "es"
    return OpenSearch(
        hosts=[url],
        http_auth=Urllib3AWSV4SignerAuth(credentials, session.region_name, service),
        connection_class=Urllib3HttpConnection,
        timeout=timeout,
        max_retries=0,
    )


def put_template(client: OpenSearch) -> None:
    """Tells the server what indices of web logs look like; it concerns those made afterwards."""
    client.indices.put_index_template(name=TEMPLATE_NAME, body=template())


@functools.cache
def template() -> dict[str, Any]:
    """The index template."""
    return json.loads(TEMPLATE.read_text())
