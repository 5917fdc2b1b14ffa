"""What every backend of the local stack must know: where state lives, which port answers, what an image runs."""

import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ACCOUNT = "123456789012"
REGION = "us-east-1"
ACCESS_KEY = "local"
SECRET_KEY = "local"  # noqa: S105 - moto checks no signature
HEALTH = "/_local/health"
SEARCH = "/_local/search"
LOOPBACK = "127.0.0.1"

# A job sees no more of this machine than a container would: the rest of its environment comes from its definition.
_INHERITED = ("HOME", "LANG", "LC_ALL", "PATH", "TMPDIR", "TZ")


@dataclass(frozen=True)
class Image:
    """What stands in for a container image.

    Attributes:
        command: The entry point; a job's command is appended to it.
        workdir: Where the process starts; ``None`` is a fresh temporary folder.
        environment: Variables the image itself would set.
    """

    command: tuple[str, ...]
    workdir: Path | None = None
    environment: dict[str, str] = field(default_factory=dict)


@dataclass
class Settings:
    """One local stack.

    Attributes:
        state: The folder that keeps everything which outlives the process.
        port: The TCP port of the AWS endpoint.
        images: Image name, without registry and tag, to what stands in for it.
        host: The address it listens on: 127.0.0.1, or 0.0.0.0 for every one of the machine's.
    """

    state: Path
    port: int
    images: dict[str, Image] = field(default_factory=dict)
    host: str = LOOPBACK

    @property
    def endpoint(self) -> str:
        """The URL of the AWS endpoint for what runs on this machine."""
        return f"http://{LOOPBACK}:{self.port}"

    def image(self, reference: str) -> Image | None:
        """Find what stands in for an image.

        Args:
            reference: As a job definition writes it: ``[registry/]name[:tag]``. An exact match of the whole
                reference wins over the name alone.

        Returns:
            The stand-in, or ``None`` when the stack knows no such image.
        """
        name = reference.rsplit("/", 1)[-1]
        for candidate in (reference, name, name.split("@")[0].split(":")[0]):
            if candidate in self.images:
                return self.images[candidate]
        return None


_current: Settings | None = None
_making = threading.Lock()  # a session of boto3 is not for several threads; its clients are


def use(settings: Settings) -> None:
    """Make these the settings of this process."""
    global _current
    _current = settings


def current() -> Settings:
    """The settings of this process.

    Raises:
        RuntimeError: No stack was configured here.
    """
    if _current is None:
        raise RuntimeError("no local stack is configured in this process: use(Settings(…)) first")
    return _current


def client(service: str) -> Any:
    """A boto3 client of the current endpoint, whatever the environment says."""
    # Here, so that commands which only ask for names and ports don't wait for it.
    import boto3
    from botocore.config import Config

    with _making:
        return boto3.client(
            service,
            endpoint_url=current().endpoint,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(retries={"total_max_attempts": 1}),
        )


def child_environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """The environment of a process that stands in for a container.

    Args:
        extra: Variables of the job; they win over the stack's.

    Returns:
        Endpoint, credentials, region and the few variables a process needs to run at all.
    """
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {
        **inherited,
        "AWS_ENDPOINT_URL": current().endpoint,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONUNBUFFERED": "1",
        **{name: str(value) for name, value in (extra or {}).items()},
    }
