"""Resumption: the session of a link on its server, and whether it is being resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..._internal.json_text import JSONObject, JSONValue
from ...errors import PortalError
from ..close_codes import CloseCode
from ..events import OutgoingCall
from .reader import Timer

__all__ = ["Resumption"]

_MAX_KEEP = 3600.0  # seconds
_DEFAULT_KEEP = 60.0


class Resumption:
    """The state of the session of a link. The lock of the link guards it.

    Args:
        enabled: whether the client uses sessions.
        clock: seconds, as `time.monotonic`.

    Attributes:
        session: the id of the session, or None.
        in_progress: whether the response to rpc.resume is awaited, so that nothing else is sent.
        expires_at: the moment after which the server has forgotten a session that is not resumed, or None while it has
            a connection.
    """

    def __init__(self, enabled: bool, clock: Callable[[], float]) -> None:
        self._enabled = enabled
        self._clock = clock
        self._keep = _DEFAULT_KEEP
        self._timer: Timer | None = None
        self.session: str | None = None
        self.in_progress = False
        self.expires_at: float | None = None

    def request(self, calls: Iterable[OutgoingCall]) -> JSONObject:
        """Return the parameters of rpc.resume."""
        return {"session": self.session, "pending": [call.id for call in calls]}

    def start(self, timer: Timer) -> None:
        """Note that rpc.resume was sent; the timer fires if no response comes."""
        self.in_progress, self._timer = True, timer

    def on_session(self, result: JSONValue, error: PortalError | None) -> None:
        """Take the response to a request for a new session; a server without sessions sends an error."""
        if error is None and isinstance(result, dict) and isinstance(result.get("session"), str):
            self.session = str(result["session"])
            keep = result.get("keep")
            if isinstance(keep, int | float) and not isinstance(keep, bool) and keep >= 0:
                self._keep = min(float(keep), _MAX_KEEP)

    def on_resumed(self, result: JSONValue, error: PortalError | None) -> set[int] | None:
        """Take the response to rpc.resume.

        Returns: the ids of the calls that never reached the server; None if the session is lost.
        """
        self.forget()
        self.on_session(result, error)
        if error is not None or not isinstance(result, dict) or result.get("resumed") is not True:
            return None
        missing = result.get("missing")
        return {one for one in missing if isinstance(one, int)} if isinstance(missing, list) else set()

    def interrupt(self, code: int) -> None:
        """Note that the connection is lost. After some close codes the session is lost as well."""
        self._stop()
        if code in (CloseCode.SESSION_TAKEN_OVER, CloseCode.FORBIDDEN, CloseCode.NORMAL):
            self.session = None

    def keep(self) -> None:
        """Count the time for which the server keeps the session, from the first loss on until it is resumed."""
        if self.session is not None and self.expires_at is None:
            self.expires_at = self._clock() + self._keep

    def has_expired(self) -> bool:
        """Return whether the server has forgotten the session."""
        return self.expires_at is not None and self._clock() >= self.expires_at

    def forget(self) -> None:
        """Go on without the session."""
        self._stop()
        self.session = self.expires_at = None

    def _stop(self) -> None:
        self.in_progress = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
