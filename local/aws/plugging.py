"""Plugging executing backends into moto, and the proof that they are plugged in.

moto keeps one ``BackendDict`` per service and builds a backend from its ``backend`` class at first use. Replacing that
class before the first use makes every caller, CloudFormation included, meet the executing backend.
"""

import importlib
from types import SimpleNamespace
from typing import Any, ClassVar

from moto.backends import get_backend
from moto.core.base_backend import BackendDict


class PluggingError(RuntimeError):
    """A service would be answered by moto alone, which reports success for work it never does."""


class Plugged:
    """Mixin of a moto backend that is defined outside moto.

    Attributes:
        service: moto's name of the service, e.g. ``"s3"``.
        response: A subclass of the service's Response class that parses requests instead of moto's own.
    """

    service: ClassVar[str]
    response: ClassVar[type | None] = None

    @property
    def _url_module(self) -> Any:
        # moto derives the module of URLs from the backend's own module name, which leads nowhere from here.
        urls = importlib.import_module(f"moto.{self.service}.urls")
        paths = {path: self._answered_by(handler) for path, handler in urls.url_paths.items()}
        return SimpleNamespace(url_bases=urls.url_bases, url_paths=paths)

    def _answered_by(self, handler: Any) -> Any:
        owner = getattr(handler, "__self__", None)
        if self.response is None or not isinstance(owner, type) or not issubclass(self.response, owner):
            return handler
        return getattr(self.response, handler.__name__)


def plug(backend: type[Plugged]) -> None:
    """Let a service be answered by an executing backend.

    Args:
        backend: Subclass of :class:`Plugged` and of the service's moto backend.

    Raises:
        PluggingError: moto already built a backend of this service, which would go on answering.
    """
    backends = _backends(backend.service)
    for _, _, built in backends.iter_backends():
        if not isinstance(built, backend):
            raise PluggingError(
                f"{backend.service}: moto already built {type(built).__qualname__}; plug {backend.__qualname__} before "
                "the first use of the service"
            )
    backends.backend = backend  # type: ignore[assignment]


def verify(services: tuple[str, ...], account: str, region: str) -> None:
    """Prove that executing backends, and the Response classes they name, answer these services.

    Args:
        services: moto's names of the services.
        account: The AWS account that will be asked.
        region: The AWS region that will be asked.

    Raises:
        PluggingError: A service is still answered by moto's own backend or Response class.
    """
    for service in services:
        in_account = _backends(service)[account]
        backend = in_account[region if region in in_account else "aws"]
        if not isinstance(backend, Plugged):
            raise PluggingError(
                f"{service}: answered by {type(backend).__module__}.{type(backend).__qualname__}, which executes "
                f"nothing; local.aws must plug its own backend"
            )
        owners = {getattr(handler, "__self__", None) for handler in backend._url_module.url_paths.values()}
        if backend.response is not None and backend.response not in owners:
            raise PluggingError(f"{service}: requests are not parsed by {backend.response.__qualname__}")


def _backends(service: str) -> BackendDict:
    backends = get_backend(service)  # type: ignore[call-overload]
    if not isinstance(backends, BackendDict):
        raise PluggingError(f"moto has no per-account backends for {service!r}")
    return backends
