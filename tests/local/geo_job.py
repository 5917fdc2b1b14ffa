"""A program of the clusters' tests: visits and what they follow from, on an engine, as a Glue job would compute them.

`python -m tests.local.geo_job ENGINE FOLDER` reads the city's tables in FOLDER and writes `<ENGINE>/` beside them.
"""

import sys
from pathlib import Path

import pyarrow.parquet as pq

from include.jobs import engine
from include.jobs.engine import Engine
from include.transforms import attribution, privacy, visits

ZONE = "America/Fortaleza"
KEYS = {"visits": ("user_id", "establishment_id", "moment"), "attribution": ("establishment_id", "month")}


def run(on: Engine, folder: Path) -> None:
    establishments = pq.read_table(folder / "establishments" / "0.parquet")
    grid = visits.Grid.over(establishments)
    rows = {table: privacy.consented(on.read([f"{folder}/{table}/"])) for table in ("locations", "interactions")}
    near = on.persist(visits.visits(rows["locations"], on.take(grid.cells(establishments)), grid))
    touches = on.persist(attribution.touches(rows["interactions"]))
    shares = attribution.attribution(attribution.attributed(near, touches), ZONE)
    on.write_sorted(near, f"{folder}/{on.name}/visits/", KEYS["visits"])
    on.write_months(shares, f"{folder}/{on.name}/attribution/", KEYS["attribution"])


if __name__ == "__main__":
    with engine.chosen(sys.argv[1]) as chosen:
        if chosen.name == "dask":
            chosen.rows = 5_000  # a dozen partitions, as of a real city's tables
        run(chosen, Path(sys.argv[2]))
