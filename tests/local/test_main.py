import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import psutil
import pytest
from airflow.providers.amazon.aws.hooks.batch_client import BatchClientHook
from airflow.providers.amazon.aws.hooks.s3 import S3Hook

from local import stack as local_stack
from local.__main__ import main
from tests.conftest import REPOSITORY, Stack, start_stack
from tests.local.test_show import publish


def local(*arguments: object, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "local", *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=240,
    )


def s3(stack: Stack) -> "boto3.client":
    keys = {name.lower(): stack.env[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    return boto3.client("s3", endpoint_url=stack.endpoint, region_name="us-east-1", **keys)


def family(stack: Stack) -> list[psutil.Process]:
    process = psutil.Process(stack.process.pid)
    return [process, *process.children(recursive=True)]


def listening(processes: list[psutil.Process]) -> list[str]:
    connections = [connection for process in processes for connection in process.net_connections("tcp")]
    return [connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "state"
    if local_stack.running(tmp_path / "state"):
        local_stack.down(tmp_path / "state")


# ---------------------------------------------------------------------------------------------------------------- help


def test_help_lists_the_commands() -> None:
    shown = local("--help")
    assert shown.returncode == 0
    for command in ("up", "seed", "run", "show", "airflow", "status", "env", "down"):
        assert f"    {command} " in shown.stdout


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("up", ["--host", "--port", "--snowflake-port", "--state", "--detach", "--image NAME=COMMAND"]),
        ("seed", ["--client", "--scale", "--sales"]),
        ("run", ["--client", "--scale", "--sales"]),
        ("show", ["--client", "--report-date", "--state"]),
        ("airflow", ["--state"]),
        ("status", ["--state"]),
        ("env", ["--state"]),
        ("down", ["--state"]),
    ],
)
def test_every_command_explains_its_options(
    command: str, options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["local", command, "--help"])
    with pytest.raises(SystemExit, match="0"):
        main()
    shown = capsys.readouterr().out
    for option in options:
        assert option in shown


@pytest.mark.parametrize("command", ["status", "env", "down", "seed", "land", "land-geo", "airflow"])
def test_commands_that_need_a_stack_say_how_to_start_one(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["local", command, "--state", str(tmp_path / "nothing")])
    assert main() == 1
    assert "start it with `python -m local up`" in capsys.readouterr().err
    assert not (tmp_path / "nothing").exists()


def test_an_image_without_a_command_is_refused(tmp_path: Path) -> None:
    answer = local("up", "--state", tmp_path, "--image", "forecast")
    assert answer.returncode == 1
    assert "'forecast' is not NAME=COMMAND" in answer.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["up", "--port", "70000"], "--port: '70000' is not a port: choose one from 0 to 65535"),
        (["up", "--snowflake-port", "-1"], "--snowflake-port: '-1' is not a port"),
        (["status", "--state", __file__], "is a file: name a folder"),
        (["show", "--report-date", "yesterday"], "--report-date: invalid"),
    ],
)
def test_bad_options_are_refused(
    options: list[str], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["local", *options])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert says in capsys.readouterr().err


def test_show_prints_the_latest_report_or_says_that_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["local", "show", "--state", str(tmp_path), "--client", "online_retail"])
    assert main() == 1
    assert "nothing is published for online_retail" in capsys.readouterr().err
    for day in ("2011-11-10", "2011-12-10"):
        publish(tmp_path, day, "mba", client="online_retail")
    assert main() == 0
    assert "online_retail, report date 2011-12-10" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--report-date", "2011-11-10"])
    assert main() == 0
    assert "online_retail, report date 2011-11-10" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--port", "--snowflake-port"])
def test_a_busy_port_is_named_with_the_option_that_changes_it(option: str, tmp_path: Path) -> None:
    ports = {"--port": "0", "--snowflake-port": "0"}
    with socket.create_server(("127.0.0.1", 0)) as busy:
        ports[option] = str(busy.getsockname()[1])
        answer = local("up", "--state", tmp_path / "state", *(word for pair in ports.items() for word in pair))
    assert answer.returncode == 1
    assert f"Port {ports[option]} cannot be used" in answer.stderr
    assert f"choose another with {option}" in answer.stderr
    assert "Traceback" not in answer.stderr


# ------------------------------------------------------------------------------------------------------------- running


def test_a_second_up_says_that_one_is_running(stack: Stack) -> None:
    for more in ([], ["--detach"]):
        answer = local("up", "--state", stack.state, "--port", "0", "--snowflake-port", "0", *more)
        assert answer.returncode == 1
        assert f"already runs on {stack.state} (pid {stack.process.pid}, AWS on port" in answer.stderr
        assert stack.endpoint.rpartition(":")[2] in answer.stderr
    assert s3(stack).list_buckets()["Buckets"]


def test_nobody_else_in_the_network_reaches_it(stack: Stack) -> None:
    addresses = listening(family(stack))
    assert len(addresses) >= 2
    assert set(addresses) == {"127.0.0.1"}


def test_status_reports_ports_health_and_objects(stack: Stack) -> None:
    client = s3(stack)
    client.create_bucket(Bucket="status-test")
    client.put_object(Bucket="status-test", Key="a", Body=bytes(1_200_000))
    client.put_object(Bucket="status-test", Key="b/c", Body=b"")
    answer = local("status", "--state", stack.state)
    assert answer.returncode == 0
    assert f"pid {stack.process.pid}" in answer.stdout
    assert f"{stack.endpoint}  answers" in answer.stdout
    assert "Snowflake  https://localhost:" in answer.stdout
    assert "DOES NOT ANSWER" not in answer.stdout
    assert "s3://status-test  2 objects, 1.2 MB" in answer.stdout


def test_env_is_what_a_dag_needs_and_nothing_else(stack: Stack) -> None:
    answer = local("env", "--state", stack.state)
    assert answer.returncode == 0
    assert answer.stdout == (stack.state / "env").read_text()
    lines = [shlex.split(line) for line in answer.stdout.splitlines()]
    assert all(words[0] == "export" and len(words) == 2 for words in lines)
    variables = dict(words[1].split("=", 1) for words in lines)
    assert set(variables) == {
        "AWS_ENDPOINT_URL",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_DEFAULT_REGION",
        "AIRFLOW_CONN_AWS_DEFAULT",
        "AIRFLOW_CONN_SNOWFLAKE_DEFAULT",
        "AIRFLOW_VAR_VITRINE_LAKE",
        "AIRFLOW_VAR_VITRINE_SEARCH_URL",
        "SEARCH_URL",
        "REQUESTS_CA_BUNDLE",
        "AIRFLOW_HOME",
        "AIRFLOW__API__HOST",
        "AIRFLOW__CORE__DAGS_FOLDER",
        "AIRFLOW__CORE__LOAD_EXAMPLES",
        "AIRFLOW__CORE__PARALLELISM",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
        "AIRFLOW__OPENLINEAGE__EMISSION_POLICY",
        "AIRFLOW__OPENLINEAGE__EXECUTE_IN_THREAD",
        "AIRFLOW__OPENLINEAGE__NAMESPACE",
        "AIRFLOW__OPENLINEAGE__TRANSPORT",
        "PYTHONPATH",
    }
    assert variables["AIRFLOW_VAR_VITRINE_LAKE"] == "vitrine-lake"
    assert json.loads(variables["AIRFLOW_CONN_AWS_DEFAULT"])["extra"] == {"region_name": "us-east-1"}


def test_a_shell_that_sources_the_file_has_the_same_environment(stack: Stack) -> None:
    command = f"set -e; source {shlex.quote(str(stack.state / 'env'))}; env -0"
    shell = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    sourced = dict(line.split("=", 1) for line in shell.stdout.split("\0") if "=" in line)
    assert {name: sourced[name] for name in stack.env} == stack.env


def test_a_shell_that_sources_the_file_runs_this_repositorys_dags(stack: Stack) -> None:
    lines = (stack.state / "env").read_text().splitlines()
    assert f"export AIRFLOW__CORE__DAGS_FOLDER='{REPOSITORY / 'dags'}'" in lines


def test_airflows_hooks_find_the_stack(stack: Stack) -> None:
    hook = S3Hook(aws_conn_id="aws_default")
    assert hook.conn_region_name == "us-east-1"
    hook.load_string("from a hook", "hooks/a", "vitrine-lake", replace=True)
    assert (stack.state / "s3" / "vitrine-lake" / "hooks" / "a").read_text() == "from a hook"
    assert hook.read_key("hooks/a", "vitrine-lake") == "from a hook"
    queues = BatchClientHook(aws_conn_id="aws_default").get_conn().describe_job_queues()["jobQueues"]
    assert {queue["jobQueueName"] for queue in queues} == {"vitrine-default", "vitrine-high"}


# ------------------------------------------------------------------------------------------------------ down and crash


@pytest.mark.long
def test_a_stack_in_the_background_is_stopped_whole_and_its_data_stays(state: Path) -> None:
    options = ["--host", "0.0.0.0", "--port", "0", "--snowflake-port", "0"]
    answer = local("up", "--detach", "--state", state, *options, AWS_PROFILE="nobody")
    assert answer.returncode == 0, answer.stderr
    assert f"source {state}/env" in answer.stdout
    pid = json.loads((state / "pid").read_text())["pid"]
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    assert len(processes) > 1
    assert listening(processes) == ["0.0.0.0", "0.0.0.0"]
    (state / "s3" / "vitrine-lake" / "kept").write_text("data")
    answer = local("down", "--state", state)
    assert answer.returncode == 0
    assert f"pid {pid}" in answer.stdout
    assert not [process for process in processes if process.is_running() and process.status() != "zombie"]
    assert (state / "s3" / "vitrine-lake" / "kept").read_text() == "data"
    assert not (state / "env").exists()
    assert local("status", "--state", state).returncode == 1


def test_a_crash_loses_no_object_and_the_next_up_works(state: Path) -> None:
    crashing = start_stack(state)
    client = s3(crashing)
    client.create_bucket(Bucket="my-bucket")
    client.put_object(Bucket="my-bucket", Key="a/b", Body=b"one", ContentType="text/csv", Metadata={"rows": "1"})
    client.put_object(Bucket="vitrine-lake", Key="raw/x", Body=b"two")
    before = client.head_object(Bucket="my-bucket", Key="a/b")
    processes = family(crashing)
    crashing.process.send_signal(signal.SIGKILL)
    crashing.process.wait()
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert alive == [], "processes outlived the stack"
    answer = local("status", "--state", state)
    assert (answer.returncode, answer.stdout) == (1, "")
    again = start_stack(state)
    client = s3(again)
    assert client.get_object(Bucket="my-bucket", Key="a/b")["Body"].read() == b"one"
    assert client.get_object(Bucket="vitrine-lake", Key="raw/x")["Body"].read() == b"two"
    after = client.head_object(Bucket="my-bucket", Key="a/b")
    for fact in ("ETag", "ContentType", "Metadata", "LastModified"):
        assert after[fact] == before[fact], fact
    assert {bucket["Name"] for bucket in client.list_buckets()["Buckets"]} == {
        *("my-bucket", "vitrine-code", "vitrine-lake")
    }

    # A stack without its Snowflake is none: it ends, and says why.
    (server,) = [process for process in family(again) if process.cmdline()[2:3] == ["local.snowflake.server"]]
    server.kill()
    assert again.process.wait(timeout=60) == 1
    assert "The Snowflake server ended" in (state.parent / "state.log").read_text()
    assert not (state / "env").exists()
