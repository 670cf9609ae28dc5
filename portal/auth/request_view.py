"""RequestView: a request as a plain callable of `auth=` sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from .._internal.log import get_logger
from ..errors import ConfigError
from .authenticators import CredentialSource

__all__ = ["AnyCase", "RequestView", "needs_body"]

_log = get_logger("portal.auth")
FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


class AnyCase(Mapping[str, str]):
    """Headers that are found by a name in any case. Threads: any.

    Args:
        headers: by lower-case name.
    """

    __slots__ = ("_headers",)

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    def __getitem__(self, name: str) -> str:
        return self._headers[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._headers)

    def __len__(self) -> int:
        return len(self._headers)

    def __repr__(self) -> str:
        return f"AnyCase({', '.join(self._headers)})"  # without the values, which may be secrets


class RequestView:
    """A request with headers by name in any case, and the body. It has every attribute of the request.

    Args:
        request: the request.
        has_body: whether its body has been read.

    Threads: those of the request.
    """

    __slots__ = ("_has_body", "_request", "headers")

    def __init__(self, request: CredentialSource, *, has_body: bool) -> None:
        self._request = request
        self._has_body = has_body
        self.headers: Mapping[str, str] = AnyCase(request.headers)

    @property
    def body(self) -> bytes:
        """The whole body, as it arrived.

        Raises: ConfigError if the callable does not say that it needs the body.
        """
        if not self._has_body:
            message = "an auth callable reads the body; decorate it with portal.auth.needs_body"
            _log.error(message)
            raise ConfigError(message, path="auth", expected="a callable with @needs_body")
        found: bytes = getattr(self._request, "body", b"")
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._request, name)


def needs_body(function: FunctionT) -> FunctionT:
    """Say that a callable of `auth=` reads `request.body`. It is called when the whole body has arrived.

    Bodies of such requests count as those of unknown callers; see `ServingConfig(max_unknown_input=)`.

    Returns: the callable.
    """
    function.needs_body = True  # type: ignore[attr-defined]
    return function
