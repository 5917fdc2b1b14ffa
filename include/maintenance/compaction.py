"""Finds partitions of many small files, and points the catalog at what the Glue job `vitrine-compact` made of them."""

from collections.abc import Mapping
from typing import Any

from include.tables import catalog, contract, versions
from include.tables.catalog import Place

FILES = 8
"""A partition with fewer files is left alone."""
SMALL = 16 * 2**20
"""Bytes; a partition whose files are larger on average is left alone."""


class CompactionError(RuntimeError):
    """What the job wrote is not what it read; the message has both figures."""


def find(s3: Any, glue: Any, table_name: str, files: int = FILES, small: int = SMALL) -> list[dict[str, Any]]:
    """The partitions of a table to compact.

    Args:
        s3: a boto3 S3 client.
        glue: a boto3 Glue client.
        table_name: name of a table contract.
        files: fewest files in a folder worth the work.
        small: bytes that the files of a partition have on average, at most.

    Returns:
        As JSON values: label, table, values (of the partition), source (an s3:// prefix), files, bytes.
    """
    table = contract.load(table_name)
    found = []
    for values, place in sorted(catalog.partitions(glue, table).items()):
        there = [file for file in versions.files(s3, place.location) if file.key.endswith(".parquet")]
        size = sum(file.size for file in there)
        folders = {file.key.rpartition("/")[0] for file in there}
        if len(there) >= files * max(len(folders), 1) and size <= small * len(there):
            found.append(
                {
                    "label": f"{table_name} {' '.join(values)}",
                    "table": table_name,
                    "values": list(values),
                    "source": place.location,
                    "files": len(there),
                    "bytes": size,
                }
            )
    return found


def target(source: str, run: str) -> str:
    """Where the rewritten version of a partition goes, beside it; what is missing is the number of the try and a slash.

    Args:
        source: s3:// prefix `…/v=<version>/`.
        run: a text that no other run has.

    Raises:
        ValueError: the partition is not at a version, so retention would never find what is left.
    """
    parent, found, version = source.rstrip("/").rpartition("/v=")
    if not found or "/" in version:
        raise ValueError(f"{source} does not end in v=<version>/: only such partitions are compacted")
    return f"{parent}/v={version.partition('-compact-')[0]}-compact-{run}"


def switch(glue: Any, partition: Mapping[str, Any], report: Mapping[str, Any]) -> bool:
    """Points a partition at its rewritten version, unless somebody has published another one meanwhile.

    Args:
        glue: a boto3 Glue client.
        partition: as `find` gives it.
        report: of the job: source, target, rows_in, rows_out, files_in, files_out, equal.

    Returns:
        Whether it was switched.

    Raises:
        CompactionError: the rows are not equal.
    """
    if not report["equal"] or report["rows_in"] != report["rows_out"] or report["source"] != partition["source"]:
        raise CompactionError(
            f"{partition['label']}: {report['rows_in']} rows of {report['source']} became {report['rows_out']} rows, "
            f"equal: {report['equal']}; the catalog stays as it is"
        )
    table, values = contract.load(partition["table"]), tuple(partition["values"])
    place = catalog.partitions(glue, table).get(values)
    if place is None or place.location != partition["source"]:
        return False
    catalog.switch_partitions(glue, table, {values: Place(report["target"], place.parameters)})
    return True
