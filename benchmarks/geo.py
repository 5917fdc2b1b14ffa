"""Visits and attribution: our transforms on each engine beside spatial indexes and SQL, with equal answers by hash.

    python -m benchmarks.geo [visits_1m] [visits_10m] [visits_100m] [attribution_1m] [--contenders NAME …]

- visits_*: location records in a city of 30 by 30 km with 5 000 establishments, three in ten of the records near one;
- attribution_1m: a million visits and a million interactions of 10 000 people at 10 establishments in a month.

Records are in memory when the time starts; building an index, or a grid, is part of the work. Peers that are not
installed are left out: `uv run --with geopandas python -m benchmarks.geo` brings geopandas, DuckDB downloads its
extension `spatial` by itself where it may, and scikit-learn and SciPy come with the algorithms.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
from datetime import datetime
from math import pi, sin
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks import measure

MODULE = "benchmarks.geo"
INPUTS = {"visits_1m": 1_000_000, "visits_10m": 10_000_000, "visits_100m": 100_000_000, "attribution_1m": 1_000_000}
ESTABLISHMENTS, RADIUS_M, EARTH_M = 5_000, 50.0, 6_371_008.8
CENTRE, HALF_DEGREES = (-3.75, -38.55), 0.135
START, WINDOW_HOURS = datetime(2026, 7, 1), 6
START_US = int((START - datetime(1970, 1, 1)).total_seconds()) * 1_000_000

VISITS = ("ours on Polars", "DuckDB, the same grid", "cKDTree", "BallTree", "geopandas", "DuckDB spatial")
ENGINES = ("ours on Dask", "ours on Spark")
ATTRIBUTION = ("ours on Polars", "DuckDB ASOF", "DuckDB range join", "merge_asof")


def prepare(name: str, path: Path) -> None:
    """Writes the tables of an input; moments are different, so a moment says which row it is of."""
    rng, rows = np.random.default_rng(12), INPUTS[name]
    if name.startswith("attribution"):
        for table in ("visits", "interactions"):
            moments = rng.choice(30 * 86_400_000, rows, replace=False) * 1000
            _attribution_rows(rng, moments).write_parquet(path.with_suffix(f".{table}"))
        return
    shops = np.array(CENTRE) + rng.uniform(-HALF_DEGREES, HALF_DEGREES, (ESTABLISHMENTS, 2))
    _shops(shops).write_parquet(path.with_suffix(".establishments"))
    points = np.array(CENTRE) + rng.uniform(-HALF_DEGREES, HALF_DEGREES, (rows, 2))
    near = rng.random(rows) < 0.3
    points[near] = shops[rng.integers(0, ESTABLISHMENTS, near.sum())] + rng.normal(0, 3e-4, (near.sum(), 2))
    frame = pl.DataFrame({"latitude": points[:, 0], "longitude": points[:, 1]}).select(
        pl.format("u{}", pl.Series(rng.integers(0, 100_000, rows))).alias("user_id"),
        "latitude",
        "longitude",
        pl.lit(START).dt.cast_time_unit("us") + pl.duration(microseconds=pl.int_range(pl.len())),
    )
    frame.rename({"literal": "moment"}).write_parquet(path.with_suffix(".locations"))


def _shops(points: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame({"latitude": points[:, 0], "longitude": points[:, 1]}).select(
        pl.format("{}", pl.int_range(pl.len())).alias("establishment_id"),
        pl.lit("games").alias("category"),
        "latitude",
        "longitude",
    )


def _attribution_rows(rng: np.random.Generator, moments: np.ndarray) -> pl.DataFrame:
    user, shop, ad = (rng.integers(0, top, len(moments)) for top in (10_000, 10, 3))
    return pl.DataFrame({"user": user, "shop": shop, "ad": ad}).select(
        pl.format("u{}", "user").alias("user_id"),
        pl.format("e{}", "shop").alias("establishment_id"),
        pl.lit("games").alias("category"),
        pl.format("c{}", "shop").alias("campaign_id"),
        pl.format("c{}-{}", "shop", "ad").alias("ad_id"),
        pl.when(pl.col("ad") == 0).then(pl.lit("click")).otherwise(pl.lit("view")).alias("action"),
        (pl.lit(START).dt.cast_time_unit("us") + pl.duration(microseconds=pl.Series(moments))).alias("moment"),
    )


def answer(first: Any, second: Any) -> dict[str, Any]:
    """Number and hash of pairs of whole numbers, in any order."""
    mixed = np.asarray(first).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.asarray(second).astype(np.uint64)
    mixed = (mixed ^ (mixed >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
    return {"pairs": len(mixed), "hash": f"{int((mixed ^ (mixed >> np.uint64(29))).sum(dtype=np.uint64)):016x}"}


def _near(latitude: Any, longitude: Any, shops: Any, pairs: Any) -> np.ndarray:
    """Which pairs of a record and an establishment are really nearer than the radius."""
    ping, shop = pairs
    north = np.sin(np.radians(latitude[ping] - shops[shop, 0]) / 2)
    east = np.sin(np.radians(longitude[ping] - shops[shop, 1]) / 2)
    shrunk = np.cos(np.radians(latitude[ping])) * np.cos(np.radians(shops[shop, 0]))
    return north * north + shrunk * east * east < sin(RADIUS_M / 2 / EARTH_M) ** 2


def _checked(frame: pl.DataFrame, shops: np.ndarray, ping: np.ndarray, shop: np.ndarray) -> dict[str, Any]:
    latitude, longitude = frame["latitude"].to_numpy(), frame["longitude"].to_numpy()
    kept = _near(latitude, longitude, shops, (ping, shop))
    return answer(ping[kept], shop[kept])


def visits_contender(contender: str, path: Path) -> None:
    """Finds all visits, and prints how long it took."""
    locations, establishments = (path.with_suffix(f".{name}") for name in ("locations", "establishments"))

    def of_frame(made: pl.DataFrame) -> dict[str, Any]:
        made = made.select(pl.col("moment").cast(pl.Datetime("us")).to_physical() - START_US, "establishment_id")
        return answer(made["moment"], made["establishment_id"].cast(pl.Int64))

    def load() -> Any:
        shops = pl.read_parquet(establishments)
        if contender == "ours on Dask":
            import dask.dataframe as dd

            return dd.read_parquet(str(locations), split_row_groups=True).persist(), shops
        if contender == "ours on Spark":
            from benchmarks.lakehouse_peers import spark_session

            session = spark_session()
            rows = session.read.parquet(str(locations)).cache()
            rows.count()
            return rows, shops
        if contender.startswith("DuckDB"):
            return _duckdb(locations=locations, establishments=establishments), shops
        return pl.read_parquet(locations), shops

    def work(loaded: Any) -> dict[str, Any]:
        rows, shops = loaded
        points = shops.select("latitude", "longitude").to_numpy()
        if contender.startswith("ours"):
            return of_frame(_ours(contender, rows, shops))
        if contender == "DuckDB, the same grid":
            return of_frame(_duckdb_grid(rows, shops))
        if contender == "DuckDB spatial":
            return _duckdb_spatial(rows)
        found = {"cKDTree": _kd_tree, "BallTree": _ball_tree, "geopandas": _geopandas}[contender](rows, points)
        return _checked(rows, points, *found)

    measure.measured(load, lambda: None, work)


def _ours(contender: str, rows: Any, shops: pl.DataFrame) -> pl.DataFrame:
    import narwhals as nw

    from include.transforms import visits

    table = shops.to_arrow(compat_level=pl.CompatLevel.oldest())
    grid = visits.Grid.over(table, RADIUS_M)
    cells: Any = pl.from_arrow(grid.cells(table))
    if contender == "ours on Polars":
        found = visits.visits(nw.from_native(rows.lazy()), nw.from_native(cells.lazy()), grid).to_native()
        return found.select("moment", "establishment_id").collect(engine="streaming")
    if contender == "ours on Dask":
        import dask.dataframe as dd

        small = nw.from_native(dd.from_pandas(cells.to_pandas(), npartitions=1))
    else:
        names = cells.columns
        small = nw.from_native(rows.sparkSession.createDataFrame(cells.rows(), names))
    found = visits.visits(nw.from_native(rows), small, grid).select("moment", "establishment_id")
    return found.collect("polars").to_native()


def _duckdb(**files: Path) -> Any:
    import duckdb

    connection = duckdb.connect()
    for name, file in files.items():
        connection.execute(f"CREATE TABLE {name} AS SELECT * FROM read_parquet('{file}')")
    return connection


def _duckdb_grid(connection: Any, shops: pl.DataFrame) -> pl.DataFrame:
    from include.transforms import visits

    table = shops.to_arrow(compat_level=pl.CompatLevel.oldest())
    grid = visits.Grid.over(table, RADIUS_M)
    connection.register("cells", grid.cells(table))
    return _taken(
        connection,
        f"""
        SELECT l.moment, c.establishment_id
        FROM locations AS l
        JOIN cells AS c
            ON floor((l.latitude + 90) / {grid.height})::BIGINT * {2**31}
            + floor((l.longitude + 180) * {grid.columns * (1 - 1e-15) / 360!r})::BIGINT = c.cell
        WHERE pow(sin(radians(l.latitude - c.place_latitude) / 2), 2)
            + cos(radians(l.latitude)) * cos(radians(c.place_latitude))
            * pow(sin(radians(l.longitude - c.place_longitude) / 2), 2) < {sin(RADIUS_M / 2 / EARTH_M) ** 2!r}
        """,
    )


def _taken(connection: Any, query: str) -> pl.DataFrame:
    taken: Any = pl.from_arrow(connection.sql(query).to_arrow_table())
    return taken


def _duckdb_spatial(connection: Any) -> dict[str, Any]:
    """Boxes a little larger than the radius, joined by DuckDB's own spatial join, then the exact distance."""
    connection.execute("INSTALL spatial; LOAD spatial")
    margin = np.degrees(RADIUS_M / EARTH_M) * 1.01
    found = connection.execute(
        f"""
        SELECT epoch_us(l.moment) - {START_US} AS ping,
            e.establishment_id::BIGINT AS shop
        FROM locations AS l JOIN establishments AS e
            ON ST_Intersects(ST_Point(l.longitude, l.latitude), ST_MakeEnvelope(
                e.longitude - {margin}, e.latitude - {margin}, e.longitude + {margin}, e.latitude + {margin}))
        WHERE pow(sin(radians(l.latitude - e.latitude) / 2), 2) + cos(radians(l.latitude)) * cos(radians(e.latitude))
            * pow(sin(radians(l.longitude - e.longitude) / 2), 2) < {sin(RADIUS_M / 2 / EARTH_M) ** 2!r}
        """
    ).fetchnumpy()
    return answer(found["ping"], found["shop"])


def _flat(found: Any) -> tuple[np.ndarray, np.ndarray]:
    counts = np.fromiter(map(len, found), dtype=np.int64, count=len(found))
    some = [each for each in found if len(each)]
    return np.repeat(np.arange(len(found)), counts), np.concatenate(some).astype(np.int64)


def _kd_tree(rows: pl.DataFrame, shops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points on the unit sphere, chords instead of arcs; two threads."""
    from scipy.spatial import cKDTree

    def vectors(latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
        up, across = np.radians(latitude), np.radians(longitude)
        return np.stack([np.cos(up) * np.cos(across), np.cos(up) * np.sin(across), np.sin(up)], axis=1)

    tree = cKDTree(vectors(*shops.T))
    points = vectors(rows["latitude"].to_numpy(), rows["longitude"].to_numpy())
    return _flat(tree.query_ball_point(points, 2 * sin(RADIUS_M / 2 / EARTH_M) * 1.0001, workers=2))


def _ball_tree(rows: pl.DataFrame, shops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.neighbors import BallTree

    tree = BallTree(np.radians(shops), metric="haversine")
    points = rows.select("latitude", "longitude").to_numpy() * (pi / 180)
    return _flat(tree.query_radius(points, RADIUS_M / EARTH_M * 1.0001))


def _geopandas(rows: pl.DataFrame, shops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """On a plane in metres, with a little more than the radius; the exact distance comes after it."""
    import geopandas as gpd

    scale = np.radians(1) * EARTH_M * np.array([np.cos(np.radians(CENTRE[0])), 1])

    def plane(latitude: np.ndarray, longitude: np.ndarray) -> gpd.GeoDataFrame:
        x, y = (longitude - CENTRE[1]) * scale[0], (latitude - CENTRE[0]) * scale[1]
        return gpd.GeoDataFrame(geometry=gpd.points_from_xy(x, y))

    points = plane(rows["latitude"].to_numpy(), rows["longitude"].to_numpy())
    joined = points.sjoin(plane(*shops.T), predicate="dwithin", distance=RADIUS_M * 1.02)
    return joined.index.to_numpy(), joined["index_right"].to_numpy()


def attribution_contender(contender: str, path: Path) -> None:
    """Finds the last touch of each visit, and prints how long it took."""
    files = {name: path.with_suffix(f".{name}") for name in ("visits", "interactions")}

    def load() -> Any:
        if contender.startswith("DuckDB"):
            return _duckdb(**files)
        frames = {name: pl.read_parquet(file) for name, file in files.items()}
        return {k: v.to_pandas().sort_values("moment") for k, v in frames.items()} if "asof" in contender else frames

    def work(loaded: Any) -> dict[str, Any]:
        if contender == "ours on Polars":
            import narwhals as nw

            from include.transforms import attribution

            lazy = {name: nw.from_native(frame.lazy()) for name, frame in loaded.items()}
            touches = nw.from_native(attribution.touches(lazy["interactions"]).to_native().collect().lazy())
            made = attribution.attributed(lazy["visits"], touches, WINDOW_HOURS).to_native()
            found = made.collect()
        elif contender == "merge_asof":
            import pandas as pd

            touches = loaded["interactions"].assign(touched_at=loaded["interactions"]["moment"])
            touches = touches.sort_values(["moment", "action", "ad_id"]).drop_duplicates(
                ["user_id", "establishment_id", "moment"]
            )
            made = pd.merge_asof(
                loaded["visits"][["user_id", "establishment_id", "moment"]],
                touches.drop(columns="category"),
                on="moment",
                by=["user_id", "establishment_id"],
                tolerance=pd.Timedelta(hours=WINDOW_HOURS),
            )
            found = pl.from_pandas(made[["moment", "touched_at"]])
        else:
            found = _taken(loaded, _ATTRIBUTION_SQL[contender])
        touched = found.select("moment", "touched_at").drop_nulls()
        assert found.height == INPUTS["attribution_1m"]
        return answer(touched["moment"].to_physical(), touched["touched_at"].to_physical())

    measure.measured(load, lambda: None, work)


# Like ours, a row for each visit, with the ad and the kind of its last touch; "click" sorts before "view".
_ATTRIBUTION_SQL = {
    "DuckDB ASOF": f"""
        SELECT v.user_id, v.establishment_id, v.moment,
            CASE WHEN v.moment - i.at <= INTERVAL {WINDOW_HOURS} HOURS THEN i.at END AS touched_at,
            CASE WHEN v.moment - i.at <= INTERVAL {WINDOW_HOURS} HOURS THEN i.touch END AS touch
        FROM visits AS v
        ASOF LEFT JOIN (
            SELECT user_id, establishment_id, moment AS at,
                arg_min((campaign_id, ad_id, action), (action, ad_id)) AS touch
            FROM interactions GROUP BY ALL
        ) AS i
            ON v.user_id = i.user_id AND v.establishment_id = i.establishment_id AND v.moment >= i.at
    """,
    "DuckDB range join": f"""
        SELECT v.user_id, v.establishment_id, v.moment, max(i.at) AS touched_at, arg_max(i.touch, i.at) AS touch
        FROM visits AS v
        LEFT JOIN (
            SELECT user_id, establishment_id, moment AS at,
                arg_min((campaign_id, ad_id, action), (action, ad_id)) AS touch
            FROM interactions GROUP BY ALL
        ) AS i
            ON v.user_id = i.user_id AND v.establishment_id = i.establishment_id
            AND i.at BETWEEN v.moment - INTERVAL {WINDOW_HOURS} HOURS AND v.moment
        GROUP BY v.user_id, v.establishment_id, v.moment
    """,
}


def contenders(name: str) -> list[str]:
    """Those of an input that are installed; of a hundred million records, ours alone."""
    if name.startswith("attribution"):
        return list(ATTRIBUTION)
    if name == "visits_100m":
        return ["ours on Polars"]
    modules = {"geopandas": "geopandas", "ours on Dask": "dask", "ours on Spark": "pyspark", "BallTree": "sklearn"}
    named = [one for one in (*VISITS, *ENGINES) if importlib.util.find_spec(modules.get(one, "numpy"))]
    return [one for one in named if one != "DuckDB spatial" or _has_spatial()]


def _has_spatial() -> bool:
    import duckdb

    try:
        duckdb.connect().execute("INSTALL spatial; LOAD spatial")
    except duckdb.Error:
        return False
    return True


def main() -> None:
    """Runs the contenders of the inputs and compares their answers."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__.split("\n", 1)[0])
    parser.add_argument("inputs", nargs="*", help=f"of {', '.join(INPUTS)} (visits_1m attribution_1m)")
    parser.add_argument("--contenders", nargs="+", help="instead of all that are installed")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--prepare", help=argparse.SUPPRESS)
    parser.add_argument("--input", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.prepare:
        return prepare(options.prepare, options.input)
    if options.contender:
        run = attribution_contender if "attribution" in options.input.stem else visits_contender
        return run(options.contender, options.input)
    with tempfile.TemporaryDirectory() as folder:
        for name in options.inputs or ["visits_1m", "attribution_1m"]:
            path = measure.prepared(MODULE, name, Path(folder))
            found = measure.contend(MODULE, options.contenders or contenders(name), ["--input", str(path)], 1800)
            if len({str(one.result) for one in found}) != 1:
                sys.exit(f"{name}: answers differ: {[(one.contender, one.result) for one in found]}")
            result = found[0].result
            print(measure.markdown(name, found, f"{result['pairs']:,} pairs, hash {result['hash']}"), flush=True)
    return None


if __name__ == "__main__":
    main()
