"""urllib3's pools, of connections that hold each exchange to its deadline.

urllib3's own timeouts are for each read; its `total` too, once the answer has begun.
"""

from __future__ import annotations

import http.client
from contextvars import ContextVar
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from ..._internal.deadline_io import TimedSocket

__all__ = ["LIMITS", "manager_of"]

#: Of the exchange that this thread makes: its deadline, and the seconds for which nothing may come.
LIMITS: ContextVar[tuple[float | None, float | None]] = ContextVar("portal_exchange_limits", default=(None, None))


def _timed(sock: Any, *args: Any, **options: Any) -> http.client.HTTPResponse:
    """Called by http.client for each answer, that of a proxy to CONNECT included."""
    return http.client.HTTPResponse(TimedSocket(sock, *LIMITS.get()), *args, **options)  # type: ignore[arg-type]


class _HTTPConnection(HTTPConnection):
    response_class = staticmethod(_timed)  # type: ignore[assignment]


class _HTTPSConnection(HTTPSConnection):
    response_class = staticmethod(_timed)  # type: ignore[assignment]


class _HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


def manager_of(proxy: str | None, **options: Any) -> urllib3.PoolManager:
    """Return pools for every server, or for the servers behind a proxy."""
    manager = urllib3.PoolManager(**options) if proxy is None else urllib3.ProxyManager(proxy, **options)
    manager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
    return manager
