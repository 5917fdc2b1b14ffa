"""AWS Batch on the local stack: real processes behind boto3."""

import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import moto.batch.models
import psutil
import pytest
from botocore.exceptions import ClientError
from moto.batch.responses import BatchResponse

from local.aws import batch, batch_definitions, batch_jobs, settings
from local.aws.server import Server
from local.aws.settings import ACCOUNT, REGION, Image, Settings
from tests.local.aws.operators import execute

ROOT = Path(__file__).parents[3]
HOLD = "import os, sys, time\nwhile not os.path.exists(sys.argv[1]): time.sleep(0.05)\n"


class Aws:
    """A local endpoint with two queues, and shorthands for what every test does."""

    def __init__(self, endpoint: str) -> None:
        def client(service: str):
            return boto3.client(
                service,
                endpoint_url=endpoint,
                region_name=REGION,
                aws_access_key_id="test",
                aws_secret_access_key="test",
            )

        self.client = client
        self.batch, self.logs = client("batch"), client("logs")
        document = '{"Version": "2012-10-17", "Statement": []}'
        role = client("iam").create_role(RoleName="batch", AssumeRolePolicyDocument=document)["Role"]["Arn"]
        self.batch.create_compute_environment(
            computeEnvironmentName="test-laptop", type="UNMANAGED", state="ENABLED", serviceRole=role
        )
        for name, priority in (("test-default", 1), ("test-high", 10)):
            self.batch.create_job_queue(
                jobQueueName=name,
                priority=priority,
                state="ENABLED",
                computeEnvironmentOrder=[{"order": 1, "computeEnvironment": "test-laptop"}],
            )
        self.define("python")

    def define(self, name: str, *, memory: int = 512, image: str = "test-python", **request) -> str:
        container = {
            "image": image,
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": str(memory)}],
            **request.pop("containerProperties", {}),
        }
        registered = self.batch.register_job_definition(
            jobDefinitionName=name, type="container", containerProperties=container, **request
        )
        return registered["jobDefinitionArn"]

    def submit(self, *command: str, definition: str = "python", queue: str = "test-default", **request) -> str:
        overrides = {"command": list(command)} if command else {}
        request["containerOverrides"] = overrides | request.get("containerOverrides", {})
        return self.batch.submit_job(jobName="job", jobDefinition=definition, jobQueue=queue, **request)["jobId"]

    def describe(self, job_id: str) -> dict:
        return self.batch.describe_jobs(jobs=[job_id])["jobs"][0]

    def until(self, job_id: str, *statuses: str) -> dict:
        return wait(lambda: (job := self.describe(job_id))["status"] in statuses and job)

    def finish(self, job_id: str) -> dict:
        return self.until(job_id, "SUCCEEDED", "FAILED")

    def run(self, *command: str, **request) -> dict:
        return self.finish(self.submit(*command, **request))

    def events(self, job: dict) -> list[str]:
        stream = job["container"]["logStreamName"]
        found = self.logs.get_log_events(logGroupName="/aws/batch/job", logStreamName=stream, startFromHead=True)
        return [event["message"] for event in found["events"]]


def wait[Found](condition: Callable[[], Found]) -> Found:
    deadline = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return found


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.fixture(scope="module")
def aws(tmp_path_factory) -> Iterator[Aws]:
    images = {
        "test-python": Image((sys.executable, "-c")),
        "test-shell": Image(()),
        "test-missing": Image(("/nowhere/python", "-m", "product")),
        "test-environment": Image((sys.executable, "-c"), environment={"FROM_IMAGE": "image", "BOTH": "image"}),
    }
    before = settings._current
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VITRINE_BATCH_CORES", "2")
        server = Server(Settings(tmp_path_factory.mktemp("stack"), 0, images))
        server.start()
        yield Aws(server.settings.endpoint)
        batch.stop()
        server.stop()
    if before:
        settings.use(before)


@pytest.fixture
def short_timeouts(monkeypatch):
    monkeypatch.setattr(batch_definitions, "SHORTEST_TIMEOUT", 1)


class TestOutcome:
    def test_success(self, aws):
        job = aws.run("import sys; print('to stdout', flush=True); print('to stderr', file=sys.stderr)")
        assert job["status"] == "SUCCEEDED"
        assert job["statusReason"] == "Essential container in task exited"
        assert job["container"]["exitCode"] == 0
        assert "reason" not in job["container"]
        assert job["createdAt"] <= job["startedAt"] <= job["stoppedAt"]
        assert aws.events(job) == ["to stdout", "to stderr"]
        [attempt] = job["attempts"]
        assert attempt["container"]["logStreamName"] == job["container"]["logStreamName"]
        assert attempt["container"]["logStreamName"].startswith("python/default/")
        assert attempt["startedAt"] <= attempt["stoppedAt"]

    def test_failing_command(self, aws):
        job = aws.run("import sys; sys.exit(3)")
        assert (job["status"], job["container"]["exitCode"]) == ("FAILED", 3)
        assert job["statusReason"] == "Essential container in task exited"

    def test_traceback_is_in_the_log(self, aws):
        job = aws.run("raise ValueError('no sales in 2024-02')")
        assert (job["status"], job["container"]["exitCode"]) == ("FAILED", 1)
        assert aws.events(job)[-1] == "ValueError: no sales in 2024-02"

    def test_unknown_image(self, aws):
        aws.define("unknown", image="123456789012.dkr.ecr.us-east-1.amazonaws.com/nobody:1.0")
        job = aws.run("pass", definition="unknown")
        assert (job["status"], job["statusReason"]) == ("FAILED", "Task failed to start")
        assert job["container"]["reason"].startswith("CannotPullContainerError: ")
        assert "nobody:1.0" in job["container"]["reason"]
        assert "known images: test-environment, test-missing, test-python, test-shell" in job["container"]["reason"]
        assert "exitCode" not in job["container"]
        assert "startedAt" not in job

    @pytest.mark.parametrize(
        "reference",
        ["test-python", "test-python:latest", "123456789012.dkr.ecr.us-east-1.amazonaws.com/test-python:2026.1"],
    )
    def test_known_image_by_any_reference(self, aws, reference):
        aws.define("referenced", image=reference)
        assert aws.run("pass", definition="referenced")["status"] == "SUCCEEDED"

    def test_image_whose_environment_is_missing(self, aws):
        aws.define("missing", image="test-missing")
        job = aws.run("x", definition="missing")
        assert job["status"] == "FAILED"
        assert job["container"]["reason"].startswith("CannotPullContainerError: ")
        assert "/nowhere/python" in job["container"]["reason"]
        assert "known images: " in job["container"]["reason"]

    @pytest.mark.parametrize(
        ("command", "reason"),
        [(("no-such-program",), "no-such-program"), ((), "no command specified")],
        ids=["not there", "not given"],
    )
    def test_command_that_cannot_start(self, aws, command, reason):
        aws.define("shell", image="test-shell")
        job = aws.run(*command, definition="shell")
        assert (job["status"], job["statusReason"]) == ("FAILED", "Task failed to start")
        assert job["container"]["reason"].startswith("CannotStartContainerError: ")
        assert reason in job["container"]["reason"]

    def test_memory_over_the_limit(self, aws):
        aws.define("small", memory=100)
        job = aws.run("import time; held = b'x' * (200 << 20); time.sleep(600)", definition="small")
        assert (job["status"], job["container"]["exitCode"]) == ("FAILED", 137)
        assert job["container"]["reason"] == "OutOfMemoryError: Container killed due to memory usage"
        assert job["attempts"][0]["container"]["reason"] == job["container"]["reason"]
        assert "100 MiB allowed" in aws.events(job)[-1]

    def test_memory_override_raises_the_limit(self, aws):
        aws.define("small", memory=100)
        job = aws.run(
            "import time; held = b'x' * (200 << 20); time.sleep(0.5)",
            definition="small",
            containerOverrides={"resourceRequirements": [{"type": "MEMORY", "value": "600"}]},
        )
        assert job["status"] == "SUCCEEDED"
        assert {"type": "MEMORY", "value": "600"} in job["container"]["resourceRequirements"]

    def test_timeout_is_final(self, aws, short_timeouts):
        job = aws.run(
            "import time; time.sleep(600)", timeout={"attemptDurationSeconds": 1}, retryStrategy={"attempts": 3}
        )
        assert (job["status"], job["statusReason"]) == ("FAILED", "Job attempt duration exceeded timeout")
        assert job["container"]["exitCode"] == 143
        assert len(job["attempts"]) == 1

    def test_an_internal_error_fails_the_job(self, aws, monkeypatch):
        def broken(*_):
            raise OSError("no space left on device")

        monkeypatch.setattr(batch_jobs, "_log_stream", broken)
        job = aws.run("pass")
        assert (job["status"], job["statusReason"]) == ("FAILED", "Internal error of the local stack")
        assert "no space left on device" in job["container"]["reason"]


class TestRetries:
    def test_until_success_with_a_log_each(self, aws):
        code = "import os, sys; n = os.environ['AWS_BATCH_JOB_ATTEMPT']; print('attempt', n); sys.exit(n != '3')"
        job = aws.run(code, retryStrategy={"attempts": 5})
        assert job["status"] == "SUCCEEDED"
        assert [attempt["container"]["exitCode"] for attempt in job["attempts"]] == [1, 1, 0]
        assert len({attempt["container"]["logStreamName"] for attempt in job["attempts"]}) == 3
        assert [aws.events(attempt) for attempt in job["attempts"]] == [[f"attempt {n}"] for n in (1, 2, 3)]
        assert job["container"]["logStreamName"] == job["attempts"][-1]["container"]["logStreamName"]

    def test_strategy_of_the_definition_is_the_default(self, aws):
        aws.define("twice", retryStrategy={"attempts": 2})
        assert len(aws.run("raise SystemExit(1)", definition="twice")["attempts"]) == 2
        job = aws.run("raise SystemExit(1)", definition="twice", retryStrategy={"attempts": 1})
        assert len(job["attempts"]) == 1

    def test_evaluate_on_exit_decides(self, aws):
        rules = [{"onExitCode": "4*", "action": "EXIT"}, {"onExitCode": "5", "action": "RETRY"}]
        code = "import os, sys; sys.exit(5 if os.environ['AWS_BATCH_JOB_ATTEMPT'] == '1' else 42)"
        job = aws.run(code, retryStrategy={"attempts": 9, "evaluateOnExit": rules})
        assert [attempt["container"]["exitCode"] for attempt in job["attempts"]] == [5, 42]
        assert job["status"] == "FAILED"

    @pytest.mark.parametrize(
        ("rules", "expected"),
        [
            ([], True),
            ([{"onExitCode": "137", "action": "EXIT"}], False),
            ([{"onExitCode": "13*", "action": "exit"}], False),
            ([{"onExitCode": "1", "action": "EXIT"}], True),
            ([{"onReason": "OutOfMemoryError:*", "action": "EXIT"}], False),
            ([{"onReason": "OutOfMemoryError", "action": "EXIT"}], True),
            ([{"onStatusReason": "Essential container*", "onExitCode": "1", "action": "EXIT"}], True),
            ([{"onStatusReason": "Essential container*", "onExitCode": "137", "action": "EXIT"}], False),
            ([{"onReason": "Out*", "action": "RETRY"}, {"onReason": "*", "action": "EXIT"}], True),
            ([{"onReason": "CannotPull*", "action": "RETRY"}, {"onReason": "*", "action": "EXIT"}], False),
        ],
    )
    def test_rules_are_tried_in_order(self, rules, expected):
        strategy = {"attempts": 2, "evaluateOnExit": rules}
        ended = (137, "OutOfMemoryError: Container killed", "Essential container in task exited")
        assert batch_definitions.retries(strategy, 1, *ended) is expected
        assert batch_definitions.retries(strategy, 2, *ended) is False

    def test_a_container_that_cannot_start_is_retried(self, aws):
        aws.define("missing", image="test-missing")
        assert len(aws.run("x", definition="missing", retryStrategy={"attempts": 2})["attempts"]) == 2


class TestContainer:
    def test_parameters_fill_the_command(self, aws):
        aws.define(
            "parametrised",
            parameters={"client": "drogaria", "product": "mba"},
            containerProperties={
                "command": [
                    "import sys; print(sys.argv[1:])",
                    "Ref::client",
                    "--out=s3://lake/Ref::client/Ref::product.parquet",
                    "Ref::nothing",
                ]
            },
        )
        job = aws.run(definition="parametrised", parameters={"client": "online_retail"})
        expected = ["online_retail", "--out=s3://lake/online_retail/mba.parquet", "Ref::nothing"]
        assert aws.events(job) == [str(expected)]
        assert job["parameters"] == {"client": "online_retail", "product": "mba"}

    def test_environment(self, aws):
        aws.define(
            "environment",
            image="test-environment",
            containerProperties={
                "environment": [{"name": "BOTH", "value": "definition"}, {"name": "KEPT", "value": "definition"}]
            },
        )
        code = (
            "import os\n"
            "names = ['BOTH', 'KEPT', 'FROM_IMAGE', 'AWS_BATCH_JOB_ID', 'AWS_BATCH_JOB_ATTEMPT', 'AWS_BATCH_JQ_NAME',\n"
            "         'AWS_BATCH_CE_NAME', 'AWS_BATCH_JOB_ARRAY_INDEX', 'AWS_ENDPOINT_URL', 'VITRINE_BATCH_CORES']\n"
            "for name in names: print(os.environ.get(name))"
        )
        overrides = {"environment": [{"name": "BOTH", "value": "override"}]}
        job = aws.run(code, definition="environment", containerOverrides=overrides)
        assert aws.events(job) == [
            *("override", "definition", "image", job["jobId"], "1", "test-default", "test-laptop", "None"),
            aws.batch.meta.endpoint_url,
            "None",
        ]
        variables = {pair["name"]: pair["value"] for pair in job["container"]["environment"]}
        assert variables == {"BOTH": "override", "KEPT": "definition"}

    def test_secrets(self, aws):
        secret = aws.client("secretsmanager").create_secret(
            Name="snowflake", SecretString='{"user": "loader", "key": "s3cr3t"}'
        )["ARN"]
        ssm = aws.client("ssm")
        ssm.put_parameter(Name="/vitrine/token", Value="t0ken", Type="SecureString")
        ssm.put_parameter(Name="plain", Value="pl41n", Type="String")
        arn = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter"
        sources = {
            "WHOLE": secret,
            "KEY": f"{secret}:key::",
            "BY_NAME": "/vitrine/token",
            "BY_ARN": f"{arn}/vitrine/token",
            "PLAIN": f"{arn}/plain",
        }
        aws.define(
            "secrets",
            containerProperties={
                "secrets": [{"name": name, "valueFrom": source} for name, source in sources.items()],
            },
        )
        job = aws.run(f"import os\nfor name in {list(sources)}: print(os.environ[name])", definition="secrets")
        assert aws.events(job) == ['{"user": "loader", "key": "s3cr3t"}', "s3cr3t", "t0ken", "t0ken", "pl41n"]
        assert "s3cr3t" not in str(job)

    @pytest.mark.parametrize("source", ["nobody", f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:nobody-AbCdEf"])
    def test_missing_secret(self, aws, source):
        aws.define("secretive", containerProperties={"secrets": [{"name": "KEY", "valueFrom": source}]})
        job = aws.run("pass", definition="secretive")
        assert job["status"] == "FAILED"
        assert job["container"]["reason"].startswith("ResourceInitializationError: unable to pull secrets: ")
        assert source in job["container"]["reason"]

    def test_log_configuration(self, aws):
        options = {"awslogs-group": "/vitrine/jobs", "awslogs-stream-prefix": "products"}
        logging = {"logConfiguration": {"logDriver": "awslogs", "options": options}}
        aws.define("logging", containerProperties=logging)
        job = aws.run("print('x')", definition="logging")
        assert job["container"]["reason"] == "CannotStartContainerError: the log group /vitrine/jobs does not exist"
        aws.logs.create_log_group(logGroupName="/vitrine/jobs")
        job = aws.run("print('x')", definition="logging")
        assert job["container"]["logStreamName"].startswith("products/default/")
        found = aws.logs.get_log_events(
            logGroupName="/vitrine/jobs", logStreamName=job["container"]["logStreamName"], startFromHead=True
        )
        assert [event["message"] for event in found["events"]] == ["x"]


class TestLogs:
    def test_lines_are_readable_in_order_while_the_job_runs(self, aws, tmp_path):
        code = f"for i in range(2000): print(i)\nprint('now', flush=True)\n{HOLD}print('last', end='')"
        job_id = aws.submit(code, str(tmp_path / "gate"))
        job = aws.until(job_id, "RUNNING")
        expected = [*map(str, range(2000)), "now"]
        wait(lambda: aws.events(job) == expected)
        assert aws.describe(job_id)["status"] == "RUNNING"
        (tmp_path / "gate").touch()
        assert aws.events(aws.finish(job_id)) == [*expected, "last"]

    def test_awkward_output(self, aws):
        code = (
            "import os\n"
            "os.write(1, b'10%\\r20%\\rdone\\r\\n' + b'\\xff\\xfe\\n')\n"
            "os.write(1, b'y' * 600_000 + b'\\n\\n')\n"
            "os.write(1, 'fim: \u00e7'.encode())"
        )
        messages = aws.events(aws.run(code))
        assert messages[:4] == ["10%", "20%", "done", "��"]
        assert "".join(messages[4:-1]) == "y" * 600_000
        assert all(len(message) <= 256 * 1024 for message in messages)
        assert messages[-1] == "fim: ç"


class TestArrays:
    def test_children_have_indexes(self, aws):
        code = "import os; print(os.environ['AWS_BATCH_JOB_ARRAY_INDEX'], os.environ['AWS_BATCH_JOB_ARRAY_SIZE'])"
        parent = aws.run(code, arrayProperties={"size": 3})
        assert parent["status"] == "SUCCEEDED"
        assert parent["arrayProperties"]["size"] == 3
        assert parent["arrayProperties"]["statusSummary"]["SUCCEEDED"] == 3
        listed = aws.batch.list_jobs(arrayJobId=parent["jobId"], jobStatus="SUCCEEDED")["jobSummaryList"]
        assert [job["jobId"] for job in listed] == [f"{parent['jobId']}:{index}" for index in range(3)]
        children = [aws.describe(job["jobId"]) for job in listed]
        assert [child["arrayProperties"]["index"] for child in children] == [0, 1, 2]
        assert [aws.events(child) for child in children] == [["0 3"], ["1 3"], ["2 3"]]

    def test_one_failed_child_fails_the_parent(self, aws):
        code = "import os, sys; sys.exit(os.environ['AWS_BATCH_JOB_ARRAY_INDEX'] == '1')"
        parent = aws.run(code, arrayProperties={"size": 3})
        assert (parent["status"], parent["statusReason"]) == ("FAILED", "Array Child Job failed")
        summary = parent["arrayProperties"]["statusSummary"]
        assert (summary["SUCCEEDED"], summary["FAILED"]) == (2, 1)

    def test_parent_is_pending_while_children_run(self, aws, tmp_path):
        job_id = aws.submit(HOLD, str(tmp_path / "gate"), arrayProperties={"size": 2})
        wait(lambda: aws.describe(job_id)["arrayProperties"]["statusSummary"]["RUNNING"] == 2)
        assert aws.describe(job_id)["status"] == "PENDING"
        (tmp_path / "gate").touch()
        assert aws.finish(job_id)["status"] == "SUCCEEDED"

    def test_sequential_children_run_one_after_the_other(self, aws, tmp_path):
        log = tmp_path / "order"
        code = f"import os\nwith open({str(log)!r}, 'a') as f: f.write(os.environ['AWS_BATCH_JOB_ARRAY_INDEX'])"
        parent = aws.run(code, arrayProperties={"size": 4}, dependsOn=[{"type": "SEQUENTIAL"}])
        assert parent["status"] == "SUCCEEDED"
        assert log.read_text() == "0123"

    def test_sequential_children_stop_at_a_failure(self, aws):
        code = "import os, sys; sys.exit(os.environ['AWS_BATCH_JOB_ARRAY_INDEX'] == '1')"
        parent = aws.run(code, arrayProperties={"size": 4}, dependsOn=[{"type": "SEQUENTIAL"}])
        statuses = [aws.describe(f"{parent['jobId']}:{index}")["status"] for index in range(4)]
        assert statuses == ["SUCCEEDED", "FAILED", "FAILED", "FAILED"]

    def test_n_to_n_children_wait_for_their_counterpart(self, aws):
        code = "import os, sys; sys.exit(os.environ['AWS_BATCH_JOB_ARRAY_INDEX'] == '0')"
        first = aws.submit(code, arrayProperties={"size": 2})
        second = aws.run("pass", arrayProperties={"size": 2}, dependsOn=[{"jobId": first, "type": "N_TO_N"}])
        children = [aws.describe(f"{second['jobId']}:{index}") for index in range(2)]
        assert [child["status"] for child in children] == ["FAILED", "SUCCEEDED"]
        assert f"{first}:0" in children[0]["statusReason"]

    def test_terminating_the_parent_terminates_the_children(self, aws, tmp_path):
        job_id = aws.submit(HOLD, str(tmp_path / "gate"), arrayProperties={"size": 3})
        wait(lambda: aws.describe(job_id)["arrayProperties"]["statusSummary"]["RUNNING"] == 2)
        aws.batch.terminate_job(jobId=job_id, reason="enough")
        parent = aws.finish(job_id)
        assert (parent["status"], parent["statusReason"]) == ("FAILED", "enough")
        assert parent["arrayProperties"]["statusSummary"]["FAILED"] == 3


class TestScheduling:
    def test_as_many_run_as_there_are_cores(self, aws, tmp_path):
        jobs = [aws.submit(HOLD, str(tmp_path / "gate")) for _ in range(4)]
        wait(lambda: sorted(aws.describe(job)["status"] for job in jobs)[2:] == ["RUNNING"] * 2)
        assert [aws.describe(job)["status"] for job in jobs] == ["RUNNING"] * 2 + ["RUNNABLE"] * 2
        (tmp_path / "gate").touch()
        assert {aws.finish(job)["status"] for job in jobs} == {"SUCCEEDED"}

    def test_the_queue_of_higher_priority_goes_first(self, aws, tmp_path):
        blockers = [aws.submit(HOLD, str(tmp_path / "gate")) for _ in range(2)]
        for job in blockers:
            aws.until(job, "RUNNING")
        low = [aws.submit("pass", queue="test-default") for _ in range(2)]
        high = [aws.submit("pass", queue="test-high") for _ in range(2)]
        (tmp_path / "gate").touch()
        low_started = [aws.finish(job)["startedAt"] for job in low]
        high_started = [aws.finish(job)["startedAt"] for job in high]
        assert max(high_started) <= min(low_started)

    def test_a_dependent_waits(self, aws, tmp_path):
        first = aws.submit(HOLD, str(tmp_path / "gate"))
        second = aws.submit("pass", dependsOn=[{"jobId": first}])
        aws.until(first, "RUNNING")
        assert aws.describe(second)["status"] == "PENDING"
        (tmp_path / "gate").touch()
        assert aws.finish(second)["startedAt"] >= aws.describe(first)["stoppedAt"]

    def test_a_failed_dependency_fails_everything_behind_it(self, aws):
        first = aws.submit("raise SystemExit(1)")
        second = aws.submit("pass", dependsOn=[{"jobId": first}])
        third = aws.finish(aws.submit("pass", dependsOn=[{"jobId": second}]))
        assert third["status"] == "FAILED"
        assert third["statusReason"] == f"Dependent Job failed: job ({second})"
        assert aws.describe(second)["statusReason"] == f"Dependent Job failed: job ({first})"
        assert third["attempts"] == []

    def test_a_dependency_on_an_array_waits_for_all_of_it(self, aws, tmp_path):
        code = f"import os\nif os.environ['AWS_BATCH_JOB_ARRAY_INDEX'] == '1':\n {HOLD.replace(chr(10), chr(10) + ' ')}"
        array = aws.submit(code, str(tmp_path / "gate"), arrayProperties={"size": 2})
        dependent = aws.submit("pass", dependsOn=[{"jobId": array}])
        aws.finish(f"{array}:0")
        assert aws.describe(dependent)["status"] == "PENDING"
        (tmp_path / "gate").touch()
        assert aws.finish(dependent)["status"] == "SUCCEEDED"

    def test_statuses_only_move_forward(self, aws, tmp_path):
        first = aws.submit(HOLD, str(tmp_path / "gate"))
        second = aws.submit("import time; time.sleep(0.3)", dependsOn=[{"jobId": first}])
        seen = []

        def ended() -> bool:
            status = aws.describe(second)["status"]
            if status not in seen:
                seen.append(status)
                if status == "PENDING":
                    (tmp_path / "gate").touch()
            return status in batch_jobs.FINISHED

        wait(ended)
        assert seen == sorted(seen, key=batch_jobs.STATUSES.index)
        assert {"PENDING", "RUNNING", "SUCCEEDED"} <= set(seen)


class TestStopping:
    def test_cancel_a_waiting_job(self, aws, tmp_path):
        first = aws.submit(HOLD, str(tmp_path / "gate"))
        second = aws.submit("pass", dependsOn=[{"jobId": first}])
        aws.batch.cancel_job(jobId=second, reason="wrong client")
        job = aws.finish(second)
        assert (job["status"], job["statusReason"], job["isCancelled"]) == ("FAILED", "wrong client", True)
        assert job["attempts"] == []
        (tmp_path / "gate").touch()
        assert aws.finish(first)["status"] == "SUCCEEDED"

    def test_cancel_does_not_touch_a_running_job(self, aws, tmp_path):
        job_id = aws.submit(HOLD, str(tmp_path / "gate"))
        aws.until(job_id, "RUNNING")
        aws.batch.cancel_job(jobId=job_id, reason="too late")
        (tmp_path / "gate").touch()
        job = aws.finish(job_id)
        assert job["status"] == "SUCCEEDED"
        assert "isCancelled" not in job

    def test_terminate_kills_the_whole_process_group(self, aws):
        code = (
            "import os, subprocess, sys, time\n"
            "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
            "print(os.getpid(), child.pid, flush=True)\n"
            "time.sleep(600)"
        )
        job_id = aws.submit(code, retryStrategy={"attempts": 3})
        running = aws.until(job_id, "RUNNING")
        [pids] = wait(lambda: aws.events(running))
        assert not any(gone(int(pid)) for pid in pids.split())
        aws.batch.terminate_job(jobId=job_id, reason="operator pulled the plug")
        job = aws.finish(job_id)
        assert (job["status"], job["statusReason"], job["isTerminated"]) == (
            "FAILED",
            "operator pulled the plug",
            True,
        )
        assert job["container"]["exitCode"] == 143
        assert len(job["attempts"]) == 1
        assert all(gone(int(pid)) for pid in pids.split())

    def test_terminate_kills_what_ignores_the_signal(self, aws, monkeypatch):
        monkeypatch.setattr(batch_jobs, "GRACE_SECONDS", 0.3)
        code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
        job_id = aws.submit(code)
        running = aws.until(job_id, "RUNNING")
        wait(lambda: aws.events(running))
        aws.batch.terminate_job(jobId=job_id, reason="stop")
        assert aws.finish(job_id)["container"]["exitCode"] == 137

    def test_terminate_a_waiting_job(self, aws, tmp_path):
        first = aws.submit(HOLD, str(tmp_path / "gate"))
        second = aws.submit("pass", dependsOn=[{"jobId": first}])
        aws.batch.terminate_job(jobId=second, reason="never mind")
        assert aws.finish(second)["statusReason"] == "never mind"
        (tmp_path / "gate").touch()
        aws.finish(first)

    @pytest.mark.parametrize("call", ["cancel_job", "terminate_job"])
    def test_a_job_that_does_not_exist(self, aws, call):
        with pytest.raises(ClientError, match="job nobody does not exist"):
            getattr(aws.batch, call)(jobId="nobody", reason="x")

    def test_stopping_the_stack_fails_its_jobs(self, aws, tmp_path):
        jobs = [aws.submit("import os, time; print(os.getpid(), flush=True); time.sleep(600)") for _ in range(3)]
        [pid] = wait(lambda: aws.events(aws.until(jobs[0], "RUNNING")))
        batch.stop()
        assert gone(int(pid))
        ended = [aws.describe(job) for job in jobs]
        assert {(job["status"], job["statusReason"]) for job in ended} == {("FAILED", "the local stack was stopped")}

    def test_no_job_survives_the_crash_of_the_stack(self, tmp_path):
        stack = textwrap.dedent(f"""
            import sys, time, pathlib
            sys.path.insert(0, {str(Path(__file__).parent)!r})
            from test_batch import Aws
            from local.aws.server import Server
            from local.aws.settings import Image, Settings
            images = {{"test-python": Image((sys.executable, "-c"))}}
            aws = Aws(Server(Settings(pathlib.Path({str(tmp_path)!r}), 0, images)).start().settings.endpoint)
            job = aws.submit("import os, time; print(os.getpid(), flush=True); time.sleep(600)")
            running = aws.until(job, "RUNNING")
            while not (lines := aws.events(running)): time.sleep(0.05)
            print(lines[0], flush=True)
            time.sleep(600)
        """)
        with subprocess.Popen(
            [sys.executable, "-c", stack],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            text=True,
        ) as process:
            pid = int(process.stdout.readline())
            assert not gone(pid)
            process.kill()
        assert wait(lambda: gone(pid))


class TestListing:
    def test_by_status_in_pages(self, aws):
        queue = "test-listing"
        order = [{"order": 1, "computeEnvironment": "test-laptop"}]
        aws.batch.create_job_queue(jobQueueName=queue, priority=1, state="ENABLED", computeEnvironmentOrder=order)
        jobs = [aws.submit("pass", queue=queue) for _ in range(5)]
        failed = aws.submit("raise SystemExit(1)", queue=queue)
        for job in [*jobs, failed]:
            aws.finish(job)

        def listed(**request) -> list[list[str]]:
            pages = aws.batch.get_paginator("list_jobs").paginate(jobQueue=queue, **request)
            return [[job["jobId"] for job in page["jobSummaryList"]] for page in pages]

        size = {"PaginationConfig": {"PageSize": 2}}
        assert listed(jobStatus="SUCCEEDED", **size) == [jobs[:2], jobs[2:4], jobs[4:]]
        assert listed(jobStatus="FAILED") == [[failed]]
        assert listed() == [[]]  # by default AWS lists what is RUNNING
        assert listed(filters=[{"name": "JOB_NAME", "values": ["JO*"]}]) == [[*jobs, failed]]
        assert listed(filters=[{"name": "JOB_DEFINITION", "values": ["other"]}]) == [[]]

    def test_summary(self, aws):
        job = aws.run("raise SystemExit(4)")
        listed = aws.batch.list_jobs(jobQueue="test-default", jobStatus="FAILED")["jobSummaryList"]
        [summary] = [each for each in listed if each["jobId"] == job["jobId"]]
        assert summary["container"] == {"exitCode": 4}
        for field in ("createdAt", "startedAt", "stoppedAt", "statusReason", "jobDefinition", "jobArn"):
            assert summary[field] == job[field]

    @pytest.mark.parametrize(
        ("request_", "complaint"),
        [
            ({"jobQueue": "nobody"}, "nobody"),
            ({"arrayJobId": "nobody"}, "nobody"),
            ({"jobQueue": "test-default", "jobStatus": "DONE"}, "DONE"),
            ({"multiNodeJobId": "x"}, "multiNodeJobId"),
            ({"jobQueue": "test-default", "nextToken": "%"}, "nextToken"),
            ({"jobQueue": "test-default", "nextToken": "bm9ib2R5"}, "nextToken"),
        ],
    )
    def test_wrong_requests(self, aws, request_, complaint):
        with pytest.raises(ClientError, match=complaint):
            aws.batch.list_jobs(**request_)

    def test_unknown_jobs_are_left_out(self, aws):
        assert aws.batch.describe_jobs(jobs=["nobody"])["jobs"] == []

    def test_tags(self, aws):
        aws.define("tagged", tags={"team": "data"})
        request = {"definition": "tagged", "tags": {"client": "drogaria"}}
        assert aws.run("pass", **request)["tags"] == {"client": "drogaria"}
        assert aws.run("pass", propagateTags=True, **request)["tags"] == {"team": "data", "client": "drogaria"}


class TestDefinitions:
    def test_revisions_stand_alone(self, aws):
        first = aws.define("revised", parameters={"a": "1"}, retryStrategy={"attempts": 3})
        second = aws.define("revised")
        assert (first[-2:], second[-2:]) == (":1", ":2")
        found = aws.batch.describe_job_definitions(jobDefinitionName="revised")["jobDefinitions"]
        assert [definition["revision"] for definition in found] == [2, 1]
        assert found[0]["parameters"] == {}
        assert "attempts" not in found[0]["retryStrategy"]

    def test_found_by_revision_and_status(self, aws):
        aws.define("found")
        arn = aws.define("found")
        aws.batch.deregister_job_definition(jobDefinition="found:1")

        def revisions(**request) -> list[int]:
            found = aws.batch.describe_job_definitions(**request)["jobDefinitions"]
            return [definition["revision"] for definition in found]

        assert revisions(jobDefinitions=["found:1"]) == [1]
        assert revisions(jobDefinitions=[arn]) == [2]
        assert revisions(jobDefinitionName="found", status="ACTIVE") == [2]
        assert revisions(jobDefinitionName="found", status="INACTIVE") == [1]
        pages = aws.batch.get_paginator("describe_job_definitions").paginate(
            jobDefinitionName="found", PaginationConfig={"PageSize": 1}
        )
        assert [definition["revision"] for page in pages for definition in page["jobDefinitions"]] == [2, 1]

    def test_a_job_uses_the_latest_active_revision(self, aws):
        first = aws.define("latest")
        second = aws.define("latest")
        assert aws.run("pass", definition="latest")["jobDefinition"] == second
        aws.batch.deregister_job_definition(jobDefinition=second)
        assert aws.run("pass", definition="latest")["jobDefinition"] == first
        with pytest.raises(ClientError, match="latest:2 is not ACTIVE"):
            aws.submit("pass", definition="latest:2")

    @pytest.mark.parametrize(
        ("field", "properties"),
        [
            ("containerProperties.privileged", {"privileged": True}),
            ("containerProperties.user", {"user": "root"}),
            ("containerProperties.readonlyRootFilesystem", {"readonlyRootFilesystem": True}),
            ("containerProperties.ulimits", {"ulimits": [{"name": "nofile", "hardLimit": 1, "softLimit": 1}]}),
            ("containerProperties.volumes", {"volumes": [{"name": "efs", "host": {"sourcePath": "/mnt"}}]}),
            (
                "containerProperties.linuxParameters.devices",
                {"linuxParameters": {"devices": [{"hostPath": "/dev/kvm"}]}},
            ),
            (
                r"containerProperties.resourceRequirements\[2\].type GPU",
                {
                    "resourceRequirements": [
                        {"type": "VCPU", "value": "1"},
                        {"type": "MEMORY", "value": "64"},
                        {"type": "GPU", "value": "1"},
                    ]
                },
            ),
            ("MEMORY", {"resourceRequirements": [{"type": "VCPU", "value": "1"}]}),
            (
                "VCPU must be",
                {"resourceRequirements": [{"type": "VCPU", "value": "0.3"}, {"type": "MEMORY", "value": "64"}]},
            ),
            ("AWS_BATCH_X", {"environment": [{"name": "AWS_BATCH_X", "value": "1"}]}),
            ("containerProperties.logConfiguration.logDriver splunk", {"logConfiguration": {"logDriver": "splunk"}}),
            (
                "operatingSystemFamily",
                {"runtimePlatform": {"operatingSystemFamily": "WINDOWS_SERVER_2022_CORE"}},
            ),
        ],
    )
    def test_container_properties_that_cannot_be_given(self, aws, field, properties):
        with pytest.raises(ClientError, match=field):
            aws.define("refused", containerProperties=properties)
        assert aws.batch.describe_job_definitions(jobDefinitionName="refused")["jobDefinitions"] == []

    @pytest.mark.parametrize(
        ("field", "request_"),
        [
            ("eksProperties", {"eksProperties": {"podProperties": {"hostNetwork": True}}}),
            ("schedulingPriority", {"schedulingPriority": 3}),
            ("attemptDurationSeconds", {"timeout": {"attemptDurationSeconds": 59}}),
            ("attempts", {"retryStrategy": {"attempts": 11}}),
            (
                "onExitCode",
                {"retryStrategy": {"attempts": 2, "evaluateOnExit": [{"onExitCode": "1x", "action": "EXIT"}]}},
            ),
            ("onReason", {"retryStrategy": {"attempts": 2, "evaluateOnExit": [{"onReason": "*x", "action": "EXIT"}]}}),
            ("Fargate.*512 MiB", {"platformCapabilities": ["FARGATE"]}),
        ],
    )
    def test_registrations_that_cannot_be_given(self, aws, field, request_):
        with pytest.raises(ClientError, match=field):
            aws.define("refused", **request_)

    @pytest.mark.parametrize("type_", ["multinode", "nonsense"])
    def test_other_types(self, aws, type_):
        with pytest.raises(ClientError, match=f"type must be container, not '{type_}'"):
            aws.batch.register_job_definition(jobDefinitionName="refused", type=type_)

    @pytest.mark.parametrize(
        ("field", "request_"),
        [
            ("nobody does not exist", {"definition": "nobody"}),
            ("nobody does not exist", {"queue": "nobody"}),
            ("shareIdentifier", {"shareIdentifier": "x"}),
            ("schedulingPriorityOverride", {"schedulingPriorityOverride": 3}),
            ("nodeOverrides", {"nodeOverrides": {"numNodes": 2}}),
            ("eksPropertiesOverride", {"eksPropertiesOverride": {"podProperties": {"containers": [{"name": "x"}]}}}),
            (
                r"containerOverrides.resourceRequirements\[0\].type GPU",
                {"containerOverrides": {"resourceRequirements": [{"type": "GPU", "value": "1"}]}},
            ),
            ("containerOverrides.instanceType", {"containerOverrides": {"instanceType": "p5.48xlarge"}}),
            ("arrayProperties.size", {"arrayProperties": {"size": 1}}),
            ("for array jobs only", {"dependsOn": [{"type": "SEQUENTIAL"}]}),
            (r"dependsOn\[0\].jobId", {"dependsOn": [{}]}),
            ("job nobody does not exist", {"dependsOn": [{"jobId": "nobody"}]}),
            ("attemptDurationSeconds", {"timeout": {"attemptDurationSeconds": 5}}),
        ],
    )
    def test_submissions_that_cannot_be_given(self, aws, field, request_):
        with pytest.raises(ClientError, match=field):
            aws.submit("pass", **request_)

    def test_job_name(self, aws):
        with pytest.raises(ClientError, match="jobName 'a b'"):
            aws.batch.submit_job(jobName="a b", jobDefinition="python", jobQueue="test-default")

    def test_n_to_n_needs_equal_sizes(self, aws):
        first = aws.submit("pass", arrayProperties={"size": 2})
        with pytest.raises(ClientError, match="N_TO_N needs arrays of one size"):
            aws.submit("pass", arrayProperties={"size": 3}, dependsOn=[{"jobId": first, "type": "N_TO_N"}])

    def test_disabled_queue(self, aws):
        order = [{"order": 1, "computeEnvironment": "test-laptop"}]
        aws.batch.create_job_queue(jobQueueName="closed", priority=1, state="DISABLED", computeEnvironmentOrder=order)
        with pytest.raises(ClientError, match="closed is DISABLED"):
            aws.submit("pass", queue="closed")


class TestOperator:
    """Airflow's own operator, run as a worker and a triggerer run it."""

    @pytest.fixture
    def operator(self, aws, monkeypatch, tmp_path):
        if "airflow" not in sys.modules:
            monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
        connection = {"conn_type": "aws", "login": "test", "password": "test", "extra": {"region_name": REGION}}
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
        monkeypatch.setenv("AWS_ENDPOINT_URL", aws.batch.meta.endpoint_url)
        from airflow.providers.amazon.aws.hooks.batch_client import BatchClientHook
        from airflow.providers.amazon.aws.operators.batch import BatchOperator

        monkeypatch.setattr(BatchClientHook, "DEFAULT_DELAY_MIN", 0)
        monkeypatch.setattr(BatchClientHook, "DEFAULT_DELAY_MAX", 0)

        def build(code: str, **arguments):
            return BatchOperator(
                task_id="product",
                job_name="product",
                job_definition="python",
                job_queue="test-default",
                container_overrides={"command": [code]},
                do_xcom_push=False,
                **arguments,
            )

        return build

    @pytest.mark.parametrize("deferrable", [False, True])
    def test_success(self, aws, operator, deferrable):
        job_id = execute(operator("print('rows: 7')", deferrable=deferrable, poll_interval=1))
        assert aws.describe(job_id)["status"] == "SUCCEEDED"
        assert aws.events(aws.describe(job_id)) == ["rows: 7"]

    @pytest.mark.parametrize("deferrable", [False, True])
    def test_failure(self, aws, operator, deferrable):
        task = operator("import time; time.sleep(0.5); raise SystemExit(3)", deferrable=deferrable, poll_interval=1)
        with pytest.raises(Exception, match="fail") as caught:
            execute(task)
        assert type(caught.value).__name__ == "AirflowException"
        assert aws.describe(task.job_id)["container"]["exitCode"] == 3

    def test_log_lines_reach_the_task_log(self, operator, monkeypatch):
        task = operator("print('mining rules', flush=True)", deferrable=True, poll_interval=1, awslogs_enabled=True)
        said = []
        monkeypatch.setattr(task.log, "info", lambda message, *arguments: said.append(str(message)))
        execute(task)
        assert "mining rules" in said

    def test_killing_the_task_terminates_the_job(self, aws, operator):
        task = operator("import time; time.sleep(600)", wait_for_completion=False)
        task.execute({})
        aws.until(task.job_id, "RUNNING")
        task.on_kill()
        job = aws.finish(task.job_id)
        assert (job["status"], job["statusReason"]) == ("FAILED", "Task killed by the user")


class TestMoto:
    """What this backend relies on inside moto."""

    def test_the_backend_that_answers_is_the_executing_one(self, aws):
        backend = moto.batch.models.batch_backends[ACCOUNT][REGION]
        assert isinstance(backend, batch.ExecutingBatchBackend)
        assert isinstance(backend._job_definitions, dict)

    @pytest.mark.parametrize("name", ["registerjobdefinition", "describejobdefinitions", "submitjob", "listjobs"])
    def test_the_response_has_the_methods_that_are_replaced(self, name):
        assert callable(getattr(BatchResponse, name))

    def test_the_backend_has_the_methods_that_are_replaced(self):
        own = {name for name, value in vars(batch.ExecutingBatchBackend).items() if callable(value)}
        replaced = {
            *("register_job_definition", "deregister_job_definition", "submit_job", "describe_jobs"),
            *("cancel_job", "terminate_job", "reset"),
        }
        assert replaced <= own & set(dir(moto.batch.models.BatchBackend))
