"""Candidates: versions that wait for their checks, as tables of the database `vitrine_audit`."""

import re
from collections.abc import Iterable
from typing import Any

from include.tables import catalog, contract
from include.tables.contract import Layer, Table


def name(table: Table, version: str) -> str:
    """Name of the candidate of a table's version."""
    return f"{table.name}__{re.sub(r'[^a-z0-9]', '_', version.lower())}"


def names(version: str, layers: Iterable[Layer]) -> dict[str, str]:
    """Table → the candidate's full name, for all tables of some layers."""
    return {
        table.name: f"vitrine_audit.{name(table, version)}" for layer in layers for table in contract.of_layer(layer)
    }


def register(glue: Any, table: Table, version: str, location: str) -> None:
    """Makes a version readable, as one table without partitions.

    Args:
        glue: a boto3 Glue client.
        table: the table's contract.
        version: the version.
        location: s3:// prefix of its files.
    """
    catalog.switch_table(glue, table.candidate(name(table, version)), location, {})


def drop(glue: Any, version: str, layers: Iterable[Layer]) -> None:
    """Takes a version's candidates out of the catalog; their files stay."""
    drop_tables(glue, version, [table for layer in layers for table in contract.of_layer(layer)])


def drop_tables(glue: Any, version: str, tables: Iterable[Table]) -> None:
    """Takes the candidates of some tables of a version out of the catalog; their files stay."""
    for table in tables:
        try:
            glue.delete_table(DatabaseName="vitrine_audit", Name=name(table, version))
        except glue.exceptions.EntityNotFoundException:
            continue
