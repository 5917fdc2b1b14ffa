"""A generated city: people whose phones record where they are, the ads that they see, and the visits that ads bring.

Parquet files `establishments`, `campaigns`, `interactions` and `locations`, and `truth.json`, what was planted. The
same arguments give the same rows. They are made and written a day at a time, so memory doesn't grow with the days.

`python -m local.data.city --help`
"""

from __future__ import annotations

import argparse
import json
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from local.data import city_days, city_world
from local.data.city_world import CATEGORIES, PERIODS, World

RECORDS = 1_000_000
"""Location records at scale 1."""
FROM, DAYS = date(2026, 7, 1), 92
ESTABLISHMENTS = 400
TABLES = ("establishments", "campaigns", "interactions", "locations")
TRUTH = "truth.json"

_FEWEST_USERS = 60
_FEWEST_ESTABLISHMENTS = 100


@dataclass(frozen=True)
class City:
    """A generated city on disk.

    Attributes:
        directory: Where the files are.
        rows: Number of rows of each table.
        truth: What was planted, as in `truth.json`.
    """

    directory: Path
    rows: dict[str, int]
    truth: dict[str, Any]

    def file(self, table: str) -> Path:
        """The file of one of `TABLES`."""
        return self.directory / f"{table}.parquet"


def world(scale: float = 1.0, seed: int = 1, establishments: int = ESTABLISHMENTS) -> World:
    """The city of a scale, without what happens in it: `city_days.of` is a day of it.

    Raises:
        ValueError: the scale makes no record, or there are too few establishments.
    """
    if RECORDS * scale < 1:
        raise ValueError(f"scale is {scale}, it must be at least {1 / RECORDS}")
    if establishments < _FEWEST_ESTABLISHMENTS:
        raise ValueError(f"establishments is {establishments}, it must be at least {_FEWEST_ESTABLISHMENTS}")
    users = max(round(city_world.USERS_PER_MILLION * RECORDS * scale / 1_000_000), _FEWEST_USERS)
    return city_world.build(seed, users, establishments)


def generate(
    directory: Path,
    scale: float = 1.0,
    seed: int = 1,
    start: date = FROM,
    days: int = DAYS,
    establishments: int = ESTABLISHMENTS,
) -> City:
    """Generates a city; files of the same names are replaced.

    Args:
        directory: Where to write; created if it isn't there.
        scale: 1.0 is a million location records; 100 is a hundred million.
        seed: Any whole number from 0.
        start: First day, of the city's own calendar.
        days: How many.
        establishments: How many.

    Raises:
        ValueError: the scale makes no record, there are too few establishments, or too many records for so few days.
    """
    city = world(scale, seed, establishments)
    total = round(RECORDS * scale)
    directory.mkdir(parents=True, exist_ok=True)
    made = City(directory, dict.fromkeys(TABLES, 0), {})
    people, brought = 0, np.zeros(len(city.campaign_ctr), dtype=np.int64)
    with ExitStack() as files:
        writers: dict[str, pq.ParquetWriter] = {}

        def add(table: str, rows: pl.DataFrame) -> None:
            arrow = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
            if table not in writers:
                writers[table] = files.enter_context(
                    pq.ParquetWriter(made.file(table), arrow.schema, compression="zstd")
                )
            writers[table].write_table(arrow)
            made.rows[table] += len(rows)

        add("establishments", city.establishments)
        add("campaigns", city.campaigns)
        for number in range(days):
            records = total * (number + 1) // days - total * number // days
            day = city_days.of(city, number, start + timedelta(number), records)
            add("locations", day.locations)
            add("interactions", day.interactions)
            people += day.people
            brought += day.brought
    made.truth.update(facts(city, brought) | {"rows": dict(made.rows), "active_days": people})
    (directory / TRUTH).write_text(json.dumps(made.truth, indent=2) + "\n", encoding="utf-8")
    return made


def facts(city: World, brought: np.ndarray) -> dict[str, Any]:
    """What `truth.json` says: campaigns with their rate and effect, hours of the categories, tastes of the panel."""
    names = CATEGORIES["category"].to_list()
    by_campaign = city.campaigns.unique("campaign_id", keep="first", maintain_order=True)
    return {
        "seed": city.seed,
        "zone": city_days.ZONE,
        "users": len(city.users),
        "refusing": int((~city.consent).sum()),
        "campaigns": [
            {
                "campaign_id": campaign,
                "establishment_id": establishment,
                "category": category,
                "ctr": float(city.campaign_ctr[i]),
                "effect": float(city.campaign_effect[i]),
                "visits_brought": int(brought[i]),
            }
            for i, (campaign, establishment, category) in enumerate(
                by_campaign.select("campaign_id", "establishment_id", "category").iter_rows()
            )
        ],
        "hours": {
            purpose: dict(zip(names, city_world.hours(purpose).round(4).tolist(), strict=True))
            for purpose in ("going", "looking")
        },
        "panel": [
            {
                "user_id": city.users[person],
                "consent": bool(city.consent[person]),
                "looks_at": {p: names[k] for p, k in zip(PERIODS, city.looks_at[person], strict=True)},
                "goes_to": {str(day): names[k] for day, k in enumerate(city.goes_to[person], start=1)},
            }
            for person in range(city.panel)
        ],
    }


def main() -> None:
    """Generates a city from the command line."""
    parser = argparse.ArgumentParser(prog="python -m local.data.city", description=__doc__.split("\n", 1)[0])
    parser.add_argument("directory", type=Path, help="where to write; files of the same names are replaced")
    parser.add_argument("--scale", type=float, default=1.0, help="1.0 is a million location records (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same rows (%(default)s)")
    parser.add_argument("--start", type=date.fromisoformat, default=FROM, help="first day, YYYY-MM-DD (%(default)s)")
    parser.add_argument("--days", type=int, default=DAYS, help="(%(default)s)")
    parser.add_argument("--establishments", type=int, default=ESTABLISHMENTS, help="(%(default)s)")
    options = parser.parse_args()
    try:
        city = generate(
            options.directory, options.scale, options.seed, options.start, options.days, options.establishments
        )
    except ValueError as error:
        parser.error(str(error))
    for table, rows in city.rows.items():
        print(f"{rows:>12,}  {city.file(table)}")


if __name__ == "__main__":
    main()
