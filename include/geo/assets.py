"""The assets of geo-advertising: what starts it, and what it updates for other DAGs to schedule on."""

from airflow.sdk import Asset, AssetWatcher

from include.geo.tables import PUBLISHED
from include.lakehouse.arrivals import FileArrivals

LANDED = Asset(
    name="landing.geo",
    uri="vitrine://landing/geo",
    watchers=[AssetWatcher(name="vitrine-landing-geo", trigger=FileArrivals("vitrine-landing-geo"))],
)
"""Files have landed: an event for those that came together. Its payload has their keys; S3 tells the queue of each."""

GOLD = {name: Asset(name=f"geo.{name}", uri=f"vitrine://geo/{name}") for name in PUBLISHED}
"""One asset a published table; its events carry `months`, those that the run switched, and `version`."""
