"""RequestLog: log each request as one line of JSON, without secrets and safe from log injection."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator
from time import monotonic, time
from typing import Any
from urllib.parse import unquote_plus

from ..._internal.counter import number_source
from ..._internal.log import get_logger
from ..._internal.settings import callback, require, seconds
from ..._internal.throttle import Throttle
from ...errors import PortalError
from ...serving import Request, Response
from .base import HTTPNext, Pieces
from .gathered_file import GatheredFile
from .log_file import LogFile
from .log_line import MAX_VALUE, log_line, quoted

__all__ = ["RequestLog"]

_log = get_logger("portal.http")
_SECRET_WORDS = re.compile(
    r"key|token|secret|passw|passphrase|pwd|auth|signature|credential|session|^(?:code|jwt|otp|pass|pin|sid|sig)$",
    re.IGNORECASE,
)
_NONE: frozenset[str] = frozenset()
_NO_BODY = (204, 304)
_HIDDEN = "***"
_REDACTED = ("authorization", "proxy-authorization", "cookie", "x-api-key", "x-auth-token", "x-csrf-token")
_WARN_INTERVAL = 60.0  # seconds between two warnings
_MAX_DELAY = 10.0  # seconds

_Entry = list[tuple[float, int]]
_Record = tuple[Any, ...]  # the arguments of `log_line`
_next_number = number_source(1)  # not id(), which may be reused


class RequestLog:
    """HTTP middleware that writes one JSON object for each request when its response is complete. Put it outermost.

    Members: time (RFC 3339, UTC), request_id, method, path with query, function, peer, identity, status, code (of an
    error), duration_ms, request_bytes, response_bytes (of the body), timeout_ms (until the client's deadline, when the
    request arrived), and the request headers in `headers`. Unknown values are null. A stream is logged when it ends or
    the client disconnects. Values are cut after 512 characters, and characters other than ASCII are escaped.

    The log hides the values of secret query parameters, also in headers that contain an address. A parameter is secret
    if its name contains a word such as key, token, secret or password. Every header and parameter that the portal's
    authenticators read is hidden, too. If the target fails, the request is served and a warning is logged, at most one
    a minute.

    Args:
        target: the path of a file, a logging.Logger (at INFO), or a callable that takes a line.
        redact: headers whose value is logged as "***".
        headers: request headers to log.
        secret_parameters: names of further query parameters whose values are hidden.
        delay: seconds for which lines may wait to be written to a file together, which costs a third less. 0 writes
            each at once. A process that is killed loses the waiting lines.
        clock: seconds since 1970.
        timer: seconds, as `time.monotonic`.

    Raises: ConfigError for a wrong setting.

    Threads: any; a callable must be thread-safe, too.
    """

    around = "request"  # the kind of middleware; see `resolve_middleware`
    guards_authentication = False  # see `early_authentication`

    def __init__(
        self,
        target: str | os.PathLike[str] | logging.Logger | Callable[[str], object],
        *,
        redact: Iterable[str] = _REDACTED,
        headers: Iterable[str] = (),
        secret_parameters: Iterable[str] = (),
        delay: float = 0.0,
        clock: Callable[[], float] = time,
        timer: Callable[[], float] = monotonic,
    ) -> None:
        self._headers = _names("headers", headers)
        self._redacted = frozenset(_names("redact", redact))
        self._secret = frozenset(_names("secret_parameters", secret_parameters))
        self._clock = clock
        self._timer = timer
        self._warnings = Throttle(_WARN_INTERVAL)
        seconds("request_log.delay", delay, maximum=_MAX_DELAY)
        self._file: GatheredFile[_Record] | LogFile | None = None
        if isinstance(target, str | os.PathLike):
            file = LogFile(target, timer)
            self._file = GatheredFile(file, delay, _line_of) if delay else file
        write: Any = target.info if isinstance(target, logging.Logger) else self._file or target
        callback("request_log.target", write, expected="a path, a Logger or a callable")
        self._write: Callable[[_Record], object] = write if delay and self._file else lambda it: write(log_line(*it))
        self._note = f"request_log.{_next_number()}"

    def close(self) -> None:
        """Close the file that was opened for a path."""
        if self._file is not None:
            self._file.close()

    def __call__(self, request: Request, call_next: HTTPNext) -> Response:
        """Pass the request on and log it when its response is complete."""
        # Start and size of the request. The first thread that completes a response takes them: the one that serves the
        # request, or the one that responds at the deadline. The other thread finds the list empty and logs nothing.
        entry: _Entry = request.notes.setdefault(self._note, [(self._timer(), request.body_size)])
        try:
            response = call_next(request)
        except Exception as error:
            if entry:
                known = error if isinstance(error, PortalError) else PortalError()
                request.notes.setdefault("code", known.code)
                self._end(request, Response(known.status), entry, 0)
            raise
        body = response.body
        if isinstance(body, bytes):
            no_body = request.method == "HEAD" or response.status in _NO_BODY
            self._end(request, response, entry, 0 if no_body else len(body))
        else:
            response.body = _Counted(body, lambda sent: self._end(request, response, entry, sent))
        return response

    def _end(self, request: Request, response: Response, entry: _Entry, sent: int) -> None:
        try:
            started, size = entry.pop()
        except IndexError:
            return
        try:
            self._write(self._record(request, response, started, size, sent))
        except Exception as error:  # a full disk, a target of user code that fails
            if self._warnings.allows(self._timer()):
                _log.warning("requests are not logged: the target failed: %s: %s", type(error).__name__, error)

    def _record(self, request: Request, response: Response, started: float, size: int, sent: int) -> _Record:
        """Return the arguments of `log_line`. They may wait, so none of them refers to a body."""
        known = request.notes.get
        path, more = request.path, None
        if request.query or self._headers:
            secrets = known("secrets", _NONE)
            more = self._headers_of(request, secrets) if self._headers else None
            if request.query:
                path = f"{path}?{self._plain_query(request.query, secrets)}"
        return (
            self._clock(),
            response.headers,
            request.method,
            path if len(path) <= MAX_VALUE else path[: MAX_VALUE + 1],
            known("function"),
            request.peer,
            known("identity"),
            response.status,
            known("code"),
            self._timer() - started,
            size,
            sent,
            request.headers.get("x-portal-timeout"),
            more,
        )

    def _headers_of(self, request: Request, secrets: frozenset[str]) -> str:
        given = request.headers
        return ",".join(
            f"{quoted(name)}:{quoted(self._shown(name, given[name], secrets))}"
            for name in self._headers
            if name in given
        )

    def _shown(self, name: str, value: str, secrets: frozenset[str]) -> str:
        if name in self._redacted or name in secrets:
            return _HIDDEN
        before, mark, query = value.partition("?")
        return f"{before}?{self._plain_query(query, secrets)}" if mark else value

    def _plain_query(self, query: str, secrets: frozenset[str]) -> str:
        return "&".join(self._plain_pair(pair, secrets) for pair in query.split("&"))

    def _plain_pair(self, pair: str, secrets: frozenset[str]) -> str:
        name, equals, _ = pair.partition("=")
        if not equals:
            return pair
        read = unquote_plus(name).lower() if "%" in name or "+" in name else name.lower()
        hidden = read in self._secret or read in secrets or _SECRET_WORDS.search(read)
        return f"{name}={_HIDDEN}" if hidden else pair


class _Counted(Pieces):
    """A body that counts its bytes and calls `at_end` with the count, once."""

    def __init__(self, pieces: Iterator[bytes], at_end: Callable[[int], None]) -> None:
        super().__init__(pieces)
        self._at_end: Callable[[int], None] | None = at_end
        self._sent = 0

    def __next__(self) -> bytes:
        try:
            piece: bytes = super().__next__()
        except BaseException:
            self._end()
            raise
        self._sent += len(piece)
        return piece

    def encode_abort_chunk(self, piece: bytes) -> bytes:
        """Return the piece and count it."""
        piece = super().encode_abort_chunk(piece)
        self._sent += len(piece)
        return piece

    def close(self) -> None:
        """End the stream."""
        try:
            super().close()
        finally:
            self._end()

    def _end(self) -> None:
        at_end, self._at_end = self._at_end, None
        if at_end is not None:
            at_end(self._sent)


def _line_of(record: _Record) -> str:
    return log_line(*record)


def _names(setting: str, given: Iterable[str]) -> tuple[str, ...]:
    names = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [None]
    require(all(isinstance(name, str) and name for name in names), f"request_log.{setting}", given, "a list of names")
    return tuple(str(name).lower() for name in names)
