"""Everything in one go: sales into Snowflake, files into the landing zone, the streams, the DAGs, what came out."""

import contextlib
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from local import airflow, lakehouse, load, show, stack, streams
from local.airflow import Run
from local.aws import settings
from local.aws.settings import Settings
from local.data.marketplace import UNTIL
from local.stack import Running

PRODUCTS, LAKEHOUSE = "advanced_products", "sales_lakehouse"


def run(state: Path, started: Callable[[], Running], client: str, sales: Path | None, scale: float) -> None:
    """Loads a client's sales and a marketplace's files, runs the DAGs on them at once, and shows what was published.

    Then come the streams: see `local.streams.run`.

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
        StreamsError: The streams failed, or what they are counted by differs.
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
    products = Run(PRODUCTS, {"client": client, "report_date": loaded.report_date.isoformat()})
    failures = airflow.run_side_by_side(
        [[products], [Run(LAKEHOUSE, {"load_date": UNTIL.isoformat()})]], state, environment
    )
    print()
    if not failures:
        show.show(state, client, loaded.report_date)
        lakehouse.show(UNTIL)
        streams.run(state, running, environment)
        print(f"\nDone in {time.monotonic() - began:.0f} s. Look around: make up")
        return
    # What other products published all the same; the failure is told after it.
    with contextlib.suppress(show.ShowError):
        show.show(state, client, loaded.report_date)
    raise airflow.RunError("; ".join(failures))
