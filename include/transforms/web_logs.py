"""Lines of the web server's log to requests, and to what a report says of them: statuses, bytes, pages, errors.

Functions take parsed lines, the rows of `vitrine_bronze.log_lines`. Nothing tells a line that was sent again from an
equal request of the same second, so equal lines are one row with the number of `copies`, and every copy counts as a
request. `dt` and `hour` are the UTC day and hour (two digits) of the request.
"""

import narwhals as nw

from include.transforms.clickstream import HOUR, of_hour

ENTRY = (
    "line_id",
    "event_time",
    "client",
    "ident",
    "remote_user",
    "request",
    "method",
    "path",
    "query",
    "protocol",
    "status",
    "bytes",
    "referrer",
    "agent",
)
"""Columns that say what a line was; `line_id` stands for all of them."""


def web_logs(lines: nw.LazyFrame) -> nw.LazyFrame:
    """Each distinct line once, with `copies`, how many of it there are."""
    found = lines.group_by(list(ENTRY)).agg(nw.len().cast(nw.Int64).alias("copies"))
    return found.with_columns(*of_hour()).select(*ENTRY, "copies", *HOUR)


def status_requests(web_logs: nw.LazyFrame) -> nw.LazyFrame:
    """Requests, bytes and distinct clients by status, in an hour."""
    found = web_logs.group_by(["status", *HOUR]).agg(
        nw.col("copies").sum().cast(nw.Int64).alias("requests"),
        (nw.col("bytes").fill_null(0) * nw.col("copies")).sum().cast(nw.Int64).alias("bytes"),
        nw.col("client").n_unique().cast(nw.Int64).alias("clients"),
    )
    return found.select("status", "requests", "bytes", "clients", *HOUR)


def page_requests(web_logs: nw.LazyFrame) -> nw.LazyFrame:
    """Requests, errors (a status of 400 or more) and bytes of each path, in an hour; without what was no HTTP."""
    requests = web_logs.filter(~nw.col("path").is_null()).with_columns(
        nw.when(nw.col("status") >= 400).then(nw.col("copies")).otherwise(nw.lit(0)).alias("errors"),
        (nw.col("bytes").fill_null(0) * nw.col("copies")).alias("bytes"),
    )
    sums = {"copies": "requests", "errors": "errors", "bytes": "bytes"}
    found = requests.group_by(["path", *HOUR]).agg(
        *(nw.col(column).sum().cast(nw.Int64).alias(name) for column, name in sums.items())
    )
    return found.select("path", *sums.values(), *HOUR)
