"""HostCheck: reject requests whose Host header names another server (421)."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from .._internal.at_fork import new_lock
from .._internal.counter import Counter
from .._internal.log import get_logger
from .._internal.throttle import Throttle
from ..errors import ProtocolError
from ..http11.host_patterns import LOOPBACK_HOSTS, AllowedHosts
from ..serving import Request

__all__ = ["HostCheck"]

_log = get_logger("portal.http")
_MAX_KNOWN = 64  # accepted values of the header
_PAUSE = 10.0  # seconds between two lines of the log


class HostCheck:
    """Decides which values of the Host header are accepted.

    Args:
        hosts: the accepted hosts. With None a listener on a loopback address accepts `LOOPBACK_HOSTS` and the host that
            it is bound to. Any other listener, a Unix socket and a WSGI server accept every host.
        loopback_host: returns the host of a listener that serves on loopback addresses only, otherwise None.
        clock: seconds, as `time.monotonic`.

    Attributes:
        known: values that were accepted before; a caller that finds a value here need not call `accepts`.
        rejected: counts the rejected requests.

    Threads: any.

    Source: RFC 9110 section 15.5.20 (421 Misdirected Request).
    """

    def __init__(
        self,
        hosts: AllowedHosts | None = None,
        loopback_host: Callable[[], str | None] = lambda: None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._hosts = hosts
        self._loopback_host = loopback_host
        self._clock = clock
        self._warnings = Throttle(_PAUSE)
        self._lock = new_lock()  # guards adding to the set below and clearing it
        self.known: set[str | None] = set()
        self.rejected = Counter()

    def accepts(self, request: Request) -> bool:
        """Return whether the Host header of a request is accepted. Count and log the request if it is not."""
        header = request.headers.get("host")
        if self._is_accepted(header, request):
            if self._hosts is not None or request.connection is not None:
                self._keep(header)
            return True
        self.rejected.add()
        if self._warnings.allows(self._clock()):
            _log.warning("rejected: Host %.80r is not one of the allowed hosts", header)
        return False

    def _keep(self, header: str | None) -> None:
        with self._lock:
            if len(self.known) >= _MAX_KNOWN:
                self.known.clear()
            self.known.add(header)

    def error(self, request: Request) -> ProtocolError:
        """Return the error for a request that is not accepted."""
        host = request.headers.get("host", "")
        message = f"this server does not serve the host {host[:80]!r}"
        return ProtocolError(message, status=421, hint="the server must name the host in allowed_hosts= of its portal")

    def _is_accepted(self, header: str | None, request: Request) -> bool:
        if header is None:  # HTTP/1.0; every browser sends the header
            return True
        if self._hosts is not None:
            return self._hosts.accepts(header)
        own = self._loopback_host() if request.connection is not None else None
        return own is None or AllowedHosts(_loopback_hosts(own)).accepts(header)


def _loopback_hosts(own: str) -> tuple[str, ...]:
    return (*LOOPBACK_HOSTS, own) if own else LOOPBACK_HOSTS
