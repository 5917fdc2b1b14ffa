"""Glue jobs on the local stack: real scripts behind boto3 and Airflow's operator."""

import inspect
import io
import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError
from moto.core.base_backend import BaseBackend
from moto.glue.models import GlueBackend, glue_backends
from moto.glue.responses import GlueResponse

from local import deploy
from local.aws import glue_engines, glue_jobs, glue_runs, settings
from local.aws.glue_engines import Engine
from local.aws.plugging import PluggingError
from local.aws.server import Server
from local.aws.settings import ACCOUNT, REGION, Settings, client
from tests.local.aws.operators import execute

ROOT = Path(__file__).parents[3]
BUCKET = "test-lake"
HOLD = "import os, sys, time\nprint(os.getpid(), flush=True)\nwhile True: time.sleep(0.05)\n"


class Glue:
    """A local endpoint with a bucket, and shorthands for what every test does."""

    def __init__(self, server: Server) -> None:
        self.state = server.settings.state
        self.glue, self.s3, self.logs = client("glue"), client("s3"), client("logs")
        self.s3.create_bucket(Bucket=BUCKET)

    def put(self, key: str, content: str | bytes) -> str:
        body = textwrap.dedent(content).encode() if isinstance(content, str) else content
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        return f"s3://{BUCKET}/{key}"

    def create(self, name: str, script: str, **definition: Any) -> str:
        command = {"Name": "glueetl", "ScriptLocation": self.put(f"jobs/{name}.py", script)}
        job = {"Name": name, "Role": "glue", "Command": command, "GlueVersion": "5.0", **definition}
        return self.glue.create_job(**job)["Name"]

    def start(self, name: str, **request: Any) -> str:
        return self.glue.start_job_run(JobName=name, **request)["JobRunId"]

    def describe(self, name: str, run: str) -> dict[str, Any]:
        return self.glue.get_job_run(JobName=name, RunId=run)["JobRun"]

    def until(self, name: str, run: str, *states: str) -> dict[str, Any]:
        return wait(lambda: (found := self.describe(name, run))["JobRunState"] in states and found)

    def finish(self, name: str, run: str) -> dict[str, Any]:
        return self.until(name, run, "SUCCEEDED", "FAILED", "TIMEOUT", "STOPPED")

    def run(self, name: str, script: str, definition: dict[str, Any] | None = None, **request: Any) -> dict[str, Any]:
        """Create a job, run it once, and describe that run."""
        self.create(name, script, **definition or {})
        return self.finish(name, self.start(name, **request))

    def events(self, kind: str, run: str) -> list[str]:
        found = self.logs.get_log_events(logGroupName=f"/aws-glue/jobs/{kind}", logStreamName=run, startFromHead=True)
        return [event["message"] for event in found["events"]]

    def running_pid(self, name: str, run: str) -> int:
        self.until(name, run, "RUNNING")
        return int(wait(lambda: self.events("output", run))[0])

    def keys(self, prefix: str) -> list[str]:
        listed = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix)
        return [found["Key"] for found in listed.get("Contents", [])]


def wait[Found](condition: Callable[[], Found]) -> Found:
    deadline = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return found


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def refusal(action: Callable[..., Any], **request: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        action(**request)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


@pytest.fixture(scope="module")
def glue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Glue]:
    before = settings._current
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VITRINE_BATCH_CORES", "2")
        patch.delenv("VITRINE_GLUE_ENGINE", raising=False)
        server = Server(Settings(tmp_path_factory.mktemp("stack"), 0)).start()
    yield Glue(server)
    server.stop()
    if before:
        settings.use(before)


class TestRun:
    def test_success(self, glue: Glue) -> None:
        run = glue.run("success", "import sys\nprint('rows: 7')\nprint('a warning', file=sys.stderr)")
        assert run["JobRunState"] == "SUCCEEDED"
        assert "ErrorMessage" not in run
        assert run["StartedOn"] <= run["CompletedOn"]
        assert run["ExecutionTime"] >= 0
        assert (run["Attempt"], run["LogGroupName"]) == (0, "/aws-glue/jobs")
        assert run["Timeout"] == 2880
        assert glue.events("output", run["Id"]) == ["rows: 7"]
        assert glue.events("error", run["Id"]) == ["a warning"]

    def test_much_output_on_both_streams(self, glue: Glue) -> None:
        script = "import sys\nfor n in range(2000): print(n, '.' * 100); print(n, '!' * 100, file=sys.stderr)"
        run = glue.run("talkative", script)
        assert run["JobRunState"] == "SUCCEEDED"
        for kind, mark in (("output", "."), ("error", "!")):
            pages = glue.logs.get_paginator("filter_log_events").paginate(
                logGroupName=f"/aws-glue/jobs/{kind}", logStreamNames=[run["Id"]]
            )
            lines = [event["message"] for page in pages for event in page["events"]]
            assert lines == [f"{number} {mark * 100}" for number in range(2000)]

    def test_states_on_the_way(self, glue: Glue) -> None:
        glue.create("slow", HOLD)
        run = glue.start("slow")
        assert "CompletedOn" not in glue.until("slow", run, "RUNNING")
        assert refusal(glue.glue.start_job_run, JobName="slow")[0] == "ConcurrentRunsExceededException"
        glue.glue.batch_stop_job_run(JobName="slow", JobRunIds=[run])
        assert glue.finish("slow", run)["JobRunState"] == "STOPPED"

    @pytest.mark.parametrize(
        ("name", "script", "reason"),
        [
            ("raises", "raise ValueError('no sales in 2024-02')", "ValueError: no sales in 2024-02"),
            (
                "raises-and-cleans-up",
                "import atexit, sys\natexit.register(print, 'bye', file=sys.stderr)\n1 / 0",
                "ZeroDivisionError: division by zero",
            ),
            (
                "raises-again",
                "try: {}['a']\nexcept KeyError as e: raise RuntimeError('no column a') from e",
                "RuntimeError: no column a",
            ),
            ("misspelt", "def f(:\n  pass", "SyntaxError: invalid syntax"),
            ("lacks-a-module", "import not_shipped", "ModuleNotFoundError: No module named 'not_shipped'"),
            ("exits", "raise SystemExit('no input')", "exit code 1: no input"),
            ("exits-silently", "raise SystemExit(3)", "exit code 3"),
            ("dies", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL"),
        ],
    )
    def test_failure_has_a_reason(self, glue: Glue, name: str, script: str, reason: str) -> None:
        run = glue.run(name, script)
        assert (run["JobRunState"], run["ErrorMessage"]) == ("FAILED", reason)

    def test_missing_script(self, glue: Glue) -> None:
        glue.create("missing-script", "pass")
        glue.s3.delete_object(Bucket=BUCKET, Key="jobs/missing-script.py")
        run = glue.finish("missing-script", glue.start("missing-script"))
        reason = f"LAUNCH ERROR: Command.ScriptLocation: s3://{BUCKET}/jobs/missing-script.py does not exist"
        assert (run["JobRunState"], run["ErrorMessage"]) == ("FAILED", reason)
        assert glue.events("error", run["Id"]) == [reason]

    def test_timeout(self, glue: Glue, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(glue_runs, "MINUTE_SECONDS", 0.5)
        run = glue.run("endless", HOLD, {"MaxRetries": 1}, Timeout=1)
        assert run["JobRunState"] == "TIMEOUT"
        assert run["ErrorMessage"] == "The run was stopped after its Timeout of 1 minutes"
        assert len(glue.glue.get_job_runs(JobName="endless")["JobRuns"]) == 1

    def test_retries_are_runs_of_their_own(self, glue: Glue, tmp_path: Path) -> None:
        script = f"""
            from pathlib import Path
            tries = Path({str(tmp_path)!r}, "tries")
            tries.open("a").write("x")
            if len(tries.read_text()) < 3: raise OSError("throttled")
        """
        first = glue.run("flaky", script, {"MaxRetries": 3})
        assert first["JobRunState"] == "FAILED"
        last = glue.finish("flaky", wait(lambda: next(iter(retries(glue, "flaky", first["Id"], 2)), None)))
        assert (last["JobRunState"], last["Attempt"]) == ("SUCCEEDED", 2)
        assert last["PreviousRunId"] == f"{first['Id']}_attempt_1"
        assert [run["Attempt"] for run in glue.glue.get_job_runs(JobName="flaky")["JobRuns"]] == [2, 1, 0]

    def test_it_sees_none_of_this_machines_environment(self, glue: Glue, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SECRET_OF_THE_HOST", "x")
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        script = """
            import os
            assert "SECRET_OF_THE_HOST" not in os.environ
            assert os.environ["VITRINE_ENGINE"] == "polars"
            try: import include
            except ModuleNotFoundError: print("as on Glue")
        """
        run = glue.run("alone", script)
        assert run["JobRunState"] == "SUCCEEDED", run
        assert glue.events("output", run["Id"]) == ["as on Glue"]


def retries(glue: Glue, name: str, first: str, attempt: int) -> list[str]:
    runs = glue.glue.get_job_runs(JobName=name)["JobRuns"]
    return [run["Id"] for run in runs if run["Id"] == f"{first}_attempt_{attempt}"]


class TestStop:
    def test_stop_ends_the_process_tree(self, glue: Glue) -> None:
        script = f"""
            import subprocess, sys, time
            child = subprocess.Popen([sys.executable, "-c", {HOLD!r}])
            time.sleep(600)
        """
        glue.create("tree", script, MaxRetries=2)
        run = glue.start("tree")
        child = glue.running_pid("tree", run)
        stopped = glue.glue.batch_stop_job_run(JobName="tree", JobRunIds=[run, "jr_unknown"])
        assert stopped["SuccessfulSubmissions"] == [{"JobName": "tree", "JobRunId": run}]
        (error,) = stopped["Errors"]
        assert (error["JobRunId"], error["ErrorDetail"]["ErrorCode"]) == ("jr_unknown", "EntityNotFoundException")
        assert glue.finish("tree", run)["JobRunState"] == "STOPPED"
        assert gone(child)
        assert len(glue.glue.get_job_runs(JobName="tree")["JobRuns"]) == 1
        (error,) = glue.glue.batch_stop_job_run(JobName="tree", JobRunIds=[run])["Errors"]
        assert error["ErrorDetail"]["ErrorCode"] == "InvalidInputException"

    def test_more_runs_than_slots_wait_as_starting_and_can_be_stopped(self, glue: Glue) -> None:
        glue.create("crowd", HOLD, ExecutionProperty={"MaxConcurrentRuns": 3})
        runs = [glue.start("crowd") for _ in range(3)]
        for run in runs[:2]:
            glue.until("crowd", run, "RUNNING")
        assert glue.describe("crowd", runs[2])["JobRunState"] == "STARTING"
        assert refusal(glue.glue.start_job_run, JobName="crowd")[0] == "ConcurrentRunsExceededException"
        glue.glue.batch_stop_job_run(JobName="crowd", JobRunIds=[runs[2]])
        assert glue.describe("crowd", runs[2])["JobRunState"] == "STOPPED"
        glue.glue.batch_stop_job_run(JobName="crowd", JobRunIds=runs[:2])
        assert [glue.finish("crowd", run)["JobRunState"] for run in runs] == ["STOPPED"] * 3

    def test_deleting_a_job_stops_it(self, glue: Glue) -> None:
        glue.create("deleted", HOLD)
        run = glue.start("deleted")
        pid = glue.running_pid("deleted", run)
        glue.glue.delete_job(JobName="deleted")
        assert wait(lambda: gone(pid))
        assert refusal(glue.glue.get_job_run, JobName="deleted", RunId=run)[0] == "EntityNotFoundException"

    @pytest.mark.parametrize("how", ["terminate", "kill"])
    def test_nothing_outlives_the_stack(self, tmp_path: Path, how: str) -> None:
        program = f"""
            import signal, sys, threading, time
            from pathlib import Path
            from local.aws.server import Server
            from local.aws.settings import Settings, client
            server = Server(Settings(Path({str(tmp_path / "state")!r}), 0)).start()
            client("s3").create_bucket(Bucket="{BUCKET}")
            client("s3").put_object(Bucket="{BUCKET}", Key="hold.py", Body={HOLD!r})
            glue, logs = client("glue"), client("logs")
            command = {{"Name": "glueetl", "ScriptLocation": "s3://{BUCKET}/hold.py"}}
            glue.create_job(Name="hold", Role="r", Command=command, GlueVersion="5.0", MaxRetries=1)
            run = glue.start_job_run(JobName="hold")["JobRunId"]
            events = []
            while not events:
                time.sleep(0.05)
                if glue.get_job_run(JobName="hold", RunId=run)["JobRun"]["JobRunState"] == "RUNNING":
                    found = logs.get_log_events(logGroupName="/aws-glue/jobs/output", logStreamName=run)
                    events = found["events"]
            stop = threading.Event()
            signal.signal(signal.SIGTERM, lambda *_: stop.set())
            print(events[0]["message"], flush=True)
            stop.wait()
            server.stop()
        """
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program)],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(tmp_path)},
            stdout=subprocess.PIPE,
            text=True,
        ) as stack:
            assert stack.stdout
            pid = int(stack.stdout.readline())
            assert psutil.pid_exists(pid)
            getattr(stack, how)()
        assert stack.returncode == (0 if how == "terminate" else -9)
        assert wait(lambda: gone(pid))


class TestArguments:
    def test_they_are_passed_as_glue_passes_them(self, glue: Glue) -> None:
        defaults = {"--table": "orders", "--mode": "full", "--enable-metrics": "true", "--TempDir": "s3://x/tmp/"}
        script = """
            import json, sys
            from awsglue.utils import getResolvedOptions
            print(json.dumps(sys.argv))
            print(json.dumps(getResolvedOptions(sys.argv, ["JOB_NAME", "table", "mode", "as-of"])))
        """
        run = glue.run(
            "arguments",
            script,
            {"DefaultArguments": defaults},
            Arguments={"--mode": "daily run", "--as-of": "2024-03-01", "--conf": "spark.x=1"},
        )
        assert run["JobRunState"] == "SUCCEEDED", run
        assert run["Arguments"] == {
            **defaults,
            "--mode": "daily run",
            "--as-of": "2024-03-01",
            "--conf": "spark.x=1",
        }
        argv, options = map(json.loads, glue.events("output", run["Id"]))
        assert Path(argv[0]).name == "arguments.py"
        assert argv[1:7] == ["--JOB_NAME", "arguments", "--JOB_ID", "j_arguments", "--JOB_RUN_ID", run["Id"]]
        assert argv[7:] == [
            *("--table", "orders", "--mode", "daily run", "--enable-metrics", "true"),
            *("--TempDir", "s3://x/tmp/", "--as-of", "2024-03-01"),
        ]
        wanted = {"JOB_NAME": "arguments", "table": "orders", "mode": "daily run", "as_of": "2024-03-01"}
        assert options == wanted | {"JOB_ID": "j_arguments", "JOB_RUN_ID": run["Id"], "TempDir": "s3://x/tmp/"}
        assert glue.events("error", run["Id"]) == ["--conf has no effect: it configures Spark, this run is on Polars"]

    def test_a_missing_argument_is_named(self, glue: Glue) -> None:
        script = "import sys\nfrom awsglue.utils import getResolvedOptions\ngetResolvedOptions(sys.argv, ['client'])"
        run = glue.run("unasked", script)
        reason = "awsglue.utils.GlueArgumentError: the following arguments are required: --client"
        assert (run["JobRunState"], run["ErrorMessage"]) == ("FAILED", reason)

    @pytest.mark.parametrize(
        "statement", ["from awsglue.context import GlueContext", "import awsglue.job", "from awsglue import transforms"]
    )
    def test_the_rest_of_awsglue_says_that_it_is_not_there(self, glue: Glue, statement: str) -> None:
        run = glue.run(f"uses-{statement.split()[-1].lower()}", statement)
        assert run["JobRunState"] == "FAILED"
        assert run["ErrorMessage"].startswith("ImportError: awsglue.")
        assert "does not run on the local stack" in run["ErrorMessage"]

    def test_modules_are_shipped(self, glue: Glue) -> None:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("shipped/__init__.py", "")
            file.writestr("shipped/rates.py", "RATE = 2")
        zipped, single = glue.put("jobs/shipped.zip", archive.getvalue()), glue.put("jobs/single.py", "SIZE = 21")
        script = "from shipped.rates import RATE\nimport single\nprint(RATE * single.SIZE)"
        run = glue.run("imports", script, {"DefaultArguments": {"--extra-py-files": f"{zipped}, {single}"}})
        assert run["JobRunState"] == "SUCCEEDED", run
        assert glue.events("output", run["Id"]) == ["42"]

    def test_a_module_that_is_not_there(self, glue: Glue) -> None:
        run = glue.run("imports-nothing", "pass", Arguments={"--extra-py-files": f"s3://{BUCKET}/jobs/none.zip"})
        assert run["JobRunState"] == "FAILED"
        assert run["ErrorMessage"] == f"LAUNCH ERROR: --extra-py-files: s3://{BUCKET}/jobs/none.zip does not exist"

    @pytest.mark.parametrize(
        ("argument", "value"),
        [
            ("--additional-python-modules", "narwhals==2.0"),
            ("--datalake-formats", "iceberg"),
            ("--extra-jars", "s3://x/y.jar"),
            ("--extra-py-files", "s3://x/y.tar.gz"),
            ("--job-bookmark-option", "job-bookmark-enable"),
            ("--job-language", "scala"),
            ("--JOB_NAME", "other"),
        ],
    )
    def test_what_nobody_would_do_is_refused_by_name(self, glue: Glue, argument: str, value: str) -> None:
        command = {"Name": "glueetl", "ScriptLocation": f"s3://{BUCKET}/x.py"}
        job = {"Name": "refused", "Role": "r", "Command": command, "GlueVersion": "5.0"}
        code, message = refusal(glue.glue.create_job, **job, DefaultArguments={argument: value})
        assert code == "InvalidInputException"
        assert f"DefaultArguments: {argument}" in message
        glue.create(f"refuses{argument}", "pass")
        code, message = refusal(glue.glue.start_job_run, JobName=f"refuses{argument}", Arguments={argument: value})
        assert code == "InvalidInputException"
        assert f"Arguments: {argument}" in message
        assert glue.glue.get_job_runs(JobName=f"refuses{argument}")["JobRuns"] == []


JOB = {
    "Role": "arn:aws:iam::123456789012:role/glue",
    "Command": {"Name": "glueetl", "ScriptLocation": f"s3://{BUCKET}/a.py", "PythonVersion": "3"},
    "GlueVersion": "5.1",
}


class TestDefinition:
    def test_create_describe_update_delete(self, glue: Glue) -> None:
        capacity = {"WorkerType": "G.1X", "NumberOfWorkers": 2}
        glue.glue.create_job(Name="one", **JOB, **capacity, Tags={"team": "sales"})
        job = glue.glue.get_job(JobName="one")["Job"]
        assert JOB.items() <= job.items()
        assert (job["MaxRetries"], job["ExecutionProperty"]) == (0, {"MaxConcurrentRuns": 1})
        assert "one" in glue.glue.list_jobs()["JobNames"]
        assert glue.glue.list_jobs(Tags={"team": "sales"})["JobNames"] == ["one"]
        assert glue.glue.batch_get_jobs(JobNames=["one", "none"])["JobsNotFound"] == ["none"]
        arn = f"arn:aws:glue:{REGION}:{ACCOUNT}:job/one"
        assert glue.glue.get_tags(ResourceArn=arn)["Tags"] == {"team": "sales"}
        glue.glue.update_job(JobName="one", JobUpdate={**JOB, "Timeout": 5})
        updated = glue.glue.get_job(JobName="one")["Job"]
        assert updated["Timeout"] == 5
        assert "WorkerType" not in updated
        assert updated["CreatedOn"] == job["CreatedOn"] <= updated["LastModifiedOn"]
        glue.glue.delete_job(JobName="one")
        glue.glue.delete_job(JobName="one")
        assert refusal(glue.glue.get_job, JobName="one") == ("EntityNotFoundException", "Job one not found.")
        assert glue.glue.list_jobs(Tags={"team": "sales"})["JobNames"] == []

    def test_pages(self, glue: Glue) -> None:
        for number in range(3):
            glue.glue.create_job(Name=f"page-{number}", **JOB)
        pages = list(glue.glue.get_paginator("get_jobs").paginate(PaginationConfig={"PageSize": 2}))
        names = [job["Name"] for page in pages for job in page["Jobs"]]
        assert len(pages) > 1
        assert names == glue.glue.list_jobs()["JobNames"]

    def test_creating_the_same_job_again_is_no_error_but_another_is(self, glue: Glue) -> None:
        glue.glue.create_job(Name="twice", **JOB)
        glue.glue.create_job(Name="twice", **JOB)
        code, _ = refusal(glue.glue.create_job, Name="twice", **JOB, MaxRetries=1)
        assert code == "IdempotentParameterMismatchException"

    def test_unknown_names(self, glue: Glue) -> None:
        glue.create("known", "pass")
        for action, request in (
            (glue.glue.start_job_run, {"JobName": "unknown"}),
            (glue.glue.update_job, {"JobName": "unknown", "JobUpdate": JOB}),
            (glue.glue.get_job_runs, {"JobName": "unknown"}),
            (glue.glue.get_job_run, {"JobName": "known", "RunId": "jr_unknown"}),
        ):
            assert refusal(action, **request)[0] == "EntityNotFoundException"

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"Command": {"Name": "pythonshell", "ScriptLocation": "s3://x/y.py"}}, "Command.Name pythonshell"),
            ({"Command": {"Name": "glueetl", "ScriptLocation": "y.py"}}, "Command.ScriptLocation"),
            ({"Command": {"Name": "glueetl", "ScriptLocation": "s3://x/y.scala"}}, "Command.ScriptLocation"),
            ({"GlueVersion": "4.0"}, "GlueVersion must be 5.0 or 5.1, not 4.0"),
            ({"Connections": {"Connections": ["warehouse"]}}, "Connections: not supported"),
            ({"SecurityConfiguration": "kms"}, "SecurityConfiguration: not supported"),
            ({"JobRunQueuingEnabled": True}, "JobRunQueuingEnabled"),
            ({"Timeout": 20000}, "Timeout must be from 1 to 10080, not 20000"),
            ({"MaxRetries": 11}, "MaxRetries must be"),
            ({"ExecutionProperty": {"MaxConcurrentRuns": 0}}, "ExecutionProperty.MaxConcurrentRuns must be"),
            ({"WorkerType": "G.1X"}, "NumberOfWorkers and WorkerType go together"),
            ({"WorkerType": "Standard", "NumberOfWorkers": 2}, "WorkerType must be"),
            ({"WorkerType": "G.1X", "NumberOfWorkers": 2, "MaxCapacity": 2.0}, "MaxCapacity cannot be set together"),
        ],
    )
    def test_a_definition_that_would_not_be_followed_is_refused(
        self, glue: Glue, change: dict[str, Any], message: str
    ) -> None:
        code, said = refusal(glue.glue.create_job, **{"Name": "wrong", **JOB, **change})
        assert code == "InvalidInputException"
        assert message in said
        assert refusal(glue.glue.get_job, JobName="wrong")[0] == "EntityNotFoundException"

    def test_arguments_that_cannot_be_overridden(self, glue: Glue) -> None:
        glue.create("fixed", "import sys\nprint(sys.argv[-1])", NonOverridableArguments={"--layer": "gold"})
        code, message = refusal(glue.glue.start_job_run, JobName="fixed", Arguments={"--layer": "raw"})
        assert (code, message) == ("InvalidInputException", "Arguments: --layer cannot be overridden, says the job")
        run = glue.finish("fixed", glue.start("fixed"))
        assert glue.events("output", run["Id"]) == ["gold"]

    def test_a_template_creates_a_job_that_runs(self, glue: Glue) -> None:
        script = glue.put("jobs/templated.py", "import sys\nprint(sys.argv[-1])")
        properties = {
            "Name": "templated",
            "Role": "glue",
            "Command": {"Name": "glueetl", "ScriptLocation": script},
            "DefaultArguments": {"--layer": "silver"},
            "ExecutionProperty": {"MaxConcurrentRuns": 4},
            "GlueVersion": "5.0",
            "NumberOfWorkers": 2,
            "Timeout": {"Ref": "Minutes"},
            "WorkerType": "G.1X",
        }
        template = {
            "Parameters": {"Minutes": {"Type": "Number", "Default": 30}},
            "Resources": {"Job": {"Type": "AWS::Glue::Job", "Properties": properties}},
            "Outputs": {"Job": {"Value": {"Ref": "Job"}}},
        }
        cloudformation = client("cloudformation")
        cloudformation.create_stack(StackName="jobs", TemplateBody=json.dumps(template))
        (stack,) = cloudformation.describe_stacks(StackName="jobs")["Stacks"]
        assert stack["Outputs"][0]["OutputValue"] == "templated"
        job = glue.glue.get_job(JobName="templated")["Job"]
        assert (job["Timeout"], job["ExecutionProperty"]) == (30, {"MaxConcurrentRuns": 4})
        run = glue.finish("templated", glue.start("templated"))
        assert glue.events("output", run["Id"]) == ["silver"]
        cloudformation.delete_stack(StackName="jobs")
        assert refusal(glue.glue.get_job, JobName="templated")[0] == "EntityNotFoundException"
        bad = {
            "Resources": {"Job": {"Type": "AWS::Glue::Job", "Properties": {**properties, "Color": "red", "Timeout": 1}}}
        }
        assert "Color" in refusal(cloudformation.create_stack, StackName="bad", TemplateBody=json.dumps(bad))[1]


SALES = """
    import os, sys
    from awsglue.utils import getResolvedOptions
    options = getResolvedOptions(sys.argv, ["source", "target"])
    if os.environ["VITRINE_ENGINE"] == "polars":
        import polars as pl
        rows = pl.scan_parquet(options["source"] + "*.parquet").group_by("store").agg(pl.col("amount").sum())
        rows.sort("store").collect().write_parquet(options["target"] + "rows.parquet")
    else:
        from pyspark.sql import SparkSession, functions as f
        spark = SparkSession.builder.getOrCreate()
        rows = spark.read.parquet(options["source"]).groupBy("store").agg(f.sum("amount").alias("amount"))
        rows.write.mode("overwrite").parquet(options["target"])
    print(os.environ["VITRINE_ENGINE"])
"""


def put_sales(glue: Glue) -> None:
    import polars as pl

    content = io.BytesIO()
    pl.DataFrame({"store": ["a", "b", "a"], "amount": [1, 2, 3]}).write_parquet(content)
    glue.put("sales/rows.parquet", content.getvalue())


def totals(glue: Glue, prefix: str) -> dict[str, int]:
    import polars as pl

    keys = [key for key in glue.keys(prefix) if key.endswith(".parquet")]
    files = [glue.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys]
    return dict(pl.concat([pl.read_parquet(io.BytesIO(file)) for file in files]).iter_rows())


class TestEngines:
    def arguments(self, target: str) -> dict[str, str]:
        return {"--source": f"s3://{BUCKET}/sales/", "--target": f"s3://{BUCKET}/{target}/"}

    def test_polars_reads_and_writes_the_lake(self, glue: Glue) -> None:
        put_sales(glue)
        run = glue.run("on-polars", SALES, Arguments=self.arguments("polars"))
        assert run["JobRunState"] == "SUCCEEDED", run
        assert totals(glue, "polars/") == {"a": 4, "b": 2}

    def test_an_unknown_engine_is_refused_at_the_start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("VITRINE_GLUE_ENGINE", "pandas")
        with pytest.raises(PluggingError, match="VITRINE_GLUE_ENGINE=pandas: it must be polars, dask or spark"):
            Engine.chosen()

    def test_spark_without_java_is_refused_at_the_start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("VITRINE_GLUE_ENGINE", "spark")
        monkeypatch.setenv("PATH", "")
        monkeypatch.delenv("JAVA_HOME", raising=False)
        with pytest.raises(PluggingError, match="there is no Java; install version 17"):
            Engine.chosen()

    def test_the_environment_chooses_the_engine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(glue_engines, "require", lambda engine: None)
        monkeypatch.setenv("VITRINE_GLUE_ENGINE", "spark")
        monkeypatch.setenv("VITRINE_SPARK_MASTER", "spark://127.0.0.1:7077")
        assert Engine.chosen() == Engine("spark", "spark://127.0.0.1:7077")
        monkeypatch.delenv("VITRINE_SPARK_MASTER")
        assert Engine.chosen() == Engine("spark", "local[2]")
        monkeypatch.setenv("VITRINE_GLUE_ENGINE", "dask")
        monkeypatch.setenv("VITRINE_DASK_SCHEDULER", "tcp://127.0.0.1:8786")
        assert Engine.chosen() == Engine("dask", "local[2]", "tcp://127.0.0.1:8786")

    @pytest.mark.parametrize("engine", ["polars", "dask", pytest.param("spark", marks=pytest.mark.long)])
    def test_a_run_names_its_engine(self, request: pytest.FixtureRequest, glue: Glue, engine: str) -> None:
        if engine == "spark":
            request.getfixturevalue("java")
        pytest.importorskip({"spark": "pyspark"}.get(engine, engine), reason=f"dependency group {engine}")
        put_sales(glue)
        script = """
            import sys
            from awsglue.utils import getResolvedOptions
            import narwhals as nw
            from include.jobs import engine
            options = getResolvedOptions(sys.argv, ["source", "target", "engine"])
            with engine.chosen() as on:
                sales = on.read([options["source"]]).group_by("store").agg(nw.col("amount").sum())
                on.write_sorted(sales, options["target"], ["store"])
                print(on.name)
        """
        modules = glue.put("jobs/modules.zip", deploy.files()[deploy.MODULES])
        arguments = self.arguments(f"named/{engine}") | {"--extra-py-files": modules, "--engine": engine}
        run = glue.run(f"named-{engine}", script, Arguments=arguments)
        assert run["JobRunState"] == "SUCCEEDED", run
        assert glue.events("output", run["Id"])[-1] == engine
        assert totals(glue, f"named/{engine}/") == {"a": 4, "b": 2}

    def test_an_engine_that_a_run_cannot_have_is_its_error(self, glue: Glue, monkeypatch: pytest.MonkeyPatch) -> None:
        run = glue.run("on-pandas", "pass", Arguments={"--engine": "pandas"})
        reason = "LAUNCH ERROR: --engine pandas: it must be polars, dask or spark"
        assert (run["JobRunState"], run["ErrorMessage"]) == ("FAILED", reason)
        find = glue_engines.importlib.util.find_spec
        missing = ("pyspark", "dask")
        monkeypatch.setattr(
            glue_engines.importlib.util, "find_spec", lambda name: None if name in missing else find(name)
        )
        for engine, product in (("spark", "PySpark"), ("dask", "Dask")):
            run = glue.run(f"without-{engine}", "pass", Arguments={"--engine": engine})
            reason = f"{product} is not installed: `make .venv/.tests-installed` installs it"
            assert (run["JobRunState"], run["ErrorMessage"]) == ("FAILED", f"LAUNCH ERROR: --engine {engine}: {reason}")

    def test_dask_computes_on_the_scheduler_of_the_stack(self, glue: Glue, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            glue_backends[ACCOUNT][REGION].runner, "engine", Engine("dask", scheduler="tcp://127.0.0.1:9")
        )
        run = glue.run(
            "on-dask", "import os\nprint(os.environ['VITRINE_ENGINE'], os.environ['VITRINE_DASK_SCHEDULER'])"
        )
        assert glue.events("output", run["Id"]) == ["dask tcp://127.0.0.1:9"]

    @pytest.fixture
    def java(self) -> None:
        if not shutil.which("java") and not os.environ.get("JAVA_HOME"):
            pytest.skip(
                "no Java here, so no Glue job is tested on Spark; on Debian and Ubuntu: openjdk-17-jre-headless"
            )

    @pytest.fixture
    def spark(self, glue: Glue, java: None, monkeypatch: pytest.MonkeyPatch) -> Glue:
        pytest.importorskip("pyspark", reason="PySpark is not installed: dependency group spark")
        monkeypatch.setattr(glue_backends[ACCOUNT][REGION].runner, "engine", Engine("spark"))
        return glue

    @pytest.mark.long
    def test_spark_reads_and_writes_the_lake(self, spark: Glue) -> None:
        put_sales(spark)
        spark.put("spark/of-yesterday.parquet", b"not Parquet")
        module = spark.put("jobs/shipped_to_spark.py", "LIMIT = 1")
        script = textwrap.dedent(SALES) + textwrap.dedent("""
            import shipped_to_spark
            print(spark.conf.get("spark.sql.shuffle.partitions"), spark.conf.get("spark.sql.ansi.enabled"))
            big = rows.rdd.filter(lambda row: row.amount > shipped_to_spark.LIMIT).count()
            print(big, "stores")
            spark.read.parquet(options["source"] + "nothing/")
        """)
        arguments = self.arguments("spark") | {
            "--extra-py-files": module,
            "--conf": "spark.sql.shuffle.partitions=1 --conf spark.sql.ansi.enabled=true "
            "--conf spark.driver.extraJavaOptions=-XX:TieredStopAtLevel=1 -XX:+UseSerialGC "
            "--conf spark.sql.codegen.wholeStage=false --conf spark.sql.codegen.factoryMode=NO_CODEGEN",
        }
        run = spark.run("on-spark", script, Arguments=arguments)
        assert spark.events("output", run["Id"])[:3] == ["spark", "1 true", "2 stores"], run
        # The files of a run that failed after writing are objects like any other's.
        assert totals(spark, "spark/") == {"a": 4, "b": 2}
        assert "spark/of-yesterday.parquet" not in spark.keys("spark/")
        assert not [key for key in spark.keys("") if key.endswith(".crc") or "_temporary" in key]
        assert run["JobRunState"] == "FAILED"
        assert "AnalysisException: [PATH_NOT_FOUND]" in run["ErrorMessage"]
        assert f"s3://{BUCKET}/sales/nothing" in run["ErrorMessage"]


class TestOperator:
    """Airflow's own operator, run as a worker and a triggerer run it."""

    @pytest.fixture
    def operator(self, glue: Glue, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
        if "airflow" not in sys.modules:
            monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
        connection = {"conn_type": "aws", "login": "test", "password": "test", "extra": {"region_name": REGION}}
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
        monkeypatch.setenv("AWS_ENDPOINT_URL", glue.glue.meta.endpoint_url)
        from airflow.providers.amazon.aws.operators.glue import GlueJobOperator

        def build(name: str, script: str, **arguments: Any) -> Any:
            return GlueJobOperator(
                task_id="load",
                job_name=name,
                script_location=glue.put(f"jobs/{name}.py", script),
                iam_role_arn="arn:aws:iam::123456789012:role/glue",
                create_job_kwargs={"GlueVersion": "5.0", "WorkerType": "G.1X", "NumberOfWorkers": 2},
                job_poll_interval=0.1,
                waiter_delay=1,
                **arguments,
            )

        return build

    class Attempt(dict):
        """The context of one attempt of a task; Airflow clears what the attempt before had pushed."""

        dag_id, task_id, run_id, map_index = "sales_lakehouse", "load", "manual", 3

        def __init__(self, when_found: Callable[[], Any] = lambda: None) -> None:
            super().__init__(ti=self, task_instance=self)
            self.when_found = when_found

        def xcom_push(self, key: str, value: Any, **_: Any) -> None:
            if key == "glue_job_run_id":
                self.when_found()

        def xcom_pull(self, key: str, task_ids: str) -> Any:
            return None

    @pytest.mark.parametrize("deferrable", [False, True])
    def test_success(self, glue: Glue, operator: Callable[..., Any], deferrable: bool) -> None:
        name = f"operated-{deferrable}"
        task = operator(
            name,
            "import sys\nprint(sys.argv[-1])",
            deferrable=deferrable,
            script_args={"--table": "orders"},
            verbose=True,
        )
        run = execute(task, self.Attempt())
        assert glue.describe(name, run)["JobRunState"] == "SUCCEEDED"
        assert glue.events("output", run) == ["orders"]

    @pytest.mark.parametrize("deferrable", [False, True])
    def test_failure(self, glue: Glue, operator: Callable[..., Any], deferrable: bool) -> None:
        task = operator(f"failing-{deferrable}", "raise ValueError('no orders')", deferrable=deferrable)
        with pytest.raises(Exception, match=r"FAILED|failed") as caught:
            execute(task, self.Attempt())
        assert type(caught.value).__name__ == "AirflowException"
        (run,) = glue.glue.get_job_runs(JobName=task.job_name)["JobRuns"]
        assert (run["JobRunState"], run["ErrorMessage"]) == ("FAILED", "ValueError: no orders")

    def test_a_changed_configuration_updates_the_job(self, glue: Glue, operator: Callable[..., Any]) -> None:
        execute(operator("reconfigured", "pass", update_config=True), self.Attempt())
        execute(operator("reconfigured", "pass", update_config=True, retry_limit=2), self.Attempt())
        assert glue.glue.get_job(JobName="reconfigured")["Job"]["MaxRetries"] == 2

    def test_killing_the_task_stops_the_run(self, glue: Glue, operator: Callable[..., Any]) -> None:
        task = operator("killed", HOLD, wait_for_completion=False, stop_job_run_on_kill=True)
        run = task.execute(self.Attempt())
        pid = glue.running_pid("killed", run)
        task.on_kill()
        assert glue.finish("killed", run)["JobRunState"] == "STOPPED"
        assert gone(pid)

    @pytest.mark.parametrize("deferrable", [False, True])
    def test_a_retried_task_takes_up_the_run_of_the_lost_one(
        self, glue: Glue, operator: Callable[..., Any], tmp_path: Path, deferrable: bool
    ) -> None:
        name, go = f"resumed-{deferrable}", tmp_path / "go"
        script = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.05)"
        lost = operator(name, script, wait_for_completion=False, resume_glue_job_on_retry=True)
        run = lost.execute(self.Attempt())
        glue.until(name, run, "RUNNING")
        retried = operator(name, script, deferrable=deferrable, resume_glue_job_on_retry=True)
        assert execute(retried, self.Attempt(when_found=go.touch)) == run
        assert glue.describe(name, run)["JobRunState"] == "SUCCEEDED"
        assert len(glue.glue.get_job_runs(JobName=name)["JobRuns"]) == 1


class TestMoto:
    """What this backend relies on inside moto."""

    def test_the_backend_that_answers_runs_jobs(self, glue: Glue) -> None:
        assert isinstance(glue_backends[ACCOUNT][REGION], glue_jobs.Glue)

    def test_the_actions_that_are_replaced(self) -> None:
        own = {name for name, value in vars(glue_jobs.JobsResponse).items() if inspect.isfunction(value)}
        added = {"update_job", "batch_stop_job_run", "_page"}
        assert {name for name in own if not hasattr(GlueResponse, name)} == added

    def test_a_reset_builds_the_backend_anew(self) -> None:
        assert "__init__" in BaseBackend.reset.__code__.co_names
        assert {"tag_resource", "get_tags"} <= set(dir(GlueBackend))
        assert "tagger" in GlueBackend.__init__.__code__.co_names
