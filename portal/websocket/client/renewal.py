"""CredentialRenewal: sends a new credential on an open connection before the old one expires."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from time import monotonic
from typing import Protocol

from ..._internal.json_text import JSONObject, JSONValue
from ..._internal.log import get_logger
from ...address import Address
from ...errors import PortalError
from .exchange import Control
from .reader import Timer

__all__ = ["CredentialRenewal", "CredentialSource", "Timers"]

_log = get_logger("portal.websocket")
_EARLY = 30.0  # seconds before the expiry at which a new credential is asked for, or half of a shorter life
_AGAIN = 1.0  # seconds between two attempts, at least
_LATE = 60.0  # seconds after the expiry for which a server may still accept a new one


class CredentialSource(Protocol):
    """Returns credentials; see `Dialer`."""

    def credentials(self, address: Address) -> dict[str, str]:
        """Return the headers that authenticate a connection. It may block. Raises: portal errors."""


class Timers(Protocol):
    """Runs callbacks later; see `Reader`."""

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        """Run a callback at a moment of the clock."""


class CredentialRenewal:
    """The credential of the open connection of one link.

    The server tells in how many seconds the credential expires. Shortly before that, the credential is asked for once
    more. If it has changed it is sent by rpc.authenticate; if not, it is asked for again until the expiry.

    Args:
        source: of the credentials.
        address: of the portal.
        timers: run callbacks; they must not block.
        threads: ask for credentials, which may block.
        lock: of the link.
        send: sends a call while there is a connection; called with the lock held.
        clock: seconds, as `time.monotonic`.

    Threads: any. `opened`, `note` and `lost` are called with the lock held.
    """

    def __init__(
        self,
        source: CredentialSource,
        address: Address,
        timers: Timers,
        threads: Executor,
        lock: threading.Lock,
        send: Callable[[Control], object],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._source = source
        self._address = address
        self._timers = timers
        self._threads = threads
        self._lock = lock
        self._send = send
        self._clock = clock
        self._accepted: Mapping[str, str] = {}  # the headers that the server has accepted last
        self._expires_at: float | None = None
        self._timer: Timer | None = None

    def opened(self, headers: Mapping[str, str]) -> None:
        """Note the headers of the handshake of a new connection."""
        self.lost()
        self._accepted = headers

    def lost(self) -> None:
        """Forget the connection."""
        self._expires_at = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def note(self, result: JSONValue) -> None:
        """Take the result of rpc.resume or rpc.authenticate, which may have the seconds until the expiry."""
        left = result.get("expires") if isinstance(result, dict) else None
        if not self._accepted or not isinstance(left, int | float) or isinstance(left, bool):
            return
        now = self._clock()
        self._expires_at = now + left
        self._look_at(now + max(left - _EARLY, left / 2, _AGAIN))

    def _look_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._timers.call_at(when, self._on_timer)

    def _look_again(self) -> None:
        now, expires = self._clock(), self._expires_at
        if expires is not None and now < expires + _LATE:
            self._look_at(now + max((expires - now) / 2, _AGAIN))

    def _on_timer(self) -> None:
        try:
            self._threads.submit(self._ask)
        except Exception:  # no thread is free
            with self._lock:
                self._look_again()

    def _ask(self) -> None:
        try:
            headers = self._source.credentials(self._address)
        except BaseException as error:
            _log.warning("no new credential: address=%s error=%s", self._address, error)
            headers = {}
        with self._lock:
            if self._expires_at is None:
                return  # the connection is lost
            if not headers or headers == self._accepted:
                self._look_again()
                return

            def finish(result: JSONValue, error: PortalError | None) -> None:
                self._on_response(headers, result, error)

            sent: JSONObject = {**headers}
            self._send(Control("rpc.authenticate", {"headers": sent}, finish))

    def _on_response(self, headers: Mapping[str, str], result: JSONValue, error: PortalError | None) -> None:
        if error is None:
            self._accepted = headers
            self.note(result)
        else:
            _log.warning("a new credential was rejected: address=%s error=%s", self._address, error)
            self._look_again()
