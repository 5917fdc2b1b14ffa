"""The assets of the streams: other DAGs schedule on them."""

from airflow.sdk import Asset

from include.streams_lake.streams import STREAMS

REFINED = {name: Asset(name=f"streams.{name}", uri=f"vitrine://streams/{name}") for name in STREAMS}
"""The refined tables of a stream. Events carry `hours`, the event hours that changed, and `until`: what arrived before
this hour is in them."""
