"""The command line of the local stack: `python -m local --help`."""

import argparse
import os
import shlex
import sys
from datetime import date
from pathlib import Path
from typing import Any

from local import stack
from local.aws.settings import LOOPBACK, Image

_LARGEST_PORT = 65535


def main() -> int:
    """Parse the command line and run the command.

    Returns:
        The exit code: 0, or 1 when the command could not do what was asked.
    """
    arguments = command_line().parse_args()
    arguments.state = arguments.state.resolve()
    try:
        return arguments.run(arguments)
    except stack.StackError as error:
        print(error, file=sys.stderr)
        return 1


def command_line() -> argparse.ArgumentParser:
    """What `python -m local` understands."""
    parser = argparse.ArgumentParser(
        prog="python -m local", description="AWS and Snowflake on this machine, for the pipelines of this repository."
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--state",
        type=_folder,
        default=Path(".local"),
        help="where the stack keeps data and logs (default: .local)",
    )

    ports = argparse.ArgumentParser(add_help=False)
    for option, endpoint, port in (("--port", "AWS", 4566), ("--snowflake-port", "Snowflake", 4567)):
        summary = f"port of the {endpoint} endpoint, 0 for any free one (default: {port})"
        ports.add_argument(option, type=_port, default=port, metavar="PORT", help=summary)

    up = commands.add_parser("up", parents=[shared, ports], help="start the stack", description=_up.__doc__)
    up.add_argument(
        "--host",
        choices=(LOOPBACK, "0.0.0.0"),  # noqa: S104 - only when it is asked for
        default=LOOPBACK,
        help="address both endpoints listen on; they ask nobody for a password, so 0.0.0.0 is for containers "
        "(default: %(default)s)",
    )
    up.add_argument("--detach", action="store_true", help="return as soon as it is ready, and leave it running")
    up.add_argument(
        "--image",
        action="append",
        default=[],
        dest="images",
        metavar="NAME=COMMAND",
        help="run COMMAND for Batch jobs of the image NAME, in the current folder; may be repeated "
        f"(built in: {', '.join(stack.IMAGES)})",
    )
    up.set_defaults(run=_up)

    client = argparse.ArgumentParser(add_help=False)
    client.add_argument("--client", default="drogaria", help="whose: a file in include/clients (default: drogaria)")
    sales = argparse.ArgumentParser(add_help=False, parents=[client])
    sales.add_argument(
        "--scale", type=float, default=1.0, help="how many sales to generate, 1 being about 200 000 lines (default: 1)"
    )
    sales.add_argument(
        "--sales", type=Path, metavar="PATH", help="load this CSV, Parquet or Excel file instead of generating sales"
    )
    for command, run, summary, parents in (
        ("seed", _seed, "load sales into its Snowflake", [shared, sales]),
        ("run", _run, "load sales, run the products' DAG on them, show what came out", [shared, ports, sales]),
    ):
        commands.add_parser(command, parents=parents, help=summary, description=run.__doc__).set_defaults(run=run)

    land = commands.add_parser(
        "land", parents=[shared], help="put files into the landing zone", description=_land.__doc__
    )
    land.add_argument("folder", type=Path, nargs="?", help="of the files (default: generate a marketplace)")
    land.add_argument(
        "--day", type=date.fromisoformat, metavar="YYYY-MM-DD", help="of the delivery (default: 2018-09-01)"
    )
    land.add_argument(
        "--scale", type=float, default=1.0, help="how much to generate, 1 being 5 000 orders (default: 1)"
    )
    land.set_defaults(run=_land)

    visited = commands.add_parser(
        "land-geo", parents=[shared], help="put a city into the landing zone", description=_land_geo.__doc__
    )
    visited.add_argument("folder", type=Path, nargs="?", help="of the city's files (default: generate a city)")
    visited.add_argument("--by", choices=("month", "day"), default="month", help="a delivery each (default: month)")
    visited.add_argument(
        "--scale", type=float, default=0.2, help="how much to generate, 1 being a million records (default: 0.2)"
    )
    visited.set_defaults(run=_land_geo)

    _add_produce(commands, shared)
    looked_up = commands.add_parser(
        "orders", parents=[shared], help="look up a customer's orders", description=_orders.__doc__
    )
    looked_up.add_argument("customer", metavar="CUSTOMER", help="as in the stream's field Customer")
    looked_up.add_argument("--limit", type=int, default=20, help="lines on a page (default: %(default)s)")
    looked_up.add_argument("--page", metavar="TOKEN", help="which page: what the page before it ends with")
    looked_up.set_defaults(run=_orders)

    shown = commands.add_parser("show", parents=[shared, client], help="show a report", description=_show.__doc__)
    shown.add_argument(
        "--report-date", type=date.fromisoformat, metavar="YYYY-MM-DD", help="of which day (default: the latest report)"
    )
    shown.set_defaults(run=_show)

    for command, run, summary in (
        ("airflow", _airflow, "run Airflow's UI and scheduler beside it"),
        ("status", _status, "show ports, health and data"),
        ("env", _env, "print what a shell must export to use it"),
        ("down", _down, "stop it; its data stays"),
    ):
        commands.add_parser(command, parents=[shared], help=summary, description=run.__doc__).set_defaults(run=run)
    return parser


def _add_produce(commands: Any, shared: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "produce", parents=[shared], help="send records to a stream", description=_produce.__doc__
    )
    parser.add_argument("stream", choices=("clickstream", "orders", "positions", "weblogs"))
    parser.add_argument("--rate", type=float, default=50.0, help="records a second, 0 for a burst (default: 50)")
    parser.add_argument("--count", type=int, help="how many (default: all of a file, or until interrupted)")
    parser.add_argument("--resume", action="store_true", help="go on after the last record that was acknowledged")
    # Without defaults: a run that is resumed has its own, and only what is named must agree with them.
    for option, kind, summary in (
        ("--file", str, "replay it: a sales file in the columns of online_retail, or an Apache log"),
        ("--seed", int, "of what is generated and injected (default: 1)"),
        ("--start", str, "time of the first record, ISO 8601, UTC (default: now, or so that a burst ends now)"),
        ("--duplicates", float, "share of records sent twice"),
        ("--disorder", float, "seconds within which records are shuffled"),
        ("--lateness", float, "share of records held back by --late-by"),
        ("--late-by", float, "seconds (default: 300)"),
        ("--poison", float, "share of records each followed by an unusable one"),
        ("--burst-orders", int, "so many orders within one second, in the middle of --count"),
    ):
        parser.add_argument(option, type=kind, help=summary)
    parser.set_defaults(run=_produce)


def _folder(text: str) -> Path:
    path = Path(text).absolute()
    present = next(place for place in (path, *path.parents) if place.exists())
    if not present.is_dir():
        raise argparse.ArgumentTypeError(f"{present} is a file: name a folder, or one that doesn't exist yet")
    return path


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > _LARGEST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: choose one from 0 to {_LARGEST_PORT}")
    return int(text)


def _up(arguments: argparse.Namespace) -> int:
    """Start the stack and keep it running until it is interrupted, or in the background with --detach."""
    images = dict(_image(text) for text in arguments.images)
    if arguments.detach:
        stack.detach(arguments.state, arguments.host, arguments.port, arguments.snowflake_port, arguments.images)
    else:
        stack.up(arguments.state, arguments.host, arguments.port, arguments.snowflake_port, images)
    return 0


def _image(text: str) -> tuple[str, Image]:
    name, separator, command = text.partition("=")
    words = tuple(shlex.split(command))
    if not name or not separator or not words:
        raise stack.StackError(f"--image {text!r} is not NAME=COMMAND, as in --image forecast='python -m forecast'")
    return name, Image(words, Path.cwd())


def _seed(arguments: argparse.Namespace) -> int:
    """Load a client's sales into the running stack's Snowflake, generated or from a file."""
    running = stack.require_running(arguments.state)
    from local import load  # the Snowflake connector takes seconds to import

    try:
        load.seed(arguments.state, running.snowflake_port, arguments.client, arguments.sales, arguments.scale)
    except load.LoadError as error:
        raise stack.StackError(str(error)) from error
    return 0


def _land(arguments: argparse.Namespace) -> int:
    """Deliver a folder's files, or a generated marketplace's, to the lakehouse's landing zone in the running stack."""
    running = stack.require_running(arguments.state)
    from local import lakehouse
    from local.aws import settings
    from local.data.marketplace import UNTIL

    settings.use(settings.Settings(arguments.state, running.port))
    try:
        folder = arguments.folder or lakehouse.generate(arguments.state, arguments.scale)
        for key in lakehouse.land(folder, arguments.day or UNTIL):
            print(f"s3://{stack.LAKE}/{key}")
    except lakehouse.LandError as error:
        raise stack.StackError(str(error)) from error
    return 0


def _land_geo(arguments: argparse.Namespace) -> int:
    """Deliver a city's ads and location records to the geo lake's landing zone in the running stack."""
    running = stack.require_running(arguments.state)
    from local import geo
    from local.aws import settings

    settings.use(settings.Settings(arguments.state, running.port))
    try:
        folder = arguments.folder or geo.generate(arguments.state, arguments.scale)
        for key in geo.land(folder, arguments.by):
            print(f"s3://{stack.LAKE}/{key}")
    except geo.LandError as error:
        raise stack.StackError(str(error)) from error
    return 0


def _produce(arguments: argparse.Namespace) -> int:
    """Send records to a stream of the running stack, and print what was sent and injected, as JSON."""
    running = stack.require_running(arguments.state)
    from rich.console import Console

    from local import produce
    from local.aws import settings

    settings.use(settings.Settings(arguments.state, running.port))
    names = ("file", "seed", "start", "duplicates", "disorder", "lateness", "late_by", "poison", "burst_orders")
    made_of = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    options = produce.Options(arguments.stream, arguments.rate, arguments.count, arguments.resume, made_of)
    kinesis = settings.client("kinesis")
    try:
        if arguments.stream == "positions" and produce.furnish(settings.client("s3")):
            print(f"s3://{stack.LAKE}/{produce.ESTABLISHMENTS}: the establishments of the city", file=sys.stderr)
        stop = produce.interruptible()
        produce.report(produce.produce(arguments.state, kinesis, options, stop, Console(stderr=True)))
    except produce.ProduceError as error:
        raise stack.StackError(str(error)) from error
    return 0


def _orders(arguments: argparse.Namespace) -> int:
    """Look up a customer's lines in the order history, page by page."""
    running = stack.require_running(arguments.state)
    from local import orders
    from local.aws import settings

    settings.use(settings.Settings(arguments.state, running.port))
    try:
        orders.show(settings.client("dynamodb"), arguments.customer, arguments.limit, arguments.page)
    except orders.LookUpError as error:
        raise stack.StackError(str(error)) from error
    return 0


def _run(arguments: argparse.Namespace) -> int:
    """Start the stack if none runs, load a client's sales, run the DAGs, and show what was published."""
    from local import airflow, lakehouse, load, run, show, streams

    def started() -> stack.Running:
        found = stack.running(arguments.state)
        return found or stack.detach(arguments.state, LOOPBACK, arguments.port, arguments.snowflake_port, [])

    try:
        run.run(arguments.state, started, arguments.client, arguments.sales, arguments.scale)
    except (load.LoadError, lakehouse.LandError, airflow.RunError, show.ShowError, streams.StreamsError) as error:
        raise stack.StackError(str(error)) from error
    return 0


def _show(arguments: argparse.Namespace) -> int:
    """Show what the products of a client published into the lake; the stack need not run."""
    from local import show

    try:
        show.show(arguments.state, arguments.client, arguments.report_date)
    except show.ShowError as error:
        raise stack.StackError(str(error)) from error
    return 0


def _airflow(arguments: argparse.Namespace) -> int:
    """Run Airflow's UI, scheduler and triggerer on the running stack until interrupted."""
    running = stack.require_running(arguments.state)
    from local import airflow

    environment = {**os.environ, **stack.shell_environment(arguments.state, running)}
    try:
        airflow.migrate(arguments.state, environment)
        return airflow.standalone(arguments.state, environment)
    except airflow.RunError as error:
        raise stack.StackError(str(error)) from error


def _status(arguments: argparse.Namespace) -> int:
    """Show where the stack listens, whether it answers and what it keeps; exit code 1 if it does not run or answer."""
    running = stack.require_running(arguments.state)
    health = stack.health(arguments.state, running)
    words = {True: "answers", False: "DOES NOT ANSWER"}
    print(f"Stack on {arguments.state}, pid {running.pid}")
    print(f"  AWS        {running.endpoint}  {words[health.aws]}")
    print(f"  Snowflake  https://localhost:{running.snowflake_port}  {words[health.snowflake]}")
    for bucket, (objects, size) in health.buckets.items():
        print(f"  s3://{bucket}  {objects} objects, {size / 1e6:.1f} MB")
    return 0 if health.good else 1


def _env(arguments: argparse.Namespace) -> int:
    """Print shell statements that let a shell and its children use the running stack."""
    stack.require_running(arguments.state)
    print((arguments.state / "env").read_text(), end="")
    return 0


def _down(arguments: argparse.Namespace) -> int:
    """Stop the stack and all its processes; the data stays and is there again after the next up."""
    stopped = stack.down(arguments.state)
    print(f"Stopped the stack on {arguments.state} (pid {stopped.pid}); its data stays")
    return 0


if __name__ == "__main__":
    sys.exit(main())
