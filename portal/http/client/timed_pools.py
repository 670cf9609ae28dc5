"""Connection pools of urllib3 that end each exchange at its deadline.

The timeouts of urllib3 apply to each read. So does its `total`, once the response has begun.
"""

from __future__ import annotations

import http.client
from contextvars import ContextVar
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from ..._internal.timed_socket import TimedSocket

__all__ = ["REQUEST_LIMITS", "manager_of"]

#: (deadline, read timeout) of the request in progress on this thread.
REQUEST_LIMITS: ContextVar[tuple[float | None, float | None]] = ContextVar(
    "portal_request_limits", default=(None, None)
)


def _timed_response(sock: Any, *args: Any, **options: Any) -> http.client.HTTPResponse:
    """Return the response object for `http.client`, which asks for one also when a proxy responds to CONNECT."""
    return http.client.HTTPResponse(TimedSocket(sock, *REQUEST_LIMITS.get()), *args, **options)  # type: ignore[arg-type]


class _HTTPConnection(HTTPConnection):
    response_class = staticmethod(_timed_response)  # type: ignore[assignment]


class _HTTPSConnection(HTTPSConnection):
    response_class = staticmethod(_timed_response)  # type: ignore[assignment]


class _HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


def manager_of(proxy: str | None, **options: Any) -> urllib3.PoolManager:
    """Return pools for every server, or for the servers behind a proxy."""
    manager = urllib3.PoolManager(**options) if proxy is None else urllib3.ProxyManager(proxy, **options)
    manager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
    return manager
