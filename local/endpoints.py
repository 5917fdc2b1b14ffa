"""The two endpoints of a stack, started together: AWS in this process, Snowflake in a child."""

import contextlib
import os
import sys
import threading
import time
from typing import Self

from local import deploy
from local.aws import cloudformation, settings
from local.aws.plugging import PluggingError
from local.aws.processes import Process
from local.aws.server import SelfTestError, Server
from local.aws.settings import Settings
from local.stack import LAKE, REPOSITORY, START_SECONDS, STOP_SECONDS, aws_environment, snowflake_answers

CODE = "vitrine-code"
TEMPLATE = REPOSITORY / "include" / "infra" / "vitrine.yaml"


class EndpointError(RuntimeError):
    """An endpoint did not start, or ended."""


class Endpoints(contextlib.ExitStack):
    """Both endpoints, with the infrastructure of `include/infra` deployed, until the end of the block.

    Args:
        configuration: Of the AWS endpoint.
        snowflake_port: Where Snowflake shall listen.
        stop: Set when the start shall not be waited for any more.

    Raises:
        EndpointError: One of them did not start, or something could not be deployed.
    """

    def __init__(self, configuration: Settings, snowflake_port: int, stop: threading.Event) -> None:
        super().__init__()
        self._settings = configuration
        self._snowflake_port = snowflake_port
        self._stop = stop

    def __enter__(self) -> Self:
        try:
            self._snowflake = _Snowflake(self._settings, self._snowflake_port)
            self.callback(self._snowflake.stop)
            self.callback(Server(self._settings).start().stop)
            upload_code()
            cloudformation.deploy(TEMPLATE, "vitrine", template_parameters())
            self._snowflake.wait_until_healthy(self._stop)
        except (OSError, PluggingError, SelfTestError, cloudformation.DeploymentError) as error:
            self.close()
            raise EndpointError(f"The AWS endpoint did not start: {error}") from error
        except BaseException:
            self.close()
            raise
        return self

    def check(self) -> None:
        """Raise `EndpointError` when an endpoint ended by itself."""
        self._snowflake.check()


def upload_code() -> None:
    """Puts the code of jobs and functions where the template looks for it."""
    s3 = settings.client("s3")
    with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou):
        s3.create_bucket(Bucket=CODE)
    deploy.upload(s3, CODE)


def template_parameters() -> dict[str, str]:
    """The template's parameters for this account, whose network is moto's default VPC."""
    ec2 = settings.client("ec2")
    return {
        "VpcSubnets": ",".join(subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]),
        "SecurityGroups": ",".join(group["GroupId"] for group in ec2.describe_security_groups()["SecurityGroups"]),
        "LakeBucketName": LAKE,
        "ImageTag": "latest",
        "CodeBucketName": CODE,
        "CodeVersion": deploy.version(),
        "SearchUrl": f"{settings.current().endpoint}{settings.SEARCH}",
        # Given although it is the default: moto doesn't make a list of a default.
        "InstanceTypes": "optimal",
        "RequireTls": "false",
    }


class _Snowflake:
    """The Snowflake server, in a process that ends with this one, however this one ends."""

    def __init__(self, configuration: Settings, port: int) -> None:
        self._state, self._port = configuration.state, port
        self._log = self._state / "logs" / "snowflake.log"
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._ended = threading.Event()
        self._process = Process(
            [
                *(sys.executable, "-m", "local.snowflake.server"),
                *("--host", configuration.host, "--port", str(port), "--state", str(self._state)),
            ],
            {
                **os.environ,
                **aws_environment(configuration.endpoint),
                "PYTHONPATH": str(REPOSITORY),
                "PYTHONUNBUFFERED": "1",
            },
            REPOSITORY,
            grace=10,
        )
        self._reader = threading.Thread(target=self._read, name="snowflake", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with self._log.open("w", buffering=1) as file:
            try:
                self._process.wait(lambda lines: file.writelines(f"{line}\n" for line in lines))
            finally:
                self._ended.set()

    def wait_until_healthy(self, stop: threading.Event) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not snowflake_answers(self._state, self._port) and not stop.wait(0.1):
            self.check()
            if time.monotonic() > deadline:
                raise EndpointError(f"Snowflake did not answer within {START_SECONDS} s; its log: {self._log}")

    def check(self) -> None:
        if self._ended.is_set():
            raise EndpointError(f"The Snowflake server ended; its log: {self._log}")

    def stop(self) -> None:
        self._process.stop()
        self._reader.join(STOP_SECONDS)
