"""The main job in one go: sales into Snowflake, the DAG, and what came out."""

import contextlib
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from local import airflow, load, show, stack
from local.stack import Running

DAG = "advanced_products"


def run(state: Path, started: Callable[[], Running], client: str, sales: Path | None, scale: float) -> None:
    """Loads a client's sales, runs the products' DAG on them for real, and shows what was published.

    Args:
        state: The stack's state directory.
        started: Gives the running stack, and starts it where none runs.
        client: A client with a contract.
        sales: The client's own file; None generates sales.
        scale: Of generated sales; 1.0 is about 200 000 lines.

    Raises:
        LoadError: The sales can't be loaded.
        RunError: The DAG run failed; what was published all the same is shown.
    """
    began = time.monotonic()
    # Each of the three takes seconds and waits for no other.
    with ThreadPoolExecutor(2) as beside:
        starting = beside.submit(started)
        migrating = beside.submit(airflow.migrate, state, {**os.environ, **airflow.settings(state)})
        load_into = load.prepare(state, client, sales, scale)
        running = starting.result()
        loaded = load_into(running.snowflake_port)
        migrating.result()
    environment = {**os.environ, **stack.shell_environment(state, running)}
    print(f"DAG {DAG}", flush=True)
    try:
        airflow.run_dag(DAG, {"client": client, "report_date": loaded.report_date.isoformat()}, state, environment)
    except airflow.RunError:
        # What other products published all the same; the failure is told after it.
        with contextlib.suppress(show.ShowError):
            print()
            show.show(state, client, loaded.report_date)
        raise
    print()
    show.show(state, client, loaded.report_date)
    print(f"\nDone in {time.monotonic() - began:.0f} s. Look around: make up")
