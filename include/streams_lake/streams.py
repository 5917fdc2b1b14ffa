"""The streams that the lake keeps, and which tables are made of each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stream:
    """A stream in the lake.

    Attributes:
        name: Of the stream, in the keys of its raw files.
        job: The Glue job, without the prefix vitrine-.
        bronze: Table of what arrived, by hour of arrival.
        refined: Tables by event hour, those first that others are compared with.
        anchor: The one of them that every event hour with events has. It is published last, and notes what it was made
            of.
        reach: Hours before an event hour that its tables depend on too, as a sliding window or a cooldown may begin
            there.
    """

    name: str
    job: str
    bronze: str
    refined: tuple[str, ...]
    anchor: str
    reach: int = 0


CLICKSTREAM = Stream(
    "clickstream",
    "clicks",
    "clicks",
    (
        "click_events",
        "sessions",
        "visitors",
        "sources",
        "product_accesses",
        "device_accesses",
        "source_page_accesses",
        "unique_visitors",
        "busiest_sources",
    ),
    "click_events",
)
ORDERS = Stream("orders", "orders", "stream_orders", ("order_lines", "order_alarms"), "order_lines", reach=1)
WEB_LOGS = Stream("weblogs", "web-logs", "log_lines", ("web_logs", "status_requests", "page_requests"), "web_logs")
STREAMS = {stream.name: stream for stream in (CLICKSTREAM, ORDERS, WEB_LOGS)}
VIEWS = {
    "clickstream": ("sessions_now", "visitors_now", "sources_now", "top_products", "visitors_by_day"),
    "weblogs": ("web_report", "top_urls"),
}
"""Views over the tables of a stream; those that end in now are over the tables of the speed layer too."""
SPEED = ("speed_sessions", "speed_visitors", "speed_sources", "speed_late")
"""Tables of what the speed layer knows."""
