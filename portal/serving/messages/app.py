"""The interface between a listener and the applications that it serves."""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable

from ..._internal.job_queue import Keys
from ...context import Identity
from ...http11.request_head import RequestHead
from .request import Request, Response

__all__ = ["App", "Authenticating", "KeyedApp", "PromptApp", "ProxyAware"]


class App(Protocol):
    """Responds to the requests under a path prefix of a listener."""

    def handle(self, request: Request) -> Response:
        """Return the response to a request. After `request.share()` another thread may respond first."""


@runtime_checkable
class Authenticating(Protocol):
    """An app that can authenticate a caller before the body of its request is read."""

    def authenticates_at(self, head: RequestHead) -> Literal["never", "head", "body"]:
        """Return when the caller of a request is known: it needs no credential, by the head, or by the body."""

    def authenticate_head(self, request: Request) -> Identity | Response:
        """Return the identity of the caller of a request without its body, or the response that rejects it."""


@runtime_checkable
class ProxyAware(Protocol):
    """An app that knows trusted proxies."""

    def trusts(self, peer: str) -> bool:
        """Return whether an address is that of a trusted proxy. It must be quick."""


class PromptApp(App, Protocol):
    """An app some of whose paths are served at once, by the thread that reads, and never wait for a worker.

    Attributes:
        prompt_paths: these paths. To respond must take next to no time.
    """

    prompt_paths: frozenset[str]


class KeyedApp(App, Protocol):
    """An app whose requests have keys, which limit how many of them run and wait."""

    def keys(self, head: RequestHead, peer: str, identity: Identity | None) -> Keys:
        """Return the keys of a request that needs a worker. It must be quick.

        Args:
            peer: network address of the other end of the connection.
            identity: the identity of the client by its certificate, or None.
        """
