"""The geo lake between tests: what of a lake is its own, and how to take that out."""

import boto3

from include.tables import contract

LAKE = "vitrine-lake"
TABLES = contract.of_layer("geo")
PREFIXES = (
    *(f"{layer}/{table.name}/" for layer in ("bronze", "silver", "gold", "quarantine") for table in TABLES),
    *("deliveries/geo/", "reference/", "reports/geo_advertising/", "runs/geo_advertising/"),
)
"""Everything that is made of what has landed."""


def clear() -> None:
    """Takes everything of geo-advertising out of the lake and the catalog."""
    glue, bucket = boto3.client("glue"), boto3.resource("s3").Bucket(LAKE)
    for prefix in ("landing/geo/", *PREFIXES):
        bucket.objects.filter(Prefix=prefix).delete()
    for table in TABLES:
        try:
            glue.delete_table(DatabaseName=table.database, Name=table.name)
        except glue.exceptions.EntityNotFoundException:
            continue
