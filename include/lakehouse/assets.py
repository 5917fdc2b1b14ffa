"""The assets of the lakehouse: what starts it, and what it updates for other DAGs to schedule on."""

from airflow.sdk import Asset, AssetWatcher

from include.lakehouse.arrivals import FileArrivals

LANDED = Asset(
    name="landing.olist",
    uri="vitrine://landing/olist",
    watchers=[AssetWatcher(name="vitrine-landing", trigger=FileArrivals("vitrine-landing"))],
)
"""Files have landed: an event for those that came together. Its payload has their keys; S3 tells the queue of each."""

GOLD = {
    name: Asset(name=f"gold.{name}", uri=f"vitrine://gold/{name}")
    for name in ("wide_sales", "daily_sales", "customer_rfm")
}
"""One asset a gold table; its events carry version (an s3:// prefix with the whole table), rows, money and changed, the
partitions that this run switched."""
