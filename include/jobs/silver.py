"""Bronze to silver: every table from all of bronze, sound rows to silver, the others to quarantine."""

from collections.abc import Callable, Mapping
from typing import Any

import narwhals as nw

from include.jobs import arguments, bronze, engine, lake, totals
from include.jobs.engine import Engine
from include.tables import versions
from include.transforms import silver
from include.transforms.bronze import as_text
from include.transforms.silver import TABLES, Silver

Tables = Mapping[str, nw.LazyFrame]

BUILD: dict[str, Callable[[nw.LazyFrame, Tables], Silver]] = {
    "customers": lambda rows, _: silver.customers(rows),
    "sellers": lambda rows, _: silver.sellers(rows),
    "products": lambda rows, _: silver.products(rows),
    "category_translation": lambda rows, _: silver.category_translation(rows),
    "geolocation": lambda rows, _: silver.geolocation(rows),
    "orders": lambda rows, made: silver.orders(rows, made["customers"]),
    "order_items": lambda rows, made: silver.order_items(rows, made["orders"], made["products"], made["sellers"]),
    "order_payments": lambda rows, made: silver.order_payments(rows, made["orders"]),
    "order_reviews": lambda rows, made: silver.order_reviews(rows, made["orders"]),
}
"""How each table is made, those first that others refer to."""
MONEY = {"order_items": ("price", "freight_value"), "order_payments": ("payment_value",)}


class MissingTableError(ValueError):
    """Bronze has nothing of a table that can't be done without."""


def build(on: Engine, inputs: Mapping[str, list[str]], bucket: str, version: str) -> dict[str, Any]:
    """Writes every table of silver and its quarantine.

    Args:
        on: The engine.
        inputs: Table → locations of its partitions in bronze.
        bucket: The lake.
        version: Of what is written.

    Returns:
        The job's report.

    Raises:
        MissingTableError: nothing was delivered of a table that can't be done without.
    """
    _require_tables(inputs)
    made: dict[str, nw.LazyFrame] = {}
    report = {}
    for name, make in BUILD.items():
        rows = on.read(inputs.get(name, []), bronze.schema(name))
        accepted, rejected = make(rows, made)
        accepted_to = versions.location(bucket, "silver", name, version)
        rejected_to = versions.rejected(bucket, name, version)
        on.write(accepted, accepted_to)
        # One after the other: to compute at once what both have in common takes no less time, and twice the memory.
        on.write(as_text(TABLES[name], rejected), rejected_to)
        made[name] = on.read([accepted_to])
        rows_out, money = totals.of(made[name], MONEY.get(name, ()))
        reasons = totals.by(on.read([rejected_to]), "reason")
        report[name] = {
            "rows_in": totals.of(rows)[0],
            "rows_out": rows_out,
            "rejected": sum(reasons.values()),
            "reasons": reasons,
            "money": money,
        }
        print(f"{name}: {rows_out} rows, {report[name]['rejected']} rejected", flush=True)
    return {"tables": report}


def _require_tables(inputs: Mapping[str, list[str]]) -> None:
    if missing := [name for name, table in TABLES.items() if not inputs.get(name) and not table.optional]:
        raise MissingTableError(
            f"bronze has no rows of {', '.join(missing)}: deliver these tables first, silver needs them all"
        )


def main() -> None:
    """Runs the job."""
    given = arguments.read("inputs", "version", "lake", "report", optional=("engine",))
    s3 = lake.client()
    with engine.chosen(given.engine) as on:
        lake.write_json(s3, given.report, build(on, lake.read_json(s3, given.inputs), given.lake, given.version))


if __name__ == "__main__":
    main()
