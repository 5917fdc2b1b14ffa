"""The Glue Catalog's side of publishing: a table or a partition moves to a new version in one call."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import batched
from typing import Any, NamedTuple

from include.tables.contract import Table

BATCH = 100
"""Partitions that one call of the Glue API takes."""


class CatalogError(RuntimeError):
    """The catalog refused some of the partitions of a call; the message names the first."""


class Place(NamedTuple):
    """Where a table or partition points, and what was noted with it."""

    location: str
    parameters: dict[str, str]


def ensure_table(glue: Any, table: Table, location: str) -> None:
    """Creates the table where it is not there yet, and brings its columns up to date where it is.

    Args:
        glue: a boto3 Glue client.
        table: the table's contract.
        location: s3:// prefix that a new table gets; one that is there keeps its own.
    """
    try:
        glue.create_table(DatabaseName=table.database, TableInput=table.glue_input(location))
    except glue.exceptions.AlreadyExistsException:
        # A contract that gained a column must reach readers too; partitions keep their own files either way.
        current = glue.get_table(DatabaseName=table.database, Name=table.name)["Table"]
        wanted = table.glue_input(current["StorageDescriptor"]["Location"])
        if current["StorageDescriptor"]["Columns"] != wanted["StorageDescriptor"]["Columns"]:
            wanted["Parameters"] = {**current.get("Parameters", {}), **wanted["Parameters"]}
            glue.update_table(DatabaseName=table.database, TableInput=wanted)


def place(glue: Any, table: Table) -> Place | None:
    """Where a table points; None where there is no such table."""
    try:
        found = glue.get_table(DatabaseName=table.database, Name=table.name)["Table"]
    except glue.exceptions.EntityNotFoundException:
        return None
    return Place(found["StorageDescriptor"]["Location"], found.get("Parameters", {}))


def partitions(glue: Any, table: Table) -> dict[tuple[str, ...], Place]:
    """The partitions of a table by their values; empty where there is no such table."""
    pages = glue.get_paginator("get_partitions").paginate(DatabaseName=table.database, TableName=table.name)
    try:
        return {
            tuple(found["Values"]): Place(found["StorageDescriptor"]["Location"], found.get("Parameters", {}))
            for page in pages
            for found in page["Partitions"]
        }
    except glue.exceptions.EntityNotFoundException:
        return {}


def switch_table(glue: Any, table: Table, location: str, parameters: Mapping[str, str]) -> None:
    """Points a table at `location` and notes `parameters`; creates it at its first publication.

    Args:
        glue: a boto3 Glue client.
        table: the table's contract.
        location: s3:// prefix of the version to publish; of a partitioned table, where its partitions live.
        parameters: kept in the catalog with the table.
    """
    wanted = table.glue_input(location)
    wanted["Parameters"] |= parameters
    try:
        glue.create_table(DatabaseName=table.database, TableInput=wanted)
    except glue.exceptions.AlreadyExistsException:
        glue.update_table(DatabaseName=table.database, TableInput=wanted)


def switch_partition(glue: Any, table: Table, values: Sequence[str], location: str) -> None:
    """Points a partition at `location`, creating the partition at its first publication.

    Args:
        glue: a boto3 Glue client.
        table: the table's contract.
        values: the partition's values, in the order of the contract's partition keys.
        location: s3:// prefix of the version to publish.
    """
    switch_partitions(glue, table, {tuple(values): Place(location, {})})


def switch_partitions(glue: Any, table: Table, places: Mapping[tuple[str, ...], Place]) -> None:
    """Points partitions at their new places, each in one step, creating those that are not there.

    Args:
        glue: a boto3 Glue client.
        table: the table's contract.
        places: the partitions' values, in the order of the contract's partition keys, to their new places.

    Raises:
        CatalogError: the catalog refused a partition. Running again is safe.
    """
    where = {"DatabaseName": table.database, "TableName": table.name}
    for batch in batched(places.items(), BATCH):
        inputs = {
            values: {
                "Values": list(values),
                "StorageDescriptor": table.storage(new.location),
                "Parameters": new.parameters,
            }
            for values, new in batch
        }
        answer = glue.batch_create_partition(**where, PartitionInputList=list(inputs.values()))
        known = [tuple(error["PartitionValues"]) for error in _but(answer, "AlreadyExistsException")]
        if known:
            entries = [{"PartitionValueList": list(values), "PartitionInput": inputs[values]} for values in known]
            _but(glue.batch_update_partition(**where, Entries=entries))


def drop_partitions(glue: Any, table: Table, gone: Iterable[tuple[str, ...]]) -> None:
    """Takes partitions out of the catalog; their files stay.

    Raises:
        CatalogError: the catalog refused one, other than for not having it.
    """
    for batch in batched(gone, 25):
        answer = glue.batch_delete_partition(
            DatabaseName=table.database,
            TableName=table.name,
            PartitionsToDelete=[{"Values": list(values)} for values in batch],
        )
        _but(answer, "EntityNotFoundException")


def _but(answer: Mapping[str, Any], *expected: str) -> list[dict[str, Any]]:
    """The errors of a batch, all of an expected kind."""
    errors = answer.get("Errors", [])
    for error in errors:
        if error["ErrorDetail"]["ErrorCode"] not in expected:
            values, detail = error.get("PartitionValues") or error.get("PartitionValueList"), error["ErrorDetail"]
            raise CatalogError(f"partition {values}: {detail['ErrorCode']}: {detail.get('ErrorMessage', '')}")
    return errors
