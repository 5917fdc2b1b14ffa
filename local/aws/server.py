"""The AWS endpoint: moto's dispatcher on one port, with executing backends plugged in and nothing that pretends."""

import contextlib
import functools
import io
import json
import logging
import re
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any, ClassVar
from wsgiref.types import StartResponse, WSGIEnvironment

import botocore.session
from botocore.exceptions import ClientError, UnknownServiceError
from moto.core.base_backend import BackendDict
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from local.aws import (
    athena,
    batch,
    cloudformation,
    cloudwatch,
    dynamodb,
    event_rules,
    firehose,
    glue_jobs,
    kinesis,
    lambda_api,
    plugging,
    queues,
    redshift_data,
    s3,
    s3_plain,
    search,
    settings,
    topics,
)
from local.aws.settings import ACCOUNT, REGION, Settings, client

log = logging.getLogger(__name__)

# The services that really work here, by moto's name, and for those that work in part the actions that do.
SERVICES: dict[str, re.Pattern[str] | None] = {
    "athena": None,
    "awslambda": None,
    "batch": None,
    "cloudformation": None,
    "cloudwatch": None,
    "dynamodb": None,
    "ec2": re.compile(r"Describe\w+"),
    "ecr": re.compile(r"(Describe|Create|Delete)Repositor(y|ies)|\w*LifecyclePolicy|\w*Tags?\w*"),
    "firehose": None,
    "glue": re.compile(
        r"\w*(Database|Table|Partition|PartitionIndex|ColumnStatistics)\w*|SearchTables|\w*Tags?\w*"
        r"|(Create|Update|Delete|Get|BatchGet|List)Jobs?|(Start|Get|BatchStop)JobRuns?"
    ),
    "events": event_rules.ACTIONS,
    "iam": None,
    "kinesis": None,
    "logs": re.compile(
        r"(Create|Delete|Describe)Log(Group|Stream)s?|(Put|Get|Filter)LogEvents|\w*RetentionPolicy|\w*Tag\w*"
    ),
    "redshiftdata": re.compile(r"(?!GetStatementResultV2|ListSessions)\w+"),
    "s3": None,
    "secretsmanager": re.compile(r"(?!Rotate|Replicate)\w+"),
    "sns": re.compile(r"(?!\w*(Platform|SMS|PhoneNumber|OptedOut))\w+"),
    "sqs": re.compile(r"(?!\w*MessageMoveTask)\w+"),
    "ssm": re.compile(r"\w*Parameters?(History|ByPath)?|\w*Tags\w*"),
    "sts": None,
}
PLUGGED = ("s3", "batch", "athena", "glue", "cloudformation", "redshiftdata", "awslambda", "sns", "sqs", "events")


# Services without anything of moto.
_OWN: dict[str, Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]] = {
    "cloudwatch": cloudwatch.answer,
    "dynamodb": dynamodb.answer,
    "firehose": firehose.answer,
    "kinesis": kinesis.answer,
}


class SelfTestError(RuntimeError):
    """The endpoint reported success for something that did not happen, so nothing it says can be trusted."""


class Server:
    """One AWS endpoint, in this process.

    moto's state is per process, so one process can serve only one of them.

    Args:
        configuration: Where state lives, the address and port (0 picks a free one), what images run.
    """

    def __init__(self, configuration: Settings) -> None:
        self.settings = configuration

    def start(self) -> "Server":
        """Plug the executing backends, listen, take over the buckets of an earlier run, and test itself.

        Returns:
            This server, with the port it got in ``settings.port``.

        Raises:
            OSError: The port is taken.
            PluggingError: A service would be answered by moto alone.
            SelfTestError: The endpoint pretends.
        """
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        with socket.create_server((self.settings.host, self.settings.port), backlog=128) as listener:
            self.settings.port = listener.getsockname()[1]
            self._http = make_server(
                self.settings.host,
                self.settings.port,
                _Dispatcher(_application),  # type: ignore[arg-type]
                threaded=True,
                request_handler=Connection,
                fd=listener.fileno(),  # werkzeug, listening by itself, would end the process when the port is taken
            )
        settings.use(self.settings)
        try:
            for module in (
                *(s3, batch, athena, glue_jobs, redshift_data, dynamodb, kinesis, firehose),
                *(queues, topics, lambda_api, event_rules, cloudformation),
            ):
                module.plug()
        except BaseException:
            self._http.server_close()
            raise
        self._thread = threading.Thread(target=self._http.serve_forever, name="aws", daemon=True)
        self._thread.start()
        try:
            plugging.verify(PLUGGED, ACCOUNT, REGION)
            for folder in sorted((self.settings.state / "s3").iterdir()):
                s3.adopt(folder.name)
            firehose.start()
            self._test()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop listening; files stay."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        Connection.hang_up()
        lambda_api.stop()
        topics.stop()
        # Before moto forgets the jobs: their processes are told to stop, and waited for.
        batch.stop()
        glue_jobs.stop()
        firehose.stop()
        kinesis.stop()
        dynamodb.stop()
        search.stop()
        BackendDict.reset()

    def _test(self) -> None:
        """Ask over the wire for things that must fail."""
        impossible: dict[str, Callable[[], Any]] = {
            "Athena ran a statement that is not SQL": lambda: self._athena("SELEKT nonsense"),
            "Glue started a job that does not exist": lambda: client("glue").start_job_run(JobName="nonsense"),
            "Batch accepted a job without a definition": lambda: client("batch").submit_job(
                jobName="nonsense", jobQueue="nonsense", jobDefinition="nonsense"
            ),
            "DynamoDB read from a table that does not exist": lambda: client("dynamodb").scan(TableName="nonsense"),
            "Lambda ran a function that does not exist": lambda: client("lambda").invoke(FunctionName="nonsense"),
            "SQS took a message for a queue that does not exist": lambda: client("sqs").send_message(
                QueueUrl=f"{self.settings.endpoint}/{ACCOUNT}/nonsense", MessageBody="nonsense"
            ),
            "Kinesis took a record for a stream that does not exist": lambda: client("kinesis").put_record(
                StreamName="nonsense", PartitionKey="nonsense", Data=b""
            ),
            "Firehose took a record for a stream that does not exist": lambda: client("firehose").put_record(
                DeliveryStreamName="nonsense", Record={"Data": b""}
            ),
            "ECS, which does not run here, answered": lambda: client("ecs").list_clusters(),
        }
        for accusation, attempt in impossible.items():
            try:
                attempt()
            except ClientError:
                continue
            raise SelfTestError(f"The self-test failed: {accusation}")

    @staticmethod
    def _athena(statement: str) -> None:
        athena_client = client("athena")
        execution = athena_client.start_query_execution(
            QueryString=statement, ResultConfiguration={"OutputLocation": "s3://self-test/"}
        )["QueryExecutionId"]
        for _ in range(100):
            status = athena_client.get_query_execution(QueryExecutionId=execution)["QueryExecution"]["Status"]
            if status["State"] == "FAILED":
                raise ClientError({"Error": {"Code": "FAILED", "Message": status["StateChangeReason"]}}, "SELEKT")
            if status["State"] == "SUCCEEDED":
                return
            threading.Event().wait(0.05)


# -------------------------------------------------------------------------------------------------------- connections


class Connection(MotoRequestHandler):
    """A client's connection, open for as many requests as it likes.

    werkzeug closes a connection after one request: a client that writes a thousand objects would connect, and start a
    thread here, a thousand times.
    """

    wbufsize = -1
    disable_nagle_algorithm = True
    _open: ClassVar[set[socket.socket]] = set()
    _lock: ClassVar[threading.Lock] = threading.Lock()

    @classmethod
    def hang_up(cls) -> None:
        """End all connections, each after the request that it is at."""
        with cls._lock:
            for connection in cls._open:
                with contextlib.suppress(OSError):  # the client was faster
                    connection.shutdown(socket.SHUT_RD)

    def setup(self) -> None:
        """Begin."""
        super().setup()
        with self._lock:
            self._open.add(self.connection)

    def finish(self) -> None:
        """End."""
        with self._lock:
            self._open.discard(self.connection)
        super().finish()

    def handle_expect_100(self) -> bool:
        """Let a client that asks first send its body."""
        proceed = super().handle_expect_100()
        self.wfile.flush()
        return proceed

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing: what goes wrong is logged where it does."""

    def run_wsgi(self) -> None:
        """Answer one request."""
        environ = self.make_environ()
        if environ.get("wsgi.input_terminated"):
            self.close_connection = True  # behind a chunked body there may be trailers, which nobody reads
        else:
            body = self._body(environ.get("CONTENT_LENGTH") or "0")
            if body is None:
                return
            environ |= {"wsgi.input": io.BytesIO(body), "wsgi.input_terminated": True}
        answer: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], *_: Any) -> Callable[[bytes], object]:
            answer[:] = status, headers
            return self.wfile.write

        try:
            content = self.server.app(environ, start_response)  # type: ignore[attr-defined]
            try:
                status, headers = answer
                self._send(status, headers, content)
            finally:
                getattr(content, "close", lambda: None)()
        except BaseException:
            self.close_connection = True  # the client must not take half an answer for a whole one
            raise
        finally:
            environ["wsgi.input"].close()  # requests sit in reference cycles: bodies would pile up

    def _body(self, length: str) -> bytes | None:
        """All of the request's body; none of one that the client didn't finish."""
        if not length.isdecimal():
            self.send_error(400, f"Content-Length is {length!r}: not a number")
            self.close_connection = True
            return None
        body: bytes = self.rfile.read(int(length))
        if len(body) < int(length):
            self.close_connection = True
            return None
        return body

    def _send(self, status: str, headers: list[tuple[str, str]], content: Iterable[bytes]) -> None:
        code, _, reason = status.partition(" ")
        self.send_response(int(code), reason)
        for name, value in headers:
            self.send_header(name, value)
        empty = self.command == "HEAD" or code in ("204", "304")
        if not empty and all(name.lower() != "content-length" for name, _ in headers):
            if isinstance(content, list):
                self.send_header("Content-Length", str(sum(map(len, content))))
            else:
                self.send_header("Connection", "close")  # whose end is the end of the content
        self.end_headers()
        for block in () if empty else content:
            self.wfile.write(block)
        self.wfile.flush()


# ----------------------------------------------------------------------------------------------------------- requests

_Application = Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]


class _Dispatcher(DomainDispatcherApplication):
    """moto's choice of a service by the request, with our own answer where moto has none."""

    @functools.lru_cache(maxsize=1024)  # noqa: B019 (one dispatcher per process) -- moto lists its folders each time
    def get_backend_for_host(self, host: str | None) -> Any:
        # moto falls silent about hosts it doesn't know; their first label is the service to name in the refusal.
        return super().get_backend_for_host(host) or (host.partition(".")[0] if host else None)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        if environ.get("PATH_INFO") == settings.HEALTH:
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps({"state": str(settings.current().state)}).encode()]
        try:
            if environ.get("PATH_INFO", "").startswith(settings.SEARCH):
                return search.answer(environ, start_response)
            if environ.get("PATH_INFO", "").startswith(firehose.FLUSH):
                return firehose.answer_flush(environ, start_response)
            return super().__call__(environ, start_response)
        except NotImplementedError as error:
            return _refuse("", f"The local stack does not do this: {error}", environ, start_response)
        except Exception as error:
            log.exception("%s %s", environ.get("REQUEST_METHOD"), environ.get("PATH_INFO"))
            return _refuse("", f"The local stack failed: {type(error).__name__}: {error}", environ, start_response)


def _application(service: str) -> _Application:
    """What answers for a service: moto, moto for some actions, or a refusal."""
    if service not in SERVICES:
        names = ", ".join(sorted(name.removeprefix("aws") for name in SERVICES))
        message = f"{service} is not run by this local stack: nothing would happen. It runs {names}"
        return lambda environ, start_response: _refuse(service, message, environ, start_response)
    if service in _OWN:
        return _OWN[service]
    application = create_backend_app(service)  # type: ignore[arg-type]
    if service == "s3":
        return s3_plain.before(application)
    actions = SERVICES[service]
    if actions is None:
        return application

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        action = _action(environ)
        if actions.fullmatch(action):
            return application(environ, start_response)
        message = f"{action}: this part of {service} is not run by this local stack"
        return _refuse(service, message, environ, start_response)

    return answer


def _action(environ: WSGIEnvironment) -> str:
    """The action of a request in the JSON or the query protocol."""
    target = environ.get("HTTP_X_AMZ_TARGET")
    if target:
        return target.rpartition(".")[2]
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    found = re.search(rb"(?:^|&)Action=(\w+)", body)
    return found[1].decode() if found else ""


def _refuse(service: str, message: str, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Say no in the protocol that the client of the service speaks."""
    code = "NotImplemented"
    protocol = _protocol(service, environ)
    headers = {"x-amzn-ErrorType": code}
    if protocol == "cbor":
        headers |= {"Content-Type": "application/cbor", "smithy-protocol": "rpc-v2-cbor"}
        body = b"\xa2" + _cbor("__type") + _cbor(code) + _cbor("message") + _cbor(message)
    elif protocol == "json":
        headers["Content-Type"] = "application/json"
        body = json.dumps({"__type": code, "message": message, "Message": message}).encode()
    else:
        headers["Content-Type"] = "text/xml"
        error = f"<Error><Code>{code}</Code><Message>{_escape(message)}</Message></Error>"
        form = "<Response><Errors>{}</Errors></Response>" if protocol == "ec2" else "<ErrorResponse>{}</ErrorResponse>"
        body = form.format(error).encode()
    headers["Content-Length"] = str(len(body))
    start_response("400 Bad Request", list(headers.items()))
    return [body]


def _protocol(service: str, environ: WSGIEnvironment) -> str:
    content = environ.get("CONTENT_TYPE", "")
    if "cbor" in content:
        return "cbor"
    if "json" in content or environ.get("HTTP_X_AMZ_TARGET"):
        return "json"
    try:
        protocol = botocore.session.get_session().get_service_model(service).metadata["protocol"]
    except UnknownServiceError:
        return "xml" if "x-www-form-urlencoded" in content else "json"
    return {"json": "json", "rest-json": "json", "ec2": "ec2"}.get(protocol, "xml")


def _cbor(text: str) -> bytes:
    data = text.encode()
    return b"\x79" + len(data).to_bytes(2, "big") + data


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
