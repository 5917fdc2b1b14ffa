"""Location records to visits and active days, month by month: the step that reads all that phones recorded.

`--inputs` names a JSON document: `zone`; `months`, of each the locations of its records in bronze; and
`establishments`, the location of those that count.
"""

from collections.abc import Mapping
from typing import Any

import narwhals as nw

from include.jobs import arguments, engine, geo_tables, lake, totals
from include.jobs.engine import Engine
from include.tables import versions
from include.transforms import attribution, visits
from include.transforms.visits import Grid


def build(on: Engine, s3: Any, inputs: Mapping[str, Any], bucket: str, version: str) -> dict[str, Any]:
    """Writes both tables of some months.

    A record that was delivered twice is one visit: records of a person at the same moment and equally far from the
    establishment are not told apart. So the visits are compared, which are few, and not the records.

    Args:
        on: The engine.
        s3: A client.
        inputs: As the module says.
        bucket: The lake.
        version: Of what is written.

    Returns:
        The job's report.
    """
    zone = inputs["zone"]
    records = on.read(geo_tables.of_months(inputs["months"]), geo_tables.LOCATIONS)
    establishments = on.read([inputs["establishments"]], geo_tables.ESTABLISHMENTS).collect("pyarrow").to_native()
    grid = Grid.over(establishments)
    near = visits.visits(records, on.take(grid.cells(establishments)), grid).unique(list(visits.VISITS))
    days = attribution.active_days(records, zone)
    month = nw.col("day").dt.to_string("%Y-%m").alias("month")
    made = {
        "visits": (geo_tables.with_month(near, zone), ("user_id", "establishment_id", "moment", "distance_m")),
        "active_days": (days.with_columns(month), ("user_id", "day")),
    }
    report = {}
    for name, (rows, key) in made.items():
        location = versions.location(bucket, "silver", name, version)
        on.write_months(rows, location, key)
        counts = {month: count["rows"] for month, count in geo_tables.counted(on, s3, location).items()}
        rows_out = sum(counts.values())
        report[name] = {"layer": "silver", "location": location, "rows_out": rows_out, "months": counts}
        print(f"{name}: {rows_out} rows in {len(counts)} months", flush=True)
    return {"months": sorted(inputs["months"]), "rows_in": totals.of(records)[0], "tables": report}


def main() -> None:
    """Runs the job."""
    given = arguments.read("inputs", "version", "lake", "report", optional=("engine", "dask_scheduler"))
    s3 = lake.client()
    with engine.chosen(given.engine, given.dask_scheduler) as on:
        report = build(on, s3, lake.read_json(s3, given.inputs), given.lake, given.version)
    lake.write_json(s3, given.report, report)


if __name__ == "__main__":
    main()
