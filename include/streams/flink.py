"""The click-stream's rules and the rate of orders as one Flink job: the statements of `include/sql/flink`.

Managed Service for Apache Flink runs this file; its properties are in the group `vitrine`: ``region`` and
``stream_arn_prefix``. What the statements are is in that folder: `tables` say where records are, `views` what counts,
`rules` what is written. All rules run in one job, so each stream is read once.

Whoever has other tables, such as files, makes them before `start`, from the same statements by `at`.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from string import Template
from typing import Any

SQL = Path(__file__).resolve().parents[1] / "sql" / "flink"
PROPERTIES = Path("/etc/flink/application_properties.json")
"""Where the service puts an application's properties."""
GROUP = "vitrine"

_WITH = re.compile(r"\) WITH \((.*)\);\s*$", re.DOTALL)


def statements(folder: str) -> dict[str, str]:
    """The statements of a folder by name, in the order of their names."""
    return {file.stem: file.read_text() for file in sorted((SQL / folder).glob("*.sql"))}


def at(table: str, options: Mapping[str, str]) -> str:
    """The statement that creates a table elsewhere: its columns and its watermark stay as they are.

    Args:
        table: one of `statements("tables")`.
        options: what is to stand after WITH.
    """
    quoted = ", ".join(f"'{name}' = '{value}'" for name, value in options.items())
    return _WITH.sub(lambda _: f") WITH ({quoted});", statements("tables")[table])


def deployed(properties: Mapping[str, str]) -> list[str]:
    """The statements that create the tables on Kinesis.

    Args:
        properties: ``region``, and ``stream_arn_prefix``, which ends in ``:stream/``.

    Raises:
        KeyError: a property is missing.
    """
    return [Template(statement).substitute(properties) for statement in statements("tables").values()]


def start(environment: Any, rules: Callable[[str], bool] = lambda name: True) -> Any:
    """Starts the job, once the tables are there.

    Args:
        environment: a TableEnvironment of PyFlink, in streaming mode.
        rules: which of `statements("rules")`; all, if it is not said.

    Returns:
        The job's TableResult; `wait()` ends when the sources do, which streams never do.
    """
    environment.get_config().set("table.local-time-zone", "UTC")
    for view in statements("views").values():
        environment.execute_sql(view)
    job = environment.create_statement_set()
    for name, rule in statements("rules").items():
        if rules(name):
            job.add_insert_sql(rule)
    return job.execute()


def properties(file: Path = PROPERTIES) -> dict[str, str]:
    """The application's properties.

    Raises:
        KeyError: there is no group of that name.
    """
    groups = {group["PropertyGroupId"]: group["PropertyMap"] for group in json.loads(file.read_text())}
    if GROUP not in groups:
        raise KeyError(f"property group {GROUP!r} is missing in {file}: give the application region, stream_arn_prefix")
    return groups[GROUP]


def main() -> None:
    """Runs on Kinesis."""
    from pyflink.table import EnvironmentSettings, TableEnvironment

    environment = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    for table in deployed(properties()):
        environment.execute_sql(table)
    start(environment)


if __name__ == "__main__":
    main()
