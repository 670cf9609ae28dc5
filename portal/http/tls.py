"""Exchanges over https: urllib3's pools, with its errors told as the wire tells its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from time import monotonic
from typing import TYPE_CHECKING

from .wire import NotSent, StaleConnection

if TYPE_CHECKING:
    import urllib3

__all__ = ["TLSAnswer", "TLSPools", "as_os_error"]

_READ_SIZE = 64 * 1024


def as_os_error(error: Exception) -> OSError:
    """The OSError of `wire.py` that an error of urllib3 stands for."""
    from urllib3 import exceptions as known

    not_sent = (
        known.NewConnectionError,
        known.ConnectTimeoutError,
        known.NameResolutionError,
        known.LocationValueError,
        known.SSLError,
        known.ProxyError,
    )
    if isinstance(error, not_sent):
        return NotSent(_words(error))
    if isinstance(error, known.TimeoutError | TimeoutError):
        return TimeoutError(_words(error))
    if isinstance(error, known.ProtocolError) and "closed connection without response" in str(error):
        return StaleConnection(_words(error))
    return error if isinstance(error, OSError) else ConnectionError(_words(error))


def _words(error: Exception) -> str:
    return str(error.args[-1] if error.args else error) or type(error).__name__


class TLSAnswer:
    """An answer of urllib3, in the shape of `wire.Answer`. One thread at a time."""

    def __init__(self, answer: urllib3.BaseHTTPResponse) -> None:
        self._answer = answer
        self.status = answer.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in answer.headers.items()}

    def whole(self) -> bytes | None:
        """None: the body is read piece by piece."""
        return None

    def pieces(self) -> Iterator[bytes]:
        """The body as it comes; OSError when it is cut off."""
        from urllib3.exceptions import HTTPError

        try:
            while piece := self._answer.read1(_READ_SIZE):
                yield piece
        except (HTTPError, OSError) as error:
            raise as_os_error(error) from error
        if self._answer.length_remaining:
            raise ConnectionResetError("the answer was cut off")
        self._answer.release_conn()

    def close(self) -> None:
        """Give the answer up; after its end this does nothing."""
        self._answer.close()


class TLSPools:
    """Connections to https servers, made on first use.

    Threads: any.
    """

    def __init__(self, connections: int) -> None:
        self._connections = connections
        self._lock = threading.Lock()  # guards the manager's creation
        self._manager: urllib3.PoolManager | None = None

    def exchange(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str],
        deadline: float | None,
        connect_timeout: float,
    ) -> TLSAnswer:
        """Send a request and read the head of its answer; OSError as `wire.WirePool.exchange` raises it."""
        import urllib3

        left = None if deadline is None else max(0.001, deadline - monotonic())
        connect = connect_timeout if left is None else min(left, connect_timeout)
        try:
            return TLSAnswer(
                self._open().request(
                    method,
                    url,
                    body=body,
                    headers=headers,
                    timeout=urllib3.Timeout(connect=connect, read=left, total=left),
                    retries=False,
                    redirect=False,
                    preload_content=False,
                )
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise as_os_error(error) from error

    def _open(self) -> urllib3.PoolManager:
        import urllib3

        with self._lock:
            if self._manager is None:
                self._manager = urllib3.PoolManager(maxsize=self._connections, num_pools=64, retries=False)
            return self._manager

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            manager, self._manager = self._manager, None
        if manager is not None:
            manager.clear()
