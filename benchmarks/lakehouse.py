"""Bronze to gold of a generated marketplace: our transforms beside Polars by hand, SQL on DuckDB, and SQL on Spark.

Each contender has a process of its own, one after the other, reads the same bronze Parquet, writes every silver and
gold table as Parquet (zstd), and its gold tables must equal ours. Seconds are of the work, on the clock and of the
processors (all threads and child processes); those of the process have the start-up in them, Spark's as well. Peak
memory is of the process and its children.

With --glue, the three jobs run through the local stack's Glue instead, from landed CSV to gold, each file a day.

`python -m benchmarks.lakehouse [--scales 1 100 1000] [--contenders …]`
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import narwhals as nw
import polars as pl
import psutil
from polars.testing import assert_frame_equal

from benchmarks import lakehouse_peers as peers
from include.transforms import gold, silver
from local.data import marketplace
from local.data.marketplace import TABLES, UNTIL

GOLD = {
    "wide_sales": ["order_id", "order_item_id"],
    "daily_sales": ["order_date", "seller_id", "category", "customer_state"],
    "customer_rfm": ["customer_unique_id"],
}
"""The tables that are compared, and their keys."""

Read = Callable[[Path], nw.LazyFrame]
Write = Callable[[nw.LazyFrame, Path], None]


def ours(bronze: Path, output: Path, read: Read, write: Write, *, with_rejected: bool = False) -> None:
    """The project's transforms, a table at a time, as the jobs run them."""

    def save(name: str, made: silver.Silver | nw.LazyFrame) -> nw.LazyFrame:
        rows = made.accepted if isinstance(made, silver.Silver) else made
        write(rows, output / f"{name}.parquet")
        if with_rejected and isinstance(made, silver.Silver):
            write(made.rejected, output / f"{name}_rejected.parquet")
        return read(output / f"{name}.parquet")

    raw = {table: read(bronze / f"{table}.parquet") for table in TABLES}
    customers = save("customers", silver.customers(raw["customers"]))
    sellers = save("sellers", silver.sellers(raw["sellers"]))
    products = save("products", silver.products(raw["products"]))
    translation = save("category_translation", silver.category_translation(raw["category_translation"]))
    geolocation = save("geolocation", silver.geolocation(raw["geolocation"]))
    orders = save("orders", silver.orders(raw["orders"], customers))
    items = save("order_items", silver.order_items(raw["order_items"], orders, products, sellers))
    wide = save(
        "wide_sales",
        gold.wide_sales(
            order_items=items,
            orders=orders,
            customers=customers,
            sellers=sellers,
            products=products,
            payments=save("payments", silver.order_payments(raw["order_payments"], orders)),
            reviews=save("reviews", silver.order_reviews(raw["order_reviews"], orders)),
            geolocation=geolocation,
            category_translation=translation,
        ),
    )
    save("daily_sales", gold.daily_sales(wide))
    save("customer_rfm", gold.customer_rfm(wide, UNTIL))


def _on_polars(bronze: Path, output: Path, *, with_rejected: bool = False) -> None:
    ours(
        bronze,
        output,
        lambda file: nw.from_native(pl.scan_parquet(file)),
        lambda rows, file: rows.to_native().sink_parquet(file),
        with_rejected=with_rejected,
    )


def _on_spark(bronze: Path, output: Path, session: Any) -> None:
    ours(
        bronze,
        output,
        lambda file: nw.from_native(session.read.parquet(str(file))),
        lambda rows, file: rows.to_native().write.mode("overwrite").parquet(str(file)),
    )


CONTENDERS: dict[str, Callable[[Path, Path, Any], None]] = {
    "ours on Polars": lambda bronze, output, _: _on_polars(bronze, output),
    "ours on Polars, and the rejected rows": lambda bronze, output, _: _on_polars(bronze, output, with_rejected=True),
    "Polars by hand": lambda bronze, output, _: peers.polars_by_hand(bronze, output, UNTIL),
    "DuckDB SQL": lambda bronze, output, _: peers.duckdb_sql(bronze, output, UNTIL),
    "PySpark SQL": lambda bronze, output, session: peers.spark_sql(bronze, output, UNTIL, session),
    "ours on PySpark": lambda bronze, output, session: _on_spark(bronze, output, session),
}
_PEERS = ("Polars by hand", "DuckDB SQL")


def bronze_of(directory: Path, scale: float) -> Path:
    """A generated marketplace as bronze Parquet; made only once in a directory."""
    bronze = directory / f"bronze-{scale:g}"
    if not (bronze / "complete").exists():
        bronze.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory) as landing:
            made = marketplace.generate(Path(landing), scale, format="parquet")
            for table in TABLES:
                file = made.file(table)
                pl.scan_parquet(file).with_row_index("row_number", offset=1).with_columns(
                    pl.col("row_number").cast(pl.Int64),
                    load_time=pl.lit(datetime(2018, 9, 1, 3)),
                    source_file=pl.lit(file.name),
                ).sink_parquet(bronze / f"{table}.parquet")
        (bronze / "complete").touch()
    return bronze


def measure(contender: str, bronze: Path, output: Path) -> dict[str, float]:
    """Runs a contender in a process of its own: seconds of the work and of the process, and peak MiB."""
    output.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "benchmarks.lakehouse", "--run", contender, str(bronze), str(output)]
    began, peak = time.perf_counter(), 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            peak = max(peak, _resident(process.pid))
            time.sleep(0.05)
        whole = time.perf_counter() - began
        assert process.stdout
        lines = process.stdout.read().splitlines()
    if process.returncode:
        raise RuntimeError(f"{contender} failed with exit code {process.returncode}; its messages are above")
    return {**json.loads(lines[-1]), "process": whole, "memory": peak / 2**20}


def _resident(pid: int) -> int:
    total = 0
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for member in family:
        try:
            total += member.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def run(contender: str, bronze: Path, output: Path) -> None:
    """Runs a contender in this process and prints the seconds of its work."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    session = peers.spark_session() if "PySpark" in contender else None
    began, processors = time.perf_counter(), _processor_seconds()
    CONTENDERS[contender](bronze, output, session)
    print(json.dumps({"work": time.perf_counter() - began, "processor": _processor_seconds() - processors}))


def _processor_seconds() -> float:
    own = psutil.Process()
    times = [member.cpu_times() for member in [own, *own.children(recursive=True)]]
    return sum(spent.user + spent.system for spent in times)


def through_glue(scale: float, directory: Path) -> None:
    """Runs landing → bronze → silver → gold through the local Glue; prints seconds, rows and peak MiB of each run."""
    from local import endpoints
    from local.aws import cloudformation, s3
    from local.aws.server import Server
    from local.aws.settings import Settings, client
    from local.stack import LAKE

    server = Server(Settings(directory / f"stack-{scale:g}", 0)).start()
    try:
        endpoints.upload_code()
        cloudformation.deploy(endpoints.TEMPLATE, "vitrine", endpoints.template_parameters())
        made = marketplace.generate(s3.path(LAKE, f"landing/olist/{UNTIL}/"), scale)
        s3.adopt(LAKE, "landing/")
        listed = client("s3").list_objects_v2(Bucket=LAKE, Prefix="landing/")["Contents"]
        files = [
            {
                "table": next(table for table in TABLES if made.file(table).name == Path(item["Key"]).name),
                "key": item["Key"],
                "load_date": UNTIL.isoformat(),
                "landed_at": item["LastModified"].isoformat(),
                "bytes": item["Size"],
                "etag": item["ETag"].strip('"'),
                "skip": None,
            }
            for item in listed
        ]
        size = sum(file["bytes"] for file in files) / 2**20
        print(f"\n{scale:g}× through Glue: {sum(made.rows.values()):,} rows, {size:,.0f} MiB of CSV\n")
        print("| run | s | rows/s | peak MiB |\n|---|--:|--:|--:|")

        def run(layer: str, **arguments: Any) -> dict[str, Any]:
            for name, value in arguments.items():
                if not isinstance(value, str):
                    s3.put(f"s3://{LAKE}/runs/{name}.json", json.dumps(value).encode())
                    arguments[name] = f"s3://{LAKE}/runs/{name}.json"
            given = {f"--{name.replace('_', '-')}": value for name, value in arguments.items()}
            given |= {"--version": "v", "--report": f"s3://{LAKE}/runs/{layer}-report.json"}
            began, peak, glue = time.perf_counter(), 0, client("glue")
            started = glue.start_job_run(JobName=f"vitrine-{layer}", Arguments=given)["JobRunId"]
            while True:
                found = glue.get_job_run(JobName=f"vitrine-{layer}", RunId=started)["JobRun"]
                if found["JobRunState"] not in ("STARTING", "RUNNING"):
                    break
                peak = max(peak, _resident(os.getpid()) - psutil.Process().memory_info().rss)
                time.sleep(0.1)
            seconds = time.perf_counter() - began
            if found["JobRunState"] != "SUCCEEDED":
                raise RuntimeError(f"{layer}: {found.get('ErrorMessage', found['JobRunState'])}")
            rows = sum(made.rows.values())
            print(f"| {layer} | {seconds:.2f} | {rows / seconds:,.0f} | {peak / 2**20:,.0f} |", flush=True)
            return json.loads(s3.path(LAKE, f"runs/{layer}-report.json").read_bytes())

        bronze = run("bronze", files=files)
        run("silver", inputs={part["table"]: [part["location"]] for part in bronze["partitions"]})
        wide = run("gold", silver_version="v")["tables"]["wide_sales"]
        print(f"\n{wide['rows_out']:,} items of {len(wide['days'])} days, Σ price {wide['money']['price']}")
    finally:
        server.stop()
        shutil.rmtree(directory / f"stack-{scale:g}")


def compare(ours: Path, theirs: Path) -> None:
    """Raises AssertionError, naming the table, unless the gold tables are equal: distances to 2 m, all else exactly."""
    for table, key in GOLD.items():
        expected, got = (_canonical(directory / f"{table}.parquet", key) for directory in (ours, theirs))
        try:
            assert_frame_equal(got.select(expected.columns), expected, check_exact=False, abs_tol=0.002, rel_tol=0)
        except AssertionError as error:
            error.add_note(f"{table} of {theirs} differs from that of {ours}")
            raise


def _canonical(file: Path, key: list[str]) -> pl.DataFrame:
    rows = pl.scan_parquet(f"{file}/*.parquet" if file.is_dir() else file)
    casts = {pl.Decimal: pl.Decimal(18, 2), pl.Datetime: pl.Datetime("us")}
    columns = []
    for name, dtype in rows.collect_schema().items():
        column = pl.col(name).dt.replace_time_zone(None) if isinstance(dtype, pl.Datetime) else pl.col(name)
        columns.append(column.cast(pl.Int64 if dtype.is_integer() else casts.get(type(dtype), dtype)))
    return rows.select(columns).sort(key).collect()


def main() -> None:
    """Measures, compares and prints a Markdown table for each scale."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lakehouse", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--scales", type=float, nargs="+", default=[1, 100], help="1000 is 5.6 million items (1 100)")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), metavar="NAME")
    parser.add_argument("--glue", action="store_true", help="run the jobs through the local Glue")
    parser.add_argument("--directory", type=Path, help="where data are made and kept (a temporary one)")
    parser.add_argument("--run", nargs=3, metavar=("NAME", "BRONZE", "OUTPUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run(options.run[0], Path(options.run[1]), Path(options.run[2]))
        return
    with tempfile.TemporaryDirectory() as temporary:
        directory = options.directory or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        for scale in options.scales:
            if options.glue:
                through_glue(scale, directory)
            else:
                report(scale, directory, options.contenders)


def report(scale: float, directory: Path, contenders: list[str]) -> None:
    """Measures the contenders at a scale and prints the table."""
    bronze = bronze_of(directory, scale)
    rows = sum(pl.scan_parquet(bronze / f"{table}.parquet").select(pl.len()).collect().item() for table in TABLES)
    reference = "ours on Polars"
    figures = {}
    for contender in dict.fromkeys([reference, *contenders]):
        output = directory / f"output-{scale:g}" / contender.replace(" ", "-").replace(",", "")
        figures[contender] = measure(contender, bronze, output)
        compare(directory / f"output-{scale:g}" / reference.replace(" ", "-"), output)
    own = figures[reference]
    print(f"\n{scale:g}×: {rows:,} bronze rows; all gold tables equal\n")
    print("| contender | s | rows/s | × ours | CPU s | × ours | process s | × ours | peak MiB |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for contender, figure in figures.items():
        print(
            f"| {contender} | {figure['work']:.2f} | {rows / figure['work']:,.0f} | {figure['work'] / own['work']:.2f} "
            f"| {figure['processor']:.2f} | {figure['processor'] / own['processor']:.2f} "
            f"| {figure['process']:.2f} | {figure['process'] / own['process']:.2f} | {figure['memory']:,.0f} |"
        )
    if best := min((figures[peer]["work"] for peer in _PEERS if peer in figures), default=0.0):
        print(f"\nours / best of {' and '.join(_PEERS)}: {own['work'] / best:.2f} (goal: at most 1.2)", end="")
    if spark := figures.get("PySpark SQL"):
        print(
            f"; PySpark SQL / ours, whole processes: {spark['process'] / own['process']:.1f} (goal: at least 10)",
            end="",
        )
    print(flush=True)


if __name__ == "__main__":
    main()
