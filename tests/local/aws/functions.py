"""Lambda functions for tests that decide, call by call, how an invocation goes on."""

import base64
import io
import json
import queue
import socket
import threading
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from local.aws.settings import client, current

PATIENCE = 30
ASKING = """
import json, os, socket

def handler(event, context):
    with socket.create_connection(("127.0.0.1", int(os.environ["EAR"]))) as connection:
        connection.sendall(json.dumps({"event": event, "pid": os.getpid()}).encode())
        connection.shutdown(socket.SHUT_WR)
        answer = json.loads(connection.makefile().read())
    if "raise" in answer:
        raise RuntimeError(answer["raise"])
    return answer.get("return")
"""


@dataclass
class Call:
    """An invocation that waits for the test.

    Attributes:
        event: What the function was given.
        pid: Its worker's process.
    """

    event: Any
    pid: int
    connection: socket.socket

    @property
    def records(self) -> list[Any]:
        return self.event["Records"]

    @property
    def data(self) -> list[str]:
        """The payloads of a Kinesis batch."""
        return [base64.b64decode(record["kinesis"]["data"]).decode() for record in self.records]

    @property
    def bodies(self) -> list[str]:
        """The bodies of an SQS batch."""
        return [record["body"] for record in self.records]

    def succeed(self, value: Any = None) -> None:
        self._answer({"return": value})

    def fail(self, message: str = "as asked") -> None:
        self._answer({"raise": message})

    def report(self, *failed: str) -> None:
        """Report the failure of some items."""
        self.succeed({"batchItemFailures": [{"itemIdentifier": identifier} for identifier in failed]})

    def _answer(self, answer: dict[str, Any]) -> None:
        with self.connection:
            self.connection.sendall(json.dumps(answer).encode())


class Ear:
    """Hears the invocations of the functions that ask."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._calls: queue.Queue[Call] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        return {"EAR": str(self._listener.getsockname()[1])}

    def hear(self) -> Call:
        """The next call."""
        return self._calls.get(timeout=PATIENCE)

    def silent(self, seconds: float = 0.3) -> bool:
        """Whether nobody calls for a while."""
        try:
            self._calls.get(timeout=seconds)
        except queue.Empty:
            return True
        return False

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            asked = json.loads(connection.makefile().read())
            self._calls.put(Call(asked["event"], asked["pid"], connection))


def aws(service: str) -> Any:
    """A client of the current endpoint; making one takes longer than most calls."""
    return _client(service, current().endpoint)


@lru_cache
def _client(service: str, endpoint: str) -> Any:
    return client(service)


def zipped(**files: str) -> bytes:
    """A zip of Python modules."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as content:
        for name, source in files.items():
            content.writestr(f"{name.replace('__', '/')}.py", source)
    return archive.getvalue()


def role() -> str:
    """A role for functions."""
    iam = aws("iam")
    try:
        return iam.get_role(RoleName="functions")["Role"]["Arn"]
    except iam.exceptions.NoSuchEntityException:
        return iam.create_role(RoleName="functions", AssumeRolePolicyDocument="{}")["Role"]["Arn"]


def create(name: str, source: str = ASKING, environment: dict[str, str] | None = None, **request: Any) -> str:
    """Create a function.

    Returns:
        Its ARN.
    """
    return aws("lambda").create_function(
        FunctionName=name,
        **{
            "Runtime": "python3.12",
            "Role": role(),
            "Handler": "module.handler",
            "Code": {"ZipFile": zipped(module=source)},
            "Environment": {"Variables": environment or {}},
            **request,
        },
    )["FunctionArn"]


def new_queue(name: str, **attributes: str) -> tuple[str, str]:
    """URL and ARN of a new queue."""
    sqs = aws("sqs")
    url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def receive(url: str) -> dict[str, Any]:
    """The next message of a queue, which is waited for and deleted."""
    sqs = aws("sqs")
    (message,) = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20, MessageAttributeNames=["All"])["Messages"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return message
