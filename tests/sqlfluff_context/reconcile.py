"""What `reconcile` says to a template while sqlfluff looks at it: a rule with conditions, and one without."""

from types import SimpleNamespace as Rule

within = "dt BETWEEN DATE '2026-03-01' AND DATE '2026-03-01' AND hour IN ('10')"
layers = ("batch", "speed")
rules = [
    Rule(
        name="sessions",
        batch="vitrine_silver.sessions",
        speed="vitrine_silver.speed_sessions",
        key="concat(cast(custid AS varchar), '#', device)",
        counted="events",
        said="concat_ws(' ', cast(events AS varchar), first_url)",
        only="",
    ),
    Rule(
        name="visitors_15s",
        batch="vitrine_silver.visitors",
        speed="vitrine_silver.speed_visitors",
        key="url",
        counted="visitors",
        said="cast(visitors AS varchar)",
        only="window_seconds = 15 AND ",
    ),
]
