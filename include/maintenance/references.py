"""What the Glue Catalog points at: every place that must stay."""

from collections.abc import Iterator
from typing import Any


def places(glue: Any, bucket: str) -> set[str]:
    """Keys in the bucket that a table or partition of any database names, as its location or in its parameters.

    Parameters count too: there the lakehouse notes the version of a whole table, and the bronze that a delivery became.

    Args:
        glue: a boto3 Glue client.
        bucket: the lake.
    """
    lake = f"s3://{bucket}/"
    return {uri.removeprefix(lake) for uri in _uris(glue) if uri.startswith(lake)}


def tables(glue: Any, database: str) -> Iterator[dict[str, Any]]:
    """The tables of a database, as Glue describes them; none where there is no such database."""
    try:
        for page in glue.get_paginator("get_tables").paginate(DatabaseName=database):
            yield from page["TableList"]
    except glue.exceptions.EntityNotFoundException:
        return


def _uris(glue: Any) -> Iterator[str]:
    for page in glue.get_paginator("get_databases").paginate():
        for database in page["DatabaseList"]:
            for table in tables(glue, database["Name"]):
                yield from _named(table)
                where = {"DatabaseName": database["Name"], "TableName": table["Name"]}
                for found in glue.get_paginator("get_partitions").paginate(**where):
                    for partition in found["Partitions"]:
                        yield from _named(partition)


def _named(described: dict[str, Any]) -> Iterator[str]:
    yield described.get("StorageDescriptor", {}).get("Location", "")
    yield from described.get("Parameters", {}).values()
