"""Everything in one go: sales into Snowflake, files into the landing zone, the streams, the DAGs, what came out."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

from local import airflow, dag_runs, geo, lakehouse, load, show, stack, streams
from local.aws import settings
from local.aws.settings import Settings
from local.dag_runs import Run, Runners
from local.data.marketplace import UNTIL
from local.stack import Running

PRODUCTS, LAKEHOUSE = "advanced_products", "sales_lakehouse"


def run(state: Path, started: Callable[[], Running], client: str, sales: Path | None, scale: float) -> None:
    """Loads a client's sales and a marketplace's files, runs the DAGs on them at once, and shows what was published.

    Then come the streams, and the ads and visits of a city: see `local.streams.run` and `local.geo.run`.

    Args:
        state: The stack's state directory.
        started: Gives the running stack, and starts it where none runs.
        client: A client with a contract.
        sales: The client's own file; None generates sales.
        scale: Of generated sales; 1.0 is about 200 000 lines.

    Raises:
        LoadError: The sales can't be loaded.
        LandError: The files can't be made.
        RunError: A DAG run failed; what products published all the same is shown.
        StreamsError: The streams failed, or what they are counted by differs.
    """
    began = time.monotonic()
    # Each takes seconds and waits for no other.
    with ExitStack() as until_the_end, ThreadPoolExecutor(4) as beside:
        starting = beside.submit(started)
        generating = beside.submit(lakehouse.generate, state, scale)
        mapping = beside.submit(geo.generate, state, geo.SCALE * scale)
        preparing = beside.submit(_runners, state, until_the_end)
        load_into = load.prepare(state, client, sales, scale)
        running = starting.result()
        loaded = load_into(running.snowflake_port)
        settings.use(Settings(state, running.port))
        landed = lakehouse.land(generating.result(), UNTIL)
        print(f"{len(landed)} files of a marketplace are in {lakehouse.LANDING}/{UNTIL}", flush=True)
        runners, environment = preparing.result(), stack.shell_environment(state, running)
        products = Run(PRODUCTS, {"client": client, "report_date": loaded.report_date.isoformat()})
        failures = runners.side_by_side([[products], [Run(LAKEHOUSE, {"load_date": UNTIL.isoformat()})]], environment)
        print()
        if failures:
            # What other products published all the same; the failure is told after it.
            with suppress(show.ShowError):
                show.show(state, client, loaded.report_date)
            raise airflow.RunError("; ".join(failures))
        show.show(state, client, loaded.report_date)
        lakehouse.show(UNTIL)
        print(f"\nProducts and lakehouse after {time.monotonic() - began:.0f} s", flush=True)
        streams.run(state, running, runners, environment)
        print(f"\nStreams after {time.monotonic() - began:.0f} s", flush=True)
        geo.run(mapping.result(), state, runners, environment)
    print(f"\nDone in {time.monotonic() - began:.0f} s. Look around: make up")


def _runners(state: Path, until_the_end: ExitStack) -> Runners:
    environment = {**os.environ, **airflow.settings(state)}
    airflow.migrate(state, environment)
    return until_the_end.enter_context(dag_runs.runners(state, environment))
