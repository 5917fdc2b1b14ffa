import base64
import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from typing import Any

import botocore.session
import psutil
import pytest
from botocore.exceptions import ClientError
from moto.awslambda.responses import LambdaResponse
from moto.core.utils import camelcase_to_underscores

from local.aws import lambda_api, lambda_queue, lambda_workers, lambdas
from local.aws.server import Server
from local.aws.settings import Settings
from tests.local.aws import functions
from tests.local.aws.functions import Ear, aws, create, new_queue, receive, zipped

LOOK = """
import os, sys, tempfile
print("loaded")

def handler(event, context):
    print("called with", event)
    return {
        "event": event,
        "path": sys.path,
        "name": context.function_name,
        "arn": context.invoked_function_arn,
        "left": context.get_remaining_time_in_millis(),
        "environment": dict(os.environ),
        "pid": os.getpid(),
    }
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(Settings(tmp_path_factory.mktemp("lambda") / "state", 0)).start()
    yield started
    started.stop()


@pytest.fixture
def ear(server: Server) -> Iterator[Ear]:
    listening = Ear()
    yield listening
    listening.close()


@pytest.fixture(autouse=True)
def _functions_go(server: Server) -> Iterator[None]:
    yield
    for function in aws("lambda").list_functions()["Functions"]:
        aws("lambda").delete_function(FunctionName=function["FunctionName"])


def invoke(name: str, event: Any = None, **request: Any) -> dict[str, Any]:
    answer = aws("lambda").invoke(FunctionName=name, Payload=json.dumps(event), **request)
    return {**answer, "Payload": json.loads(answer["Payload"].read() or b"null")}


def logged(name: str) -> list[str]:
    logs = aws("logs")
    events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
    return [event["message"] for event in events]


def test_a_function_runs_with_its_own_code_environment_and_context(server: Server) -> None:
    arn = create("look", LOOK, {"COLOUR": "red"}, Timeout=7, MemorySize=256)

    answer = invoke("look", {"a": [1, "ü"]})

    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert "FunctionError" not in answer
    seen = answer["Payload"]
    assert (seen["event"], seen["name"], seen["arn"]) == ({"a": [1, "ü"]}, "look", arn)
    assert 5000 < seen["left"] <= 7000
    environment = seen["environment"]
    assert environment["COLOUR"] == "red"
    assert environment["AWS_LAMBDA_FUNCTION_NAME"] == "look"
    assert environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "256"
    assert environment["AWS_ENDPOINT_URL"] == server.settings.endpoint
    assert environment["AWS_ACCESS_KEY_ID"]
    assert seen["path"][0] == environment["LAMBDA_TASK_ROOT"]
    repository = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(lambdas.__file__))))  # noqa: PTH120, PTH100
    assert repository not in seen["path"]


def test_a_worker_stays_warm_and_logs_what_happens(server: Server) -> None:
    create("warm", LOOK)
    first, second = invoke("warm", 1), invoke("warm", 2, LogType="Tail")
    assert first["Payload"]["pid"] == second["Payload"]["pid"]

    lines = logged("warm")

    request = second["ResponseMetadata"]["HTTPHeaders"]
    tail = base64.b64decode(request["x-amz-log-result"]).decode().splitlines()
    assert lines[0].startswith("INIT_START Runtime Version: python:3.12")
    assert "x-amz-log-result" not in first["ResponseMetadata"]["HTTPHeaders"]
    assert lines[-4:] == tail
    assert re.fullmatch(r"START RequestId: ([\w-]+) Version: \$LATEST", tail[0])
    assert tail[1] == "called with 2"
    assert tail[2] == tail[0].replace("START", "END").removesuffix(" Version: $LATEST")
    assert re.search(
        r"\tDuration: [\d.]+ ms\tBilled Duration: \d+ ms\tMemory Size: 128 MB\tMax Memory Used: \d+ MB", tail[3]
    )
    assert [line for line in lines if line == "loaded"] == ["loaded"]
    assert ["Init Duration" in line for line in lines if line.startswith("REPORT")] == [True, False]


def test_an_exception_is_the_answer(server: Server) -> None:
    create("broken", "def handler(event, context):\n    raise KeyError(event)\n")
    answer = invoke("broken", "id")
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    assert answer["Payload"]["errorType"] == "KeyError"
    assert "module.py" in answer["Payload"]["stackTrace"][0]
    assert lambdas.invoke("broken", "id").error == "KeyError: 'id'"


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("import nothing_of_this_name", "Runtime.ImportModuleError"),
        ("def other(event, context): pass", "Runtime.HandlerNotFound"),
        ("def handler(", "Runtime.UserCodeSyntaxError"),
        ("import os; os._exit(3)", "Runtime.ExitError"),
    ],
)
def test_code_that_does_not_load_is_the_answer(server: Server, source: str, kind: str) -> None:
    create("broken", source)
    answer = invoke("broken")
    assert (answer["FunctionError"], answer["Payload"]["errorType"]) == ("Unhandled", kind)


def test_what_takes_too_long_is_killed_and_replaced(ear: Ear) -> None:
    create("slow", environment=ear.environment, Timeout=1)
    answers: list[dict[str, Any]] = []
    caller = threading.Thread(target=lambda: answers.append(invoke("slow")))
    caller.start()
    call = ear.hear()  # and never answer
    caller.join()
    assert answers[0]["FunctionError"] == "Unhandled"
    assert answers[0]["Payload"]["errorMessage"].endswith("Task timed out after 1.00 seconds")
    assert any("Task timed out after 1.00 seconds" in line for line in logged("slow"))
    caller = threading.Thread(target=lambda: answers.append(invoke("slow")))
    caller.start()
    again = ear.hear()
    assert again.pid != call.pid
    assert not psutil.pid_exists(call.pid)
    again.succeed("done")
    caller.join()
    assert answers[1]["Payload"] == "done"


def test_a_killed_worker_is_an_error_and_is_replaced(ear: Ear) -> None:
    create("victim", environment=ear.environment)
    answers: list[dict[str, Any]] = []
    caller = threading.Thread(target=lambda: answers.append(invoke("victim")))
    caller.start()
    os.kill(ear.hear().pid, signal.SIGKILL)
    caller.join()
    assert answers[0]["Payload"]["errorType"] == "Runtime.ExitError"
    assert answers[0]["Payload"]["errorMessage"].endswith("Runtime exited with error: signal: killed")
    caller = threading.Thread(target=lambda: answers.append(invoke("victim")))
    caller.start()
    ear.hear().succeed("done")
    caller.join()
    assert answers[1]["Payload"] == "done"


def test_memory_is_limited(server: Server) -> None:
    source = "import time\ndef handler(event, context):\n    held = b'x' * (300 << 20)\n    time.sleep(20)\n"
    create("greedy", source, Timeout=30)
    answer = invoke("greedy")
    assert answer["Payload"]["errorType"] == "Runtime.OutOfMemory"
    assert "MemorySize, 128 MB" in answer["Payload"]["errorMessage"]


def test_an_answer_must_not_be_too_large(server: Server) -> None:
    create("large", "def handler(event, context):\n    return 'x' * event\n")
    assert len(invoke("large", 6_000_000)["Payload"]) == 6_000_000
    assert invoke("large", 6_300_000)["Payload"]["errorType"] == "Function.ResponseSizeTooLarge"


def test_workers_that_nobody_needs_end(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lambda_workers, "IDLE_SECONDS", 0.05)
    create("look", LOOK)
    worker = psutil.Process(invoke("look")["Payload"]["pid"])
    gone, _ = psutil.wait_procs([worker], timeout=functions.PATIENCE)
    assert gone
    assert invoke("look")["Payload"]["pid"] != worker.pid


def test_a_change_takes_effect_with_the_next_invocation(server: Server) -> None:
    create("look", LOOK, {"COLOUR": "red"})
    worker = psutil.Process(invoke("look")["Payload"]["pid"])

    aws("lambda").update_function_configuration(FunctionName="look", Environment={"Variables": {"COLOUR": "blue"}})
    assert invoke("look")["Payload"]["environment"]["COLOUR"] == "blue"
    gone, _ = psutil.wait_procs([worker], timeout=functions.PATIENCE)
    assert gone

    with pytest.raises(ClientError, match="Could not unzip"):
        aws("lambda").update_function_code(FunctionName="look", ZipFile=b"no zip")
    assert invoke("look", 3)["Payload"]["event"] == 3
    aws("lambda").update_function_code(
        FunctionName="look", ZipFile=zipped(module="def handler(event, context):\n    return 'new'\n")
    )
    assert invoke("look")["Payload"] == "new"


def test_reserved_concurrency_is_the_limit(ear: Ear) -> None:
    create("one", environment=ear.environment)
    aws("lambda").put_function_concurrency(FunctionName="one", ReservedConcurrentExecutions=1)
    results: list[lambdas.Result] = []
    callers = [threading.Thread(target=lambda: results.append(lambdas.invoke("one", {}))) for _ in range(2)]
    callers[0].start()
    call = ear.hear()
    with pytest.raises(ClientError, match="ReservedConcurrentExecutions") as caught:
        invoke("one")
    assert caught.value.response["Error"]["Code"] == "TooManyRequestsException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
    callers[1].start()  # from inside the stack, one waits
    assert ear.silent()
    call.succeed(1)
    ear.hear().succeed(2)
    for caller in callers:
        caller.join()
    assert [result.payload for result in results] == [b"1", b"2"]


def test_several_invocations_run_at_a_time(ear: Ear) -> None:
    create("many", environment=ear.environment)
    callers = [threading.Thread(target=invoke, args=("many",)) for _ in range(3)]
    for caller in callers:
        caller.start()
    calls = [ear.hear() for _ in callers]
    assert len({call.pid for call in calls}) == 3
    for call in calls:
        call.succeed()
    for caller in callers:
        caller.join()


def test_layers_are_on_the_path_behind_the_code(server: Server) -> None:
    layer = aws("lambda").publish_layer_version(
        LayerName="shared",
        Content={"ZipFile": zipped(python__shared="VALUE = 'layer'", python__module="raise Exception")},
    )
    create(
        "layered",
        "import shared\ndef handler(event, context):\n    return shared.VALUE\n",
        Layers=[layer["LayerVersionArn"]],
    )
    assert invoke("layered")["Payload"] == "layer"


def test_code_comes_from_s3(server: Server) -> None:
    s3 = aws("s3")
    s3.create_bucket(Bucket="code")
    s3.put_object(
        Bucket="code", Key="a.zip", Body=zipped(module="def handler(event, context):\n    return 'from S3'\n")
    )
    s3.put_object(Bucket="code", Key="a.txt", Body=b"no zip")
    create("stored", Code={"S3Bucket": "code", "S3Key": "a.zip"})
    assert invoke("stored")["Payload"] == "from S3"
    with pytest.raises(ClientError, match="NoSuchKey"):
        create("missing", Code={"S3Bucket": "code", "S3Key": "b.zip"})
    with pytest.raises(ClientError, match="Could not unzip"):
        create("missing", Code={"S3Bucket": "code", "S3Key": "a.txt"})
    with pytest.raises(ClientError, match="Function not found"):
        invoke("missing")


# ------------------------------------------------------------------------------------------------------- asynchronous


def test_an_event_is_tried_three_times_and_then_told_of(ear: Ear, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lambda_queue, "RETRY_SECONDS", (0.01, 0.01))
    url, arn = new_queue("failures")
    create("unwilling", environment=ear.environment)
    aws("lambda").put_function_event_invoke_config(
        FunctionName="unwilling", DestinationConfig={"OnFailure": {"Destination": arn}}
    )
    answer = invoke("unwilling", {"id": 7}, InvocationType="Event")
    assert answer["StatusCode"] == 202
    for _ in range(3):
        call = ear.hear()
        assert call.event == {"id": 7}
        call.fail("never")
    told = json.loads(receive(url)["Body"])
    assert told["requestContext"]["condition"] == "RetriesExhausted"
    assert told["requestContext"]["approximateInvokeCount"] == 3
    assert told["requestPayload"] == {"id": 7}
    assert told["responsePayload"]["errorMessage"] == "never"
    assert ear.silent()


def test_an_event_that_succeeds_at_last_is_told_of(ear: Ear, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lambda_queue, "RETRY_SECONDS", (0.01, 0.01))
    url, arn = new_queue("successes")
    create("hesitant", environment=ear.environment)
    aws("lambda").put_function_event_invoke_config(
        FunctionName="hesitant", MaximumRetryAttempts=1, DestinationConfig={"OnSuccess": {"Destination": arn}}
    )
    invoke("hesitant", {}, InvocationType="Event")
    ear.hear().fail()
    ear.hear().succeed("well")
    told = json.loads(receive(url)["Body"])
    assert (told["requestContext"]["condition"], told["responsePayload"]) == ("Success", "well")


def test_an_event_that_is_lost_is_logged(ear: Ear, caplog: pytest.LogCaptureFixture) -> None:
    create("lossy", environment=ear.environment)
    aws("lambda").put_function_event_invoke_config(FunctionName="lossy", MaximumRetryAttempts=0)
    invoke("lossy", {}, InvocationType="Event")
    ear.hear().fail("gone")
    lambda_queue.stop()  # which lets those that are at work finish
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("lambda-queue")]
    for thread in threads:
        thread.join(functions.PATIENCE)
    assert "its event is lost: RuntimeError: gone" in caplog.text


# ----------------------------------------------------------------------------------------------------------- refusals


def test_requests_that_make_no_sense_are_refused(server: Server) -> None:
    create("look", LOOK)
    for payload, code in (
        (b"{", "InvalidRequestContentException"),
        (b'"%s"' % (b"x" * (7 << 20)), "RequestTooLargeException"),
    ):
        with pytest.raises(ClientError) as caught:
            aws("lambda").invoke(FunctionName="look", Payload=payload)
        assert caught.value.response["Error"]["Code"] == code
    assert invoke("look", InvocationType="DryRun")["StatusCode"] == 204
    with pytest.raises(ClientError, match="Function not found"):
        invoke("nobody", InvocationType="DryRun")
    with pytest.raises(lambdas.UnknownFunctionError, match="nobody"):
        lambdas.invoke("nobody", {})


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"Runtime": "python3.9"}, "Runtime python3.9"),
        ({"PackageType": "Image", "Code": {"ImageUri": "a"}}, "PackageType Image"),
        ({"Publish": True}, "Publish"),
        ({"DeadLetterConfig": {"TargetArn": "arn:aws:sqs:us-east-1:123456789012:q"}}, "DeadLetterConfig"),
        ({"Environment": {"Variables": {"AWS_REGION": "x"}}}, "reserved keys.*AWS_REGION"),
        ({"Timeout": 901}, "Timeout 901"),
        ({"MemorySize": 200000}, "MemorySize"),
        ({"TracingConfig": {"Mode": "Active"}}, "X-Ray"),
        ({"SnapStart": {"ApplyOn": "PublishedVersions"}}, "SnapStart"),
        ({"Code": {"ZipFile": b"no zip"}}, "Could not unzip"),
        ({"Code": {"S3Bucket": "code"}}, "S3Key"),
        ({"Layers": ["arn:aws:lambda:us-east-1:123456789012:layer:none:1"]}, "LayerVersion does not exist"),
        ({"Role": "arn:aws:iam::123456789012:role/nobody"}, "cannot be assumed"),
    ],
)
def test_a_function_that_would_not_run_as_asked_is_refused(
    server: Server, request_: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ClientError, match=reason):
        create("refused", LOOK, **request_)
    assert aws("lambda").list_functions()["Functions"] == []


def test_versions_are_refused(server: Server) -> None:
    create("look", LOOK)
    service = aws("lambda")
    for attempt in (
        lambda: service.publish_version(FunctionName="look"),
        lambda: service.create_alias(FunctionName="look", Name="live", FunctionVersion="1"),
        lambda: service.invoke(FunctionName="look", Qualifier="1"),
        lambda: service.invoke(FunctionName="look:live"),
        lambda: service.create_function_url_config(FunctionName="look", AuthType="NONE"),
        lambda: service.update_function_code(FunctionName="look", ZipFile=zipped(module=LOOK), Publish=True),
    ):
        with pytest.raises(ClientError, match=r"local Lambda (does|has)"):
            attempt()
    assert invoke("look", Qualifier="$LATEST")["StatusCode"] == 200


def test_each_action_that_moto_answers_is_done_or_refused() -> None:
    model = botocore.session.get_session().get_service_model("lambda")
    offered = {camelcase_to_underscores(name) for name in model.operation_names} & set(dir(LambdaResponse))
    done = {
        *("create_function", "update_function_code", "update_function_configuration", "get_function", "list_functions"),
        *("get_function_configuration", "delete_function", "invoke", "list_versions_by_function"),
        *("create_event_source_mapping", "update_event_source_mapping", "get_event_source_mapping"),
        *("list_event_source_mappings", "delete_event_source_mapping"),
        *("add_permission", "remove_permission", "get_policy", "list_tags", "tag_resource", "untag_resource"),
        *("put_function_concurrency", "get_function_concurrency", "delete_function_concurrency"),
        *("put_function_event_invoke_config", "update_function_event_invoke_config"),
        *("get_function_event_invoke_config", "delete_function_event_invoke_config"),
        "list_function_event_invoke_configs",
        *("publish_layer_version", "list_layers", "list_layer_versions", "get_layer_version", "delete_layer_version"),
    }
    assert offered - done == lambda_api.REFUSED.keys()
    assert done <= offered
