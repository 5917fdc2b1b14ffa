"""The command line of the algorithms image: reads an extract, runs one product, publishes its files.

Exit codes: 0 done, 1 a fault of the program, 2 input or parameters that cannot be used (one line on standard error says
which and what to change), 3 AWS failed (network, credentials, permissions, throttling: the same run may succeed later),
143 stopped by SIGTERM, as when Batch terminates a job. A run that fails or is stopped removes what it wrote.
Progress goes to standard output.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import pkgutil
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

from include.algorithms import artefacts, parameters, sales, storage
from include.algorithms.outcome import InputError
from include.clients import contract

log = logging.getLogger("include.algorithms.main")

PRODUCTS = {
    "mba": ("basket", "market basket analysis: rules, store plan, online carousel"),
    "clv": ("clv", "customer lifetime value, and the products that stores lack for their customers"),
    "recommender": ("recommender", "recommendations per customer, and similar products"),
    "anomalies": ("anomalies", "customers and days far above the habit of a product group"),
}
"""Product → its module and what it does."""

EXIT_CODES = (
    "Exit codes: 0 done, 1 a fault of the program, 2 input or parameters that cannot be used, 3 AWS failed (network, "
    "credentials, permissions, throttling), 143 stopped by SIGTERM."
)
FIRST_REPORT_DATE = date(1900, 1, 1)

LIBRARIES = ("implicit", "mlxtend", "numba", "numpy", "polars", "scipy")


class Seconds(dict[str, float]):
    """Wall-clock seconds per step, logged as they pass."""

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measures the block as step `name`."""
        log.info("%s …", name)
        start = time.perf_counter()
        yield
        self[name] = round(time.perf_counter() - start, 3)
        log.info("%s done in %.2f s", name, self[name])


def execute(arguments: argparse.Namespace) -> None:
    """Runs one product from the extract to the published files.

    Raises:
        InputError: the contract, a parameter, the extract or a prefix cannot be used.
        ServiceError: AWS fails.
    """
    product = arguments.product
    module = _module(product)
    engine = arguments.engine or module.ENGINES[0]
    if engine not in module.ENGINES:
        raise InputError(f"--engine {engine}: {product} has {', '.join(module.ENGINES)}")
    try:
        client = contract.load(arguments.client)
    except contract.ContractError as error:
        raise InputError(str(error)) from error
    where = f"include/clients/{client.client}.yaml"
    chosen = parameters.fill(module.Parameters, _contracted(client, product, module), arguments.parameter, where)
    log.info("%s for %s until %s (exclusive), engine %s", product, client.title, arguments.report_date, engine)
    log.info("parameters: %s", ", ".join(f"{name}={value}" for name, value in chosen))

    seconds = Seconds()
    with seconds.step("read"):
        lines = sales.read(arguments.sales, module.COLUMNS, where)
    with seconds.step("run"):
        outcome = module.run(lines, chosen, arguments.report_date, engine)
    for reason, count in outcome.excluded.items():
        log.info("left out: %s lines, %s", f"{count:,}", reason)
    if outcome.reason:
        log.warning("%s", outcome.reason)

    stem = f"{arguments.report_date}_{client.client}"
    run = {"client": client.client, "report_date": arguments.report_date, "engine": engine, "rows_in": len(lines)}
    notes = {
        "run": {**run, "client": client.title, "reason": outcome.reason},
        "parameters": dict(chosen),
        "excluded": outcome.excluded,
    }
    with tempfile.TemporaryDirectory(prefix=f"{product}-") as scratch:
        folder = Path(scratch)
        with seconds.step("write"):
            names = artefacts.write_tables(outcome, folder, stem, client.language, client.currency, notes)
        report = {
            "product": product,
            **run,
            "rows_out": {name: table.height for name, table in outcome.tables.items()},
            "excluded": outcome.excluded,
            "reason": outcome.reason,
            "parameters": dict(chosen),
            "facts": outcome.facts,
            "seconds": seconds,
            "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
            "files": names,
        }
        artefacts.write_report(report, folder / f"run_{product}.json")
        with seconds.step("publish"):
            storage.publish(folder, [*names, f"run_{product}.json"], arguments.output)
    log.info("%d files below %s", len(names) + 1, arguments.output)


def _module(product: str) -> ModuleType:
    # One product's libraries need not load for another.
    return importlib.import_module(f"include.algorithms.{PRODUCTS[product][0]}")


def _contracted(client: contract.Contract, product: str, module: ModuleType) -> dict[str, Any]:
    """The contract's parameters of the product, and its category rules where the product has categories."""
    values = client.parameters.of(product)
    categories = {"categories": client.categories.allow, "denied_categories": client.categories.deny}
    known = module.Parameters.model_fields
    return values | {name: groups for name, groups in categories.items() if name in known}


def warm() -> None:
    """Compiles the kernels of every module that has some into numba's cache; a step of the image's build."""
    import include.algorithms as package

    for found in pkgutil.iter_modules(package.__path__):
        if found.name != "__main__":
            start = time.perf_counter()
            module = importlib.import_module(f"{package.__name__}.{found.name}")
            if hasattr(module, "warm"):
                module.warm()
                log.info("%s: kernels compiled in %.1f s", found.name, time.perf_counter() - start)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    main = argparse.ArgumentParser(
        prog="python -m include.algorithms",
        description="Runs one sales product on a client's extract; publishes Parquet, Excel and a report of the run.",
        epilog=EXIT_CODES,
    )
    commands: argparse._SubParsersAction[_ProductParser]
    commands = main.add_subparsers(dest="product", required=True, metavar="PRODUCT", parser_class=_ProductParser)
    for product, (_, purpose) in PRODUCTS.items():
        command = commands.add_parser(product, help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}.")
        command.product = product
        command.add_argument("--client", required=True, help="a client that has a contract in include/clients")
        command.add_argument(
            "--sales",
            required=True,
            metavar="PREFIX",
            help="the extract's Parquet files: s3://bucket/prefix or a folder",
        )
        command.add_argument(
            "--output", required=True, metavar="PREFIX", help="where the files go: s3://bucket/prefix or a folder"
        )
        command.add_argument(
            "--report-date",
            required=True,
            type=_date,
            metavar="YYYY-MM-DD",
            help="the day the report is for; sales on and after it do not count",
        )
        command.add_argument("--engine", help="how it is computed (default: the first of those named below)")
        command.add_argument(
            "--parameter",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="overrides a parameter of the contract; may be repeated; lists are separated by commas",
        )
    commands.add_parser("warm", help="compile the numeric kernels into numba's cache (when the image is built)")
    return main


class _ProductParser(argparse.ArgumentParser):
    """Its help ends with the product's engines and parameters, for which the product's module is loaded only then."""

    product: str | None = None

    def format_help(self) -> str:
        if self.product:
            module = _module(self.product)
            names = ", ".join(f"{name} ({field.default})" for name, field in module.Parameters.model_fields.items())
            self.epilog = f"Engines: {', '.join(module.ENGINES)}. Parameters and their defaults: {names}. {EXIT_CODES}"
        return super().format_help()


def _date(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    # fromisoformat reads 20240701 and 2024-W27-1 too.
    if day is None or day.isoformat() != text:
        raise argparse.ArgumentTypeError(f"{text!r} is no date of the form YYYY-MM-DD")
    if day < FIRST_REPORT_DATE:
        raise argparse.ArgumentTypeError(f"{text} is before {FIRST_REPORT_DATE}")
    return day


def _stop(*_: Any) -> None:
    """Ends the program at SIGTERM so that it cleans up; once, for the clean-up itself must not be stopped."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(128 + signal.SIGTERM)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    arguments = parser().parse_args(argv)
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stdout
    )
    logging.getLogger("include").setLevel(logging.INFO)
    try:
        if arguments.product == "warm":
            warm()
        else:
            execute(arguments)
    except InputError as error:
        print(f"{arguments.product}: {'; '.join(str(error).splitlines())}", file=sys.stderr)
        return 2
    except storage.ServiceError as error:
        print(f"{arguments.product}: AWS failed: {' '.join(str(error).split())}", file=sys.stderr)
        return 3
    except Exception as error:
        log.exception("%s failed", arguments.product)
        print(f"{arguments.product} failed: {type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    sys.exit(main())
