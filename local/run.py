"""The main job in one go: sales into Snowflake, files into the landing zone, the DAGs, and what came out."""

import contextlib
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

from local import airflow, lakehouse, load, show, stack
from local.aws import settings
from local.aws.settings import Settings
from local.data.marketplace import UNTIL
from local.stack import Running

PRODUCTS, LAKEHOUSE = "advanced_products", "sales_lakehouse"


def run(state: Path, started: Callable[[], Running], client: str, sales: Path | None, scale: float) -> None:
    """Loads a client's sales and a marketplace's files, runs the DAGs on them, and shows what was published.

    Args:
        state: The stack's state directory.
        started: Gives the running stack, and starts it where none runs.
        client: A client with a contract.
        sales: The client's own file; None generates sales.
        scale: Of generated sales; 1.0 is about 200 000 lines.

    Raises:
        LoadError: The sales can't be loaded.
        LandError: The files can't be made.
        RunError: A DAG run failed; what was published all the same is shown.
    """
    began = time.monotonic()
    # Each takes seconds and waits for no other.
    with ThreadPoolExecutor(3) as beside:
        starting = beside.submit(started)
        generating = beside.submit(lakehouse.generate, state, scale)
        migrating = beside.submit(airflow.migrate, state, {**os.environ, **airflow.settings(state)})
        load_into = load.prepare(state, client, sales, scale)
        running = starting.result()
        loaded = load_into(running.snowflake_port)
        migrating.result()
    settings.use(Settings(state, running.port))
    landed = lakehouse.land(generating.result(), UNTIL)
    print(f"{len(landed)} files of a marketplace are in {lakehouse.LANDING}/{UNTIL}", flush=True)
    environment = {**os.environ, **stack.shell_environment(state, running)}
    _products(state, client, loaded.report_date, environment)
    print(f"DAG {LAKEHOUSE}", flush=True)
    airflow.run_dag(LAKEHOUSE, {"load_date": UNTIL.isoformat()}, state, environment)
    print()
    show.show(state, client, loaded.report_date)
    lakehouse.show(UNTIL)
    print(f"\nDone in {time.monotonic() - began:.0f} s. Look around: make up")


def _products(state: Path, client: str, report_date: date, environment: dict[str, str]) -> None:
    print(f"DAG {PRODUCTS}", flush=True)
    try:
        airflow.run_dag(PRODUCTS, {"client": client, "report_date": report_date.isoformat()}, state, environment)
    except airflow.RunError:
        # What other products published all the same; the failure is told after it.
        with contextlib.suppress(show.ShowError):
            print()
            show.show(state, client, report_date)
        raise
