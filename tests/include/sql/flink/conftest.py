"""The statements for Flink, run on files. These tests have an environment of their own: `make test-flink`."""

import json
from importlib.util import find_spec

import pytest

from include.streams import flink

STREAMS = ("clickstream", "orders")
collect_ignore = [] if find_spec("pyflink") else ["test_rules.py"]


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """Runs all rules on records, in the order in which they came, and returns the rows of each table."""
    from pyflink.table import EnvironmentSettings, TableEnvironment

    def ran(**records):
        folder = tmp_path_factory.mktemp("flink")
        environment = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
        configuration = environment.get_config()
        configuration.set("parallelism.default", "1")  # As from one shard, so that the order is the file's.
        configuration.set("pipeline.auto-watermark-interval", "0 ms")  # The watermark moves with every event.
        for name in flink.statements("tables"):
            options = {"connector": "filesystem", "path": f"{folder}/{name}", "format": "json"}
            if name in STREAMS:
                options["json.ignore-parse-errors"] = "true"
                (folder / name).write_bytes(b"\n".join(records.get(name, [])))
            else:
                options["json.timestamp-format.standard"] = "ISO-8601"
            environment.execute_sql(flink.at(name, options))
        flink.start(environment).wait()
        return {name: rows(folder / name) for name in flink.statements("tables") if name not in STREAMS}

    def rows(table):
        files = [file for file in table.rglob("*") if file.is_file()]
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    return ran
