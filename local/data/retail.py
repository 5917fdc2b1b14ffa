"""A generated retail world: a chain of pharmacies with customers, products, stores and fourteen months of sales.

The world is coherent: customers buy at their own rate until they drop out (BG/NBD), with their own budget (Gamma-Gamma)
and taste, in their own store. Known facts are planted in it and written beside the data, in `truth.json`: associated
products, customers and days that are anomalous, and how much dirt was strewn. The same arguments give the same bytes.

`python -m local.data.retail --help`
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from local.data import market, sales, shoppers, truth
from local.data.market import months_before

HISTORY_MONTHS = 14
LINES = 200_000
"""Sale lines at scale 1, about."""
SMALLEST_SCALE, LARGEST_SCALE = 0.005, 10_000
_LINES_PER_CUSTOMER = 9.5
_CUSTOMERS_PER_CHUNK = 10_000


class ScaleError(ValueError):
    """A world so small that the planted facts have no room in it, or so large that it has none on a disk."""


@dataclass(frozen=True)
class World:
    """A generated world on disk.

    Attributes:
        directory: Where `sales`, `customers`, `products`, `stores` (Parquet) and `truth` (JSON) are.
        start: First day of the sales.
        until: Day after the last day of the sales: the report date.
        truth: What was planted, and the totals of what was written.
    """

    directory: Path
    start: date
    until: date
    truth: dict[str, Any]

    @property
    def sales(self) -> Path:
        """The sales lines, in the columns of the `drogaria` contract."""
        return self.directory / "sales.parquet"

    @property
    def customers(self) -> Path:
        """A row for each customer: attributes, purchase rate, drop-out probability, and whether still active."""
        return self.directory / "customers.parquet"

    @property
    def products(self) -> Path:
        """A row for each product, with its list price and popularity."""
        return self.directory / "products.parquet"

    @property
    def stores(self) -> Path:
        """A row for each store, with its coordinates in degrees."""
        return self.directory / "stores.parquet"


def check_scale(scale: float) -> None:
    """Refuses a scale at which no world can be generated.

    Raises:
        ScaleError: it is no number, or too small for the planted facts to fit in, or too large.
    """
    if not SMALLEST_SCALE <= scale <= LARGEST_SCALE:
        raise ScaleError(f"scale is {scale}, it must be at least {SMALLEST_SCALE} and at most {LARGEST_SCALE:,}")


def generate(directory: Path, scale: float = 1.0, seed: int = 1, until: date | None = None) -> World:
    """Generates a world; what an earlier call left in the directory is replaced.

    Args:
        directory: Where to write; created if it isn't there.
        scale: 1.0 is about 200 000 sale lines, 20 000 customers and 12 stores. Memory doesn't grow with it.
        seed: The same scale, seed and date give the same bytes.
        until: Day after the last day of sales; the first of the current month by default.

    Raises:
        ScaleError: as :func:`check_scale`.
    """
    check_scale(scale)
    until = until or date.today().replace(day=1)
    start = months_before(until, HISTORY_MONTHS)
    directory.mkdir(parents=True, exist_ok=True)
    place = market.build(np.random.default_rng([seed, 0]), scale, start, until)
    world = World(directory, start, until, {"scale": scale, "seed": seed, "start": f"{start}", "until": f"{until}"})
    (directory / "truth.json").unlink(missing_ok=True)  # it is written last: its presence says that the rest is whole
    place.stores.write_parquet(world.stores)
    place.products.write_parquet(world.products)
    tally = truth.Tally()
    number = max(round(LINES * scale / _LINES_PER_CUSTOMER), 1)
    with (
        pq.ParquetWriter(world.sales, sales.SCHEMA, compression="zstd") as sales_file,
        pq.ParquetWriter(world.customers, shoppers.SCHEMA, compression="zstd") as customers_file,
    ):
        for chunk, first in enumerate(range(0, number, _CUSTOMERS_PER_CHUNK)):
            rng = np.random.default_rng([seed, 1, chunk])
            people = shoppers.people_of(rng, place, first, min(_CUSTOMERS_PER_CHUNK, number - first))
            sold, active = sales.write_up(rng, place, people, chunk, tally)
            people = people.with_columns(active=active).select(shoppers.SCHEMA.names)
            sales_file.write_table(sold.to_arrow().cast(sales.SCHEMA))
            customers_file.write_table(people.to_arrow().cast(shoppers.SCHEMA))
    world.truth.update(truth.facts(place, tally))
    (directory / "truth.json").write_text(json.dumps(world.truth, indent=2, ensure_ascii=False), encoding="utf-8")
    return world


def main() -> None:
    """Generates a world from the command line."""
    parser = argparse.ArgumentParser(prog="python -m local.data.retail", description=__doc__.split("\n", 1)[0])
    parser.add_argument("directory", type=Path, help="where to write; what is there is replaced")
    parser.add_argument("--scale", type=float, default=1.0, help="1.0 is about 200 000 sale lines (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same world (%(default)s)")
    parser.add_argument(
        "--until", type=date.fromisoformat, help="day after the last sale, YYYY-MM-DD (first of the current month)"
    )
    options = parser.parse_args()
    try:
        world = generate(options.directory, options.scale, options.seed, options.until)
    except ScaleError as error:
        parser.error(str(error))
    print(f"{world.truth['rows']:,} sale lines from {world.start} to {world.until} in {world.sales}")


if __name__ == "__main__":
    main()
