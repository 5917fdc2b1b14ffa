"""Publishes audited products: their Athena partitions, and their files in the layout for people."""

from collections.abc import Collection, Sequence
from typing import Any

from include.tables import catalog, versions
from include.tables.contract import Table


def publish_product(s3: Any, glue: Any, tables: Sequence[Table], output: str, lake: str) -> list[str]:
    """Publishes one product's audited output: its Athena partitions, then its files for people.

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
        catalog.ensure_table(glue, table, f"s3://{lake}/{table.product}/{table.name}/")
        catalog.switch_partition(glue, table, (client, report_date), f"{output}{table.name}/")
    people = f"{folder}/{client}/{report_date}/{report_date}_{client}_"
    published = {}
    for file in versions.files(s3, output):
        name = file.key.rpartition("/")[2].removeprefix(f"{report_date}_{client}_")
        published[f"{people}{name}"] = file.key
    for key, source in published.items():
        s3.copy({"Bucket": lake, "Key": source}, lake, key)
    for stale in _stale(s3, lake, people, published):
        s3.delete_object(Bucket=lake, Key=stale)
    return sorted(published)


def _stale(s3: Any, lake: str, people: str, published: Collection[str]) -> list[str]:
    """Files of an earlier publication that would now lie: the Excel file of a table that has become a CSV file."""
    stems = {key.rpartition(".")[0] for key in published}
    found = [file.key for file in versions.files(s3, f"s3://{lake}/{people}")]
    return [key for key in found if key.rpartition(".")[0] in stems and key not in published]
