"""Lambda handler of the click-stream: how many visitors each page has, and where visitors come from."""

from typing import Any

from include.streams import click_windows
from include.streams.rules import SOURCES_1M, VISITORS_1M, VISITORS_15S

FUNCTION = "visitors"
RULES = (VISITORS_15S, VISITORS_1M, SOURCES_1M)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """As `click_windows.handle`, for visitors in a quarter of a minute and in a minute, and for sources."""
    return click_windows.handle(FUNCTION, RULES, event, context)
