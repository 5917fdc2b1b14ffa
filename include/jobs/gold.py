"""Silver to gold: the wide table of sales and what is summed up from it, one sorted file for each day."""

from datetime import date, timedelta
from functools import partial
from typing import Any

import narwhals as nw

from include.jobs import arguments, engine, lake, totals
from include.jobs.engine import Engine
from include.tables import versions
from include.transforms import gold
from include.transforms.silver import TABLES

DAY = "order_date"
KEYS = {
    "wide_sales": ("order_id", "order_item_id"),
    "daily_sales": ("seller_id", "category", "customer_state"),
    "customer_rfm": ("customer_unique_id",),
}
"""What the rows are sorted by, within a day where the table has days."""
MONEY = {
    "wide_sales": ("price", "freight_value"),
    "daily_sales": ("revenue", "freight"),
    "customer_rfm": ("monetary",),
}


class NoSalesError(ValueError):
    """Silver has no order items, so there is no gold to make."""


def build(on: Engine, silver_version: str, bucket: str, version: str) -> dict[str, Any]:
    """Writes every table of gold.

    Args:
        on: The engine.
        silver_version: Version of the silver tables.
        bucket: The lake.
        version: Of what is written.

    Returns:
        The job's report.

    Raises:
        NoSalesError: there are no order items.
    """
    place = partial(versions.location, bucket, "gold", version=version)
    silver = {name: on.read([versions.location(bucket, "silver", name, silver_version)]) for name in TABLES}
    silver["payments"], silver["reviews"] = silver.pop("order_payments"), silver.pop("order_reviews")
    made = {"wide_sales": on.write_days(gold.wide_sales(**silver), place("wide_sales"), DAY, KEYS["wide_sales"])}
    daily = gold.daily_sales(made["wide_sales"])
    made["daily_sales"] = on.write_days(daily, place("daily_sales"), DAY, KEYS["daily_sales"])
    rfm = gold.customer_rfm(made["wide_sales"], _day_after_the_last(made["wide_sales"]))
    on.write_sorted(rfm, place("customer_rfm"), KEYS["customer_rfm"])
    made["customer_rfm"] = on.read([place("customer_rfm")])
    report = {}
    for name, rows in made.items():
        rows_out, money = totals.of(rows, MONEY[name])
        report[name] = {"rows_out": rows_out, "money": money}
        if name != "customer_rfm":
            report[name]["days"] = totals.by(rows, DAY)
        print(f"{name}: {rows_out} rows", flush=True)
    return {"tables": report}


def _day_after_the_last(wide_sales: nw.LazyFrame) -> date:
    (last,) = wide_sales.select(nw.col(DAY).max()).collect("pyarrow").to_native()[DAY].to_pylist()
    if last is None:
        raise NoSalesError("silver.order_items has no rows: see the quarantine of order_items for what became of them")
    return last + timedelta(days=1)


def main() -> None:
    """Runs the job."""
    given = arguments.read("silver_version", "version", "lake", "report", optional=("engine",))
    with engine.chosen(given.engine) as on:
        report = build(on, given.silver_version, given.lake, given.version)
        lake.write_json(lake.client(), given.report, report)


if __name__ == "__main__":
    main()
