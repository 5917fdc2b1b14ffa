"""Lambda handler of the click-stream: what each customer does on a device, minute by minute."""

from typing import Any

from include.streams import click_windows
from include.streams.rules import SESSIONS

FUNCTION = "sessions"
RULES = (SESSIONS,)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """As `click_windows.handle`, for sessions."""
    return click_windows.handle(FUNCTION, RULES, event, context)
