"""The assets that the sales products update: other DAGs schedule on them."""

from airflow.sdk import Asset

from include.products.plan import FLAGS

ASSETS = {product: Asset(name=f"products.{product}", uri=f"vitrine://products/{product}") for product in FLAGS.values()}
"""One asset a product; its events carry client, report_date, and rows by table."""
