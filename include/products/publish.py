"""Publishes audited data.

The Glue Catalog's partition moves to the new version in one call, so a reader sees all of it or nothing.
"""

from collections.abc import Collection, Sequence
from typing import Any

from include.tables.contract import Table


def ensure_table(glue: Any, table: Table, lake: str) -> None:
    """Creates the table in the Glue Catalog where it is not there yet.

    Args:
        glue: a boto3 Glue client.
        table: the table's contract.
        lake: name of the lake's bucket.
    """
    try:
        glue.create_table(
            DatabaseName=table.database, TableInput=table.glue_input(f"s3://{lake}/{table.product}/{table.name}/")
        )
    except glue.exceptions.AlreadyExistsException:
        # A contract that gained a column must reach readers too; partitions keep their own files either way.
        current = glue.get_table(DatabaseName=table.database, Name=table.name)["Table"]
        wanted = table.glue_input(current["StorageDescriptor"]["Location"])
        if current["StorageDescriptor"]["Columns"] != wanted["StorageDescriptor"]["Columns"]:
            glue.update_table(DatabaseName=table.database, TableInput=wanted)


def switch_partition(glue: Any, table: Table, values: Sequence[str], location: str) -> None:
    """Points a partition of `table` at `location`, creating the partition at its first publication.

    Args:
        glue: a boto3 Glue client.
        table: the table's contract.
        values: the partition's values, in the order of the contract's partition keys.
        location: s3:// prefix of the version to publish.
    """
    partition = {"Values": list(values), "StorageDescriptor": table.storage(location)}
    where = {"DatabaseName": table.database, "TableName": table.name}
    try:
        glue.create_partition(**where, PartitionInput=partition)
    except glue.exceptions.AlreadyExistsException:
        glue.update_partition(**where, PartitionValueList=list(values), PartitionInput=partition)


def publish_product(s3: Any, glue: Any, tables: Sequence[Table], output: str, lake: str) -> list[str]:
    """Publishes one product's audited output: its Athena partitions, then its files in the layout for people.

    The files for people lie at `products/<client>/<report_date>/<report_date>_<client>_<artefact>`.

    Args:
        s3: a boto3 S3 client.
        glue: a boto3 Glue client.
        tables: contracts of the product's tables.
        output: s3:// prefix of the version, `…/products/<client>/<report_date>/v=<version>/<product>-<try>/`.
        lake: name of the lake's bucket.

    Returns:
        Keys of the files for people, sorted.
    """
    prefix = output.removeprefix(f"s3://{lake}/")
    folder, client, report_date, *_ = prefix.split("/")
    for table in tables:
        ensure_table(glue, table, lake)
        switch_partition(glue, table, (client, report_date), f"{output}{table.name}/")
    people = f"{folder}/{client}/{report_date}/{report_date}_{client}_"
    published = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=lake, Prefix=prefix):
        for item in page.get("Contents", []):
            name = item["Key"].rpartition("/")[2].removeprefix(f"{report_date}_{client}_")
            published[f"{people}{name}"] = item["Key"]
    for key, source in published.items():
        s3.copy({"Bucket": lake, "Key": source}, lake, key)
    for stale in _stale(s3, lake, people, published):
        s3.delete_object(Bucket=lake, Key=stale)
    return sorted(published)


def _stale(s3: Any, lake: str, people: str, published: Collection[str]) -> list[str]:
    """Files of an earlier publication that would now lie: the Excel file of a table that has become a CSV file."""
    stems = {key.rpartition(".")[0] for key in published}
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=lake, Prefix=people)
    found = [item["Key"] for page in pages for item in page.get("Contents", [])]
    return [key for key in found if key.rpartition(".")[0] in stems and key not in published]
