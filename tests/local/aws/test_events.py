import http.server
import json
import queue
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.events.models import events_backends

from local.aws import event_rules, topics
from local.aws.server import Server
from local.aws.settings import ACCOUNT, REGION, Settings
from tests.local.aws.functions import PATIENCE, Ear, aws, create, new_queue, receive


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(Settings(tmp_path_factory.mktemp("events") / "state", 0)).start()
    yield started
    started.stop()


@pytest.fixture
def ear(server: Server) -> Iterator[Ear]:
    listening = Ear()
    yield listening
    listening.close()


@pytest.fixture
def name(request: pytest.FixtureRequest, server: Server) -> str:
    return request.node.originalname.removeprefix("test_")[:60]


def new_topic(name: str) -> str:
    return aws("sns").create_topic(Name=name)["TopicArn"]


def subscribe(topic: str, protocol: str, endpoint: str, **attributes: str) -> str:
    return aws("sns").subscribe(
        TopicArn=topic, Protocol=protocol, Endpoint=endpoint, Attributes=attributes, ReturnSubscriptionArn=True
    )["SubscriptionArn"]


def allow(function: str, service: str, source: str) -> None:
    aws("lambda").add_permission(
        FunctionName=function,
        StatementId=f"for-{service.partition('.')[0]}",
        Action="lambda:InvokeFunction",
        Principal=service,
        SourceArn=source,
    )


# ----------------------------------------------------------------------------------------------------------------- SNS


def test_a_message_reaches_a_function(name: str, ear: Ear) -> None:
    topic = new_topic(name)
    function = create(name, environment=ear.environment)
    allow(name, "sns.amazonaws.com", topic)
    subscription = subscribe(topic, "lambda", function)
    attributes = {"kind": {"DataType": "String", "StringValue": "alarm"}}
    sent = aws("sns").publish(TopicArn=topic, Subject="Look", Message="too many", MessageAttributes=attributes)
    call = ear.hear()
    (record,) = call.records
    assert (record["EventSource"], record["EventSubscriptionArn"]) == ("aws:sns", subscription)
    told = record["Sns"]
    assert (told["MessageId"], told["TopicArn"]) == (sent["MessageId"], topic)
    assert (told["Subject"], told["Message"]) == ("Look", "too many")
    assert told["MessageAttributes"] == {"kind": {"Type": "String", "Value": "alarm"}}
    assert "SigningCertUrl" in told
    call.succeed()


def test_a_function_that_lets_nobody_in_gets_nothing(name: str, ear: Ear, caplog: pytest.LogCaptureFixture) -> None:
    topic = new_topic(name)
    dead_url, dead = new_queue(f"{name}-dead")
    function = create(name, environment=ear.environment)
    allow(name, "sns.amazonaws.com", f"{topic}-2")
    subscribe(topic, "lambda", function, RedrivePolicy=json.dumps({"deadLetterTargetArn": dead}))
    aws("sns").publish(TopicArn=topic, Message="secret")
    assert json.loads(receive(dead_url)["Body"])["Message"] == "secret"
    assert "AddPermission with Principal sns.amazonaws.com is missing" in caplog.text
    assert ear.silent(0.1)


def test_a_queue_gets_what_its_filter_lets_pass(name: str) -> None:
    topic = new_topic(name)
    url, arn = new_queue(name)
    subscribe(topic, "sqs", arn, FilterPolicy=json.dumps({"kind": [{"prefix": "al"}]}), RawMessageDelivery="true")
    for kind in ("news", "alarm"):
        aws("sns").publish(
            TopicArn=topic, Message=kind, MessageAttributes={"kind": {"DataType": "String", "StringValue": kind}}
        )
    message = receive(url)
    assert message["Body"] == "alarm"
    assert message["MessageAttributes"]["kind"]["StringValue"] == "alarm"
    assert "Messages" not in aws("sqs").receive_message(QueueUrl=url)


def test_a_filter_can_look_into_the_message(name: str) -> None:
    topic = new_topic(name)
    url, arn = new_queue(name)
    policy = json.dumps({"orders": [{"numeric": [">", 10]}]})
    subscribe(topic, "sqs", arn, FilterPolicy=policy, FilterPolicyScope="MessageBody", RawMessageDelivery="false")
    for orders in (3, 12):
        aws("sns").publish(TopicArn=topic, Message=json.dumps({"orders": orders}))
    assert json.loads(json.loads(receive(url)["Body"])["Message"]) == {"orders": 12}
    assert "Messages" not in aws("sqs").receive_message(QueueUrl=url)


def test_one_that_is_gone_keeps_nothing_from_the_others(name: str, caplog: pytest.LogCaptureFixture) -> None:
    topic = new_topic(name)
    gone_url, gone = new_queue(f"{name}-gone")
    url, arn = new_queue(name)
    subscribe(topic, "sqs", gone)
    subscribe(topic, "sqs", arn)
    aws("sqs").delete_queue(QueueUrl=gone_url)
    aws("sns").publish(TopicArn=topic, Message="all")
    assert json.loads(receive(url)["Body"])["Message"] == "all"
    assert f"{gone} does not exist" in caplog.text


class Web(http.server.BaseHTTPRequestHandler):
    statuses: list[int]
    requests: "queue.Queue[tuple[dict[str, str], Any]]"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.requests.put((dict(self.headers), body))
        self.send_response(self.statuses.pop(0))
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def web() -> Iterator[tuple[str, type[Web]]]:
    handler = type("Handler", (Web,), {"statuses": [], "requests": queue.Queue()})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}/hook", handler
        listening.shutdown()
        thread.join()


def test_a_web_server_is_asked_again(name: str, web: tuple[str, type[Web]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "HTTP_RETRY_SECONDS", (0.01, 0.01))
    url, handler = web
    handler.statuses[:] = [500, 200]
    topic = new_topic(name)
    subscribe(topic, "http", url)
    aws("sns").publish(TopicArn=topic, Message="hello")
    seen = [handler.requests.get(timeout=PATIENCE) for _ in range(2)]
    for headers, body in seen:
        assert (body["Type"], body["Message"]) == ("Notification", "hello")
        assert headers["x-amz-sns-message-type"] == "Notification"


def test_a_web_server_that_refuses_is_given_up_loudly(
    name: str, web: tuple[str, type[Web]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topics, "HTTP_RETRY_SECONDS", (0.01, 0.01))
    url, handler = web
    handler.statuses[:] = [500, 500, 500]
    topic = new_topic(name)
    dead_url, dead = new_queue(name)
    subscribe(topic, "http", url, RedrivePolicy=json.dumps({"deadLetterTargetArn": dead}))
    aws("sns").publish(TopicArn=topic, Message="hello")
    assert json.loads(receive(dead_url)["Body"])["Message"] == "hello"


@pytest.mark.parametrize("protocol", ["email", "sms", "application", "firehose"])
def test_what_nobody_delivers_is_refused(name: str, protocol: str) -> None:
    topic = new_topic(name)
    with pytest.raises(ClientError, match=f"Protocol {protocol}: the local SNS delivers to"):
        subscribe(topic, protocol, "somebody@example.org")
    assert aws("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] == []


def test_text_messages_are_refused(server: Server) -> None:
    with pytest.raises(ClientError, match="sends no text messages"):
        aws("sns").publish(PhoneNumber="+491701234567", Message="hello")


# --------------------------------------------------------------------------------------------------------- EventBridge


def put_rule(name: str, *targets: dict[str, Any], **rule: Any) -> str:
    arn = aws("events").put_rule(Name=name, **rule)["RuleArn"]
    numbered = [{"Id": str(number), **target} for number, target in enumerate(targets)]
    aws("events").put_targets(Rule=name, Targets=numbered)
    return arn


def put_event(detail: Any, **entry: Any) -> dict[str, Any]:
    event = {"Source": "shop", "DetailType": "order", "Detail": json.dumps(detail), **entry}
    (answer,) = aws("events").put_events(Entries=[event])["Entries"]
    return answer


def test_an_event_reaches_all_targets_of_rules_that_match(name: str, ear: Ear) -> None:
    function = create(name, environment=ear.environment)
    url, arn = new_queue(name)
    topic_url, topic_queue = new_queue(f"{name}-topic")
    topic = new_topic(name)
    subscribe(topic, "sqs", topic_queue, RawMessageDelivery="true")
    pattern = json.dumps({"source": ["shop"], "detail": {"total": [{"numeric": [">=", 100]}]}})
    rule = put_rule(
        name,
        {"Arn": function},
        {"Arn": arn, "InputPath": "$.detail"},
        {"Arn": topic, "Input": '{"fixed": 1}'},
        EventPattern=pattern,
    )
    allow(name, "events.amazonaws.com", rule)

    assert "ErrorCode" not in put_event({"total": 99})
    sent = put_event({"total": 100}, Time=datetime(2026, 3, 1, 10), Resources=["arn:a"])

    call = ear.hear()
    assert call.event == {
        "version": "0",
        "id": sent["EventId"],
        "detail-type": "order",
        "source": "shop",
        "account": "123456789012",
        "time": "2026-03-01T10:00:00Z",
        "region": "us-east-1",
        "resources": ["arn:a"],
        "detail": {"total": 100},
    }
    call.succeed()
    assert json.loads(receive(url)["Body"]) == {"total": 100}
    assert json.loads(receive(topic_url)["Body"]) == {"fixed": 1}
    assert ear.silent(0.1)

    aws("events").disable_rule(Name=name)
    put_event({"total": 100})
    assert ear.silent(0.1)


def test_an_event_that_is_not_let_in_goes_to_the_dead_letters(name: str, ear: Ear) -> None:
    function = create(name, environment=ear.environment)
    url, arn = new_queue(name)
    put_rule(name, {"Arn": function, "DeadLetterConfig": {"Arn": arn}}, EventPattern=json.dumps({"source": ["shop"]}))
    put_event({"id": 5})
    assert json.loads(receive(url)["Body"])["detail"] == {"id": 5}
    assert ear.silent(0.1)
    aws("events").disable_rule(Name=name)


def test_events_that_nobody_can_read_are_refused(server: Server) -> None:
    assert put_event({}, Detail="{")["ErrorCode"] == "MalformedDetail"
    assert put_event({}, Detail="[1]")["ErrorCode"] == "MalformedDetail"
    assert put_event({}, Source="aws.s3")["ErrorCode"] == "NotAuthorizedForSourceException"
    with pytest.raises(ClientError, match="Event bus nowhere does not exist"):
        put_event({}, EventBusName="nowhere")


def test_a_schedule_comes_again_and_again(name: str, ear: Ear, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_rules.schedules, "parse", lambda _: lambda after: after + timedelta(seconds=0.05))
    function = create(name, environment=ear.environment)
    rule = aws("events").put_rule(Name=name, ScheduleExpression="rate(1 minute)", State="DISABLED")["RuleArn"]
    aws("events").put_targets(Rule=name, Targets=[{"Id": "1", "Arn": function}])
    allow(name, "events.amazonaws.com", rule)
    assert ear.silent(0.1)
    aws("events").enable_rule(Name=name)
    for _ in range(3):
        call = ear.hear()
        assert (call.event["detail-type"], call.event["resources"]) == ("Scheduled Event", [rule])
        call.succeed()
    aws("events").remove_targets(Rule=name, Ids=["1"])
    aws("events").delete_rule(Name=name)
    assert rule not in events_backends[ACCOUNT][REGION]._appointments  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"EventPattern": '{"source": [{"like": "x"}]}'}, "the operator like"),
        ({"EventPattern": '{"source": ["aws.s3"]}'}, "no AWS service sends events"),
        ({"ScheduleExpression": "rate(2 minute)"}, "rate"),
        ({"ScheduleExpression": "cron(0 12 * * * *)"}, "exactly one of day-of-month and day-of-week"),
        ({"ScheduleExpression": "cron(0 12 15W * ? *)"}, "is not done here"),
    ],
)
def test_a_rule_that_would_not_do_as_asked_is_refused(server: Server, rule: dict[str, Any], reason: str) -> None:
    with pytest.raises(ClientError, match=reason):
        aws("events").put_rule(Name="refused", **rule)
    assert aws("events").list_rules(NamePrefix="refused")["Rules"] == []


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ({"Arn": "arn:aws:states:us-east-1:123456789012:stateMachine:s"}, "lambda, sqs, sns"),
        ({"InputTransformer": {"InputTemplate": "x"}}, "InputTransformer"),
        ({"InputPath": "$.detail[0]"}, "InputPath"),
    ],
)
def test_a_target_that_would_not_be_served_as_asked_is_refused(name: str, target: dict[str, Any], reason: str) -> None:
    aws("events").put_rule(Name=name, EventPattern='{"source": ["shop"]}')
    with pytest.raises(ClientError, match=reason):
        aws("events").put_targets(
            Rule=name, Targets=[{"Id": "1", "Arn": "arn:aws:sqs:us-east-1:123456789012:q", **target}]
        )
    assert aws("events").list_targets_by_rule(Rule=name)["Targets"] == []


def test_archives_are_refused(server: Server) -> None:
    with pytest.raises(ClientError, match="CreateArchive: this part of events"):
        aws("events").create_archive(
            ArchiveName="all", EventSourceArn="arn:aws:events:us-east-1:123456789012:event-bus/default"
        )


# ------------------------------------------------------------------------------------------------------ CloudFormation

TEMPLATE = """
Parameters:
  Ear: {Type: String}
  Seconds: {Type: String, Default: "7"}
Resources:
  Role:
    Type: AWS::IAM::Role
    Properties: {AssumeRolePolicyDocument: {}}
  Function:
    Type: AWS::Lambda::Function
    Properties:
      FunctionName: deployed
      Runtime: python3.12
      Handler: index.handler
      Role: !GetAtt Role.Arn
      Timeout: !Ref Seconds
      ReservedConcurrentExecutions: 3
      Environment: {Variables: {EAR: !Ref Ear, LIMIT: 10}}
      Tags: [{Key: project, Value: vitrine}]
      Code:
        ZipFile: |
          import json, os, socket
          def handler(event, context):
              with socket.create_connection(("127.0.0.1", int(os.environ["EAR"]))) as connection:
                  told = {"event": [event, os.environ["LIMIT"]], "pid": 0}
                  connection.sendall(json.dumps(told).encode())
                  connection.shutdown(socket.SHUT_WR)
                  connection.recv(100)
  Queue:
    Type: AWS::SQS::Queue
  Mapping:
    Type: AWS::Lambda::EventSourceMapping
    Properties:
      FunctionName: !Ref Function
      EventSourceArn: !GetAtt Queue.Arn
      BatchSize: "5"
  Failures:
    Type: AWS::Lambda::EventInvokeConfig
    Properties:
      FunctionName: !Ref Function
      Qualifier: $LATEST
      MaximumRetryAttempts: 0
  Topic:
    Type: AWS::SNS::Topic
  Subscription:
    Type: AWS::SNS::Subscription
    Properties: {TopicArn: !Ref Topic, Protocol: lambda, Endpoint: !GetAtt Function.Arn}
  Topics:
    Type: AWS::Lambda::Permission
    Properties:
      FunctionName: !Ref Function
      Action: lambda:InvokeFunction
      Principal: sns.amazonaws.com
      SourceArn: !Ref Topic
  Rule:
    Type: AWS::Events::Rule
    Properties:
      EventPattern: {source: [deployment]}
      Targets: [{Id: function, Arn: !GetAtt Function.Arn}]
  Rules:
    Type: AWS::Lambda::Permission
    Properties:
      FunctionName: !GetAtt Function.Arn
      Action: lambda:InvokeFunction
      Principal: events.amazonaws.com
      SourceArn: !GetAtt Rule.Arn
Outputs:
  Topic: {Value: !Ref Topic}
  Queue: {Value: !Ref Queue}
"""


def test_a_template_is_deployed_to_the_letter(ear: Ear) -> None:
    cloudformation = aws("cloudformation")
    parameters = [{"ParameterKey": "Ear", "ParameterValue": ear.environment["EAR"]}]
    cloudformation.create_stack(StackName="events", TemplateBody=TEMPLATE, Parameters=parameters)
    outputs = cloudformation.describe_stacks(StackName="events")["Stacks"][0]["Outputs"]
    made = {output["OutputKey"]: output["OutputValue"] for output in outputs}
    function = aws("lambda").get_function(FunctionName="deployed")
    assert function["Configuration"]["Timeout"] == 7
    assert function["Tags"] == {"project": "vitrine"}
    assert function["Concurrency"] == {"ReservedConcurrentExecutions": 3}

    aws("sqs").send_message(QueueUrl=made["Queue"], MessageBody="by the queue")
    call = ear.hear()
    assert call.event[0]["Records"][0]["body"] == "by the queue"
    assert call.event[1] == "10"
    call.succeed()
    aws("sns").publish(TopicArn=made["Topic"], Message="by the topic")
    call = ear.hear()
    assert call.event[0]["Records"][0]["Sns"]["Message"] == "by the topic"
    call.succeed()
    put_event({"by": "the rule"}, Source="deployment")
    call = ear.hear()
    assert call.event[0]["detail"] == {"by": "the rule"}
    call.succeed()

    cloudformation.delete_stack(StackName="events")
    names = [found["FunctionName"] for found in aws("lambda").list_functions()["Functions"]]
    assert "deployed" not in names
    assert aws("lambda").list_event_source_mappings()["EventSourceMappings"] == []
    assert made["Topic"] not in [topic["TopicArn"] for topic in aws("sns").list_topics()["Topics"]]
    assert not [rule for rule in aws("events").list_rules()["Rules"] if rule["Name"].startswith("events-Rule")]


def test_a_template_with_what_is_not_done_leaves_nothing(ear: Ear) -> None:
    template = TEMPLATE.replace("BatchSize:", "TumblingWindowInSeconds: 5\n      BatchSize:")
    parameters = [{"ParameterKey": "Ear", "ParameterValue": ear.environment["EAR"]}]
    with pytest.raises(ClientError, match=r"Mapping.*TumblingWindowInSeconds"):
        aws("cloudformation").create_stack(StackName="refused", TemplateBody=template, Parameters=parameters)
    assert "deployed" not in [found["FunctionName"] for found in aws("lambda").list_functions()["Functions"]]
