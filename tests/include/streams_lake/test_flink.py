"""What the operators of Managed Service for Apache Flink are given; the statements run in `make test-flink`."""

import io
import json
import subprocess
import sys
import zipfile

import botocore.session
import pytest
from airflow.providers.amazon.aws.operators.kinesis_analytics import (
    KinesisAnalyticsV2CreateApplicationOperator,
    KinesisAnalyticsV2StartApplicationOperator,
)
from botocore.validate import ParamValidator

from include.streams import flink as job
from include.streams_lake import flink

ROLE = "arn:aws:iam::123456789012:role/vitrine-flink"
GIVEN = flink.application("vitrine-code", "vitrine/flink.zip", ROLE, "us-east-1", "123456789012")


def refused(operation, request):
    """What the service's own model says against a request."""
    model = botocore.session.get_session().get_service_model("kinesisanalyticsv2")
    return ParamValidator().validate(request, model.operation_model(operation).input_shape).generate_report()


def test_the_service_takes_what_the_create_operator_sends():
    create = KinesisAnalyticsV2CreateApplicationOperator(task_id="create", **GIVEN)
    request = {
        "ApplicationName": create.application_name,
        "ApplicationDescription": create.application_description,
        "RuntimeEnvironment": create.runtime_environment,
        "ServiceExecutionRole": create.service_execution_role,
        **create.create_application_kwargs,
    }
    assert refused("CreateApplication", request) == ""
    assert "Unknown parameter" in refused("CreateApplication", {**request, "Code": "x"})
    model = botocore.session.get_session().get_service_model("kinesisanalyticsv2")
    assert create.runtime_environment in model.shape_for("RuntimeEnvironment").enum


def test_the_service_takes_what_the_start_operator_sends():
    start = KinesisAnalyticsV2StartApplicationOperator(
        task_id="start", application_name=flink.NAME, run_configuration=flink.resumed(), deferrable=True
    )
    request = {"ApplicationName": start.application_name, "RunConfiguration": start.run_configuration}
    assert refused("StartApplication", request) == ""


def test_the_archive_alone_makes_the_tables_on_kinesis(tmp_path):
    packed = flink.archive(b"a jar")
    assert packed == flink.archive(b"a jar")
    zipfile.ZipFile(io.BytesIO(packed)).extractall(tmp_path)
    groups = GIVEN["create_application_kwargs"]["ApplicationConfiguration"]["EnvironmentProperties"]["PropertyGroups"]
    (run,) = (group["PropertyMap"] for group in groups if group["PropertyGroupId"].endswith("run.options"))
    assert (tmp_path / run["jarfile"]).read_bytes() == b"a jar"
    (tmp_path / "application_properties.json").write_text(json.dumps(groups))
    code = """
import json, runpy, sys
from pathlib import Path
main = runpy.run_path(sys.argv[1])
properties = main["properties"](Path("application_properties.json"))
print(json.dumps([main["deployed"](properties), *(list(main["statements"](name)) for name in ("views", "rules"))]))
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, run["python"]], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    tables, views, rules = json.loads(done.stdout)
    arns = [
        line.split("'")[3] for table in tables for line in table.splitlines() if line.strip().startswith("'stream.arn'")
    ]
    assert len(arns) == len(tables) == 7
    assert "arn:aws:kinesis:us-east-1:123456789012:stream/vitrine-clickstream" in arns
    assert not any("$" + "{" in table for table in tables)
    assert {"sessions", "visitors_15s", "visitors_1m", "sources_1m", "busiest", "order_rate"} == set(rules)
    assert {"clicks", "source_events", "order_counts"} == set(views)


def test_a_table_elsewhere_keeps_its_columns_and_watermark():
    moved = job.at("clickstream", {"connector": "filesystem", "path": "/x"})
    original = job.statements("tables")["clickstream"]
    assert moved.split(") WITH (")[0] == original.split(") WITH (")[0]
    assert moved.split(") WITH (")[1] == "'connector' = 'filesystem', 'path' = '/x');"


def test_without_its_properties_the_application_says_what_is_missing(tmp_path):
    file = tmp_path / "properties.json"
    file.write_text('[{"PropertyGroupId": "other", "PropertyMap": {}}]')
    with pytest.raises(KeyError, match="property group 'vitrine' is missing"):
        job.properties(file)
