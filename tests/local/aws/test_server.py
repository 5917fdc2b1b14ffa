import http.client
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.aws import server as server_module
from local.aws import settings
from local.aws.plugging import PluggingError
from local.aws.server import SERVICES, SelfTestError, Server
from local.aws.settings import Image, Settings, child_environment, client


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(Settings(tmp_path_factory.mktemp("state"), 0)).start()
    yield started
    started.stop()


def refusal(service: str, action: str, **arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        getattr(client(service), action)(**arguments)
    assert caught.value.response["Error"]["Code"] == "NotImplemented"
    return caught.value.response["Error"]["Message"]


@pytest.mark.parametrize(
    ("service", "action"),
    [
        ("ecs", "list_clusters"),
        ("rds", "describe_db_instances"),
        ("route53", "list_hosted_zones"),
        ("s3tables", "list_table_buckets"),
        ("stepfunctions", "list_state_machines"),
    ],
)
def test_a_service_that_does_not_run_says_so_in_its_own_protocol(server: Server, service: str, action: str) -> None:
    message = refusal(service, action)
    assert service.replace("-", "") in message
    assert "is not run by this local stack" in message
    assert "athena, batch" in message


@pytest.mark.parametrize(
    ("service", "action", "arguments"),
    [
        ("ec2", "create_vpc", {"CidrBlock": "10.0.0.0/16"}),
        ("glue", "create_crawler", {"Name": "x", "Role": "r", "Targets": {}}),
        ("glue", "create_trigger", {"Name": "x", "Type": "ON_DEMAND", "Actions": [{"JobName": "x"}]}),
        ("glue", "get_job_bookmark", {"JobName": "x"}),
        ("secretsmanager", "rotate_secret", {"SecretId": "x"}),
        ("ssm", "send_command", {"DocumentName": "AWS-RunShellScript"}),
        ("logs", "start_query", {"logGroupName": "g", "startTime": 0, "endTime": 1, "queryString": "fields @message"}),
    ],
)
def test_a_service_that_runs_in_part_refuses_the_rest_by_name(
    server: Server, service: str, action: str, arguments: dict[str, Any]
) -> None:
    message = refusal(service, action, **arguments)
    assert action.replace("_", "") in message.lower()
    assert f"this part of {service} is not run by this local stack" in message


def test_an_action_that_moto_lacks_is_named(server: Server) -> None:
    arn = "arn:aws:sns:us-east-1:123456789012:topic"
    message = refusal("sns", "put_data_protection_policy", ResourceArn=arn, DataProtectionPolicy="{}")
    assert "put_data_protection_policy" in message


def test_the_services_that_moto_answers_work(server: Server) -> None:
    assert client("sts").get_caller_identity()["Account"] == "123456789012"
    topic = client("sns").create_topic(Name="runs")["TopicArn"]
    queue = client("sqs").create_queue(QueueName="runs")["QueueUrl"]
    arn = client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    client("sns").publish(TopicArn=topic, Message="done")
    message = client("sqs").receive_message(QueueUrl=queue)["Messages"][0]["Body"]
    assert json.loads(message)["Message"] == "done"
    client("secretsmanager").create_secret(Name="snowflake", SecretString="key")
    assert client("secretsmanager").get_secret_value(SecretId="snowflake")["SecretString"] == "key"
    client("ssm").put_parameter(Name="/vitrine/a", Value="1", Type="String")
    assert client("ssm").get_parameters_by_path(Path="/vitrine")["Parameters"][0]["Value"] == "1"
    client("logs").create_log_group(logGroupName="/vitrine/test")
    assert client("logs").describe_log_groups()["logGroups"][0]["logGroupName"] == "/vitrine/test"
    client("glue").create_database(DatabaseInput={"Name": "raw"})
    assert client("glue").get_database(Name="raw")["Database"]["Name"] == "raw"


def test_motos_own_control_api_is_not_offered(server: Server) -> None:
    request = urllib.request.Request(server.settings.endpoint + "/moto-api/reset", method="POST")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    assert caught.value.code == 400


def test_health(server: Server) -> None:
    with urllib.request.urlopen(server.settings.endpoint + "/_local/health") as response:
        assert json.load(response) == {"state": str(server.settings.state)}


# -------------------------------------------------------------------------------------------------------- connections


SIGNED = {"Authorization": "AWS4-HMAC-SHA256 Credential=a/20240101/us-east-1/s3/aws4_request, Signature=b"}


@pytest.fixture
def connection(server: Server) -> Iterator[http.client.HTTPConnection]:
    client("s3").create_bucket(Bucket="connected")
    opened = http.client.HTTPConnection("127.0.0.1", server.settings.port, timeout=30)
    yield opened
    opened.close()


def test_a_connection_serves_many_requests(connection: http.client.HTTPConnection) -> None:
    used = set()
    for number in range(3):
        connection.request("PUT", f"/connected/{number}", body=b"bytes", headers=SIGNED)
        assert connection.getresponse().read() == b""
        used.add(connection.sock)
        connection.request("GET", f"/connected/{number}", headers=SIGNED)
        assert connection.getresponse().read() == b"bytes"
        connection.request("HEAD", "/connected/missing")
        missing = connection.getresponse()
        assert (missing.status, missing.read()) == (404, b"")
    assert len(used) == 1
    assert None not in used


def test_a_chunked_body_is_taken_whole(connection: http.client.HTTPConnection) -> None:
    connection.request("PUT", "/connected/chunked", body=iter([b"two ", b"chunks"]), encode_chunked=True)
    connection.getresponse().read()
    assert client("s3").get_object(Bucket="connected", Key="chunked")["Body"].read() == b"two chunks"


def test_a_body_that_the_client_did_not_finish_is_not_taken(connection: http.client.HTTPConnection) -> None:
    connection.putrequest("PUT", "/connected/half")
    connection.putheader("Content-Length", "100")
    connection.endheaders(b"only this")
    connection.sock.shutdown(socket.SHUT_WR)
    with pytest.raises(http.client.RemoteDisconnected):
        connection.getresponse()
    assert "Contents" not in client("s3").list_objects_v2(Bucket="connected", Prefix="half")


def test_a_length_that_is_no_number_is_refused(connection: http.client.HTTPConnection) -> None:
    connection.putrequest("PUT", "/connected/x")
    connection.putheader("Content-Length", "-1")
    connection.endheaders()
    assert connection.getresponse().status == 400


def test_a_client_that_asks_first_may_send_its_body(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.settings.port), timeout=30) as asking:
        asking.sendall(b"PUT /sent HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n")
        assert asking.recv(1024).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")


def test_a_busy_port_is_an_error_and_not_the_end_of_the_process(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy, pytest.raises(OSError, match="in use"):
        Server(Settings(server.settings.state, busy.getsockname()[1])).start()


def test_a_job_sees_the_endpoint_and_none_of_this_machines_secrets(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_HOST", "x")
    monkeypatch.setenv("AWS_PROFILE", "production")
    environment = child_environment({"NAME": "value"})
    assert environment["AWS_ENDPOINT_URL"] == server.settings.endpoint
    assert environment["NAME"] == "value"
    assert not {"SECRET_OF_THE_HOST", "AWS_PROFILE"} & environment.keys()


@pytest.mark.parametrize(
    "reference",
    [
        "forecast",
        "forecast:latest",
        "forecast:2.1",
        "123456789012.dkr.ecr.us-east-1.amazonaws.com/forecast:latest",
        "localhost:5000/team/forecast@sha256:abc",
    ],
)
def test_an_image_is_found_by_its_name(server: Server, reference: str) -> None:
    image = Image(("python", "-m", "forecast"))
    assert Settings(server.settings.state, 0, {"forecast": image}).image(reference) is image


def test_an_unknown_image_is_not_found(server: Server) -> None:
    assert Settings(server.settings.state, 0, {"forecast": Image(("x",))}).image("forecasts:latest") is None


# ---------------------------------------------------------------------------------------------------------- self-test


@pytest.fixture
def stopped(server: Server) -> Iterator[Server]:
    """The module's server, stopped for the test: a process has one."""
    server.stop()
    yield server
    server.start()


def test_a_stopped_server_answers_nobody(server: Server) -> None:
    held = http.client.HTTPConnection("127.0.0.1", server.settings.port, timeout=30)
    held.request("GET", settings.HEALTH)
    held.getresponse().read()
    server.stop()
    try:
        held.sock.settimeout(30)
        assert held.sock.recv(1) == b""
    finally:
        held.close()
        server.start()


def test_a_server_that_pretends_refuses_to_start(stopped: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SERVICES, "ecs", None)
    with pytest.raises(SelfTestError, match="ECS, which does not run here, answered"):
        Server(Settings(stopped.settings.state, 0)).start()


def test_a_server_whose_athena_is_not_plugged_refuses_to_start(
    stopped: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    from moto.athena.models import AthenaBackend, athena_backends

    monkeypatch.setattr(server_module.athena, "plug", lambda: None)
    monkeypatch.setattr(athena_backends, "backend", AthenaBackend)
    with pytest.raises(PluggingError, match="athena: answered by moto"):
        Server(Settings(stopped.settings.state, 0)).start()


def test_the_self_test_finds_an_athena_that_reports_success_for_nonsense(
    stopped: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    from moto.athena.models import AthenaBackend, athena_backends

    monkeypatch.setattr(server_module.athena, "plug", lambda: None)
    monkeypatch.setattr(server_module, "PLUGGED", ("s3",))
    monkeypatch.setattr(athena_backends, "backend", AthenaBackend)
    with pytest.raises(SelfTestError, match="Athena ran a statement that is not SQL"):
        Server(Settings(stopped.settings.state, 0)).start()
