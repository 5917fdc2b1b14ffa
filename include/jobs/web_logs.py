"""The web server's log: raw files to bronze by hour of arrival, and bronze to requests and reports by their hour.

With `--files` the job loads raw files: hour of arrival → key, etag and size of each. With `--inputs` it refines:
`hours`, the hours to build, and `locations`, all of bronze that has requests of these hours.
"""

from collections.abc import Mapping
from typing import Any

from include.jobs import arguments, hourly, records, totals
from include.jobs.engine import Engine
from include.jobs.hourly import Refinery, Table
from include.transforms import clickstream, web_logs

TABLES = {
    "status_requests": Table("gold", ("status",), lambda made: web_logs.status_requests(made["web_logs"])),
    "page_requests": Table("gold", ("path",), lambda made: web_logs.page_requests(made["web_logs"])),
}
"""What is made of the requests."""


def refine(on: Engine, s3: Any, inputs: Mapping[str, list[str]], bucket: str, version: str) -> dict[str, Any]:
    """Writes the tables of some hours; arguments and report as of `include.jobs.clicks.refine`."""
    bronze = on.read(inputs["locations"], records.WEB_LOGS.schema).drop("dt", "hour")
    lines = hourly.of_hours(bronze.with_columns(*clickstream.of_hour()), inputs["hours"])
    refinery = Refinery(on, s3, bucket, version)
    kept = refinery.write_frame("web_logs", "silver", web_logs.web_logs(lines), ("event_time", "line_id"))
    if kept:
        for name, table in TABLES.items():
            refinery.write(name, table)
    rows_in = totals.of(lines)[0]
    return {"hours": inputs["hours"], "rows_in": rows_in, "duplicates": rows_in - kept, "tables": refinery.report}


def main() -> None:
    """Runs the job."""
    given = arguments.read("version", "lake", "report", optional=("files", "inputs", "engine"))
    records.run(records.WEB_LOGS, refine, given)


if __name__ == "__main__":
    main()
