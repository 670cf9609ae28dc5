"""RequestLog: one line of JSON a request, for machines to read; secrets left out, nothing to be injected."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from time import monotonic, time
from typing import Any
from urllib.parse import unquote_plus

from ...errors import ConfigError, PortalError
from ...serving import Request, Response
from .base import HTTPNext, Pieces
from .log_file import GatheredFile, LogFile
from .log_line import LONGEST, log_line, quoted

__all__ = ["RequestLog"]

_log = logging.getLogger("portal.http")
_SECRET_WORDS = re.compile(
    r"key|token|secret|passw|passphrase|pwd|auth|signature|credential|session|^(?:code|jwt|otp|pass|pin|sid|sig)$",
    re.IGNORECASE,
)
_NONE: frozenset[str] = frozenset()
_NO_BODY = (204, 304)
_HIDDEN = "***"
_REDACTED = ("authorization", "proxy-authorization", "cookie", "x-api-key", "x-auth-token", "x-csrf-token")
_SAY_AGAIN = 60.0  # seconds between two warnings
_MOST_DELAY = 10.0  # seconds


_Entry = list[tuple[float, int]]
_Record = tuple[Any, ...]  # what `log_line` takes
_numbers = count(1)  # an id() may come again


class RequestLog:
    """HTTP middleware that writes one JSON object a request, when its answer is complete. Put it outermost.

    Members: time (RFC 3339, UTC), request_id, method, path with query, function, peer, identity, status, code (of an
    error), duration_ms, request_bytes, response_bytes (of the body), timeout_ms (that the client's deadline left when
    the request came), and the headers asked for. What is not known is null. A stream has its line at its end, whether
    it was read or the client has gone. Values are cut at 512 characters, everything that is not ASCII is escaped.

    Args:
        target: a file's path, a logging.Logger (at INFO), or a callable that takes a line.
        redact: headers of which only "***" is written. Likewise the values of query parameters, also in headers that
            hold an address, whose name says that they are secret (key, token, secret, password, ... as part of it), and
            of whatever header or parameter the portal's own authenticators read.
        headers: request headers to write.
        secret_parameters: more names of query parameters whose values are not written.
        delay: seconds for which lines of a file may wait to be written together, which costs a third less; 0.0 writes
            each at once. A process that is killed loses those that wait; one that ends in any other way does not.
        clock: seconds since 1970.
        timer: seconds, as `time.monotonic`.

    A target that fails costs a warning, at most one a minute, never a request. Raises: ConfigError. Threads: any; so
    must a callable. `close` closes a file that it opened.
    """

    around = "request"  # its place in a portal; see `resolve_middleware`

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
        self._said = float("-inf")
        if isinstance(delay, bool) or not isinstance(delay, int | float) or not 0 <= delay <= _MOST_DELAY:
            raise _wrong("delay", delay, f"seconds from 0 to {_MOST_DELAY}")
        self._file: GatheredFile[_Record] | LogFile | None = None
        if isinstance(target, str | os.PathLike):
            file = LogFile(target, timer)
            self._file = GatheredFile(file, delay, _line_of) if delay else file
        write: Any = target.info if isinstance(target, logging.Logger) else self._file or target
        if not callable(write):
            raise _wrong("target", target, "a path, a Logger or a callable")
        self._write: Callable[[_Record], object] = write if delay and self._file else lambda it: write(log_line(*it))
        self._note = f"request_log.{next(_numbers)}"

    def close(self) -> None:
        """Close the file, if the log opened one."""
        if self._file is not None:
            self._file.close()

    def __call__(self, request: Request, call_next: HTTPNext) -> Response:
        # When it began and its size, for whoever takes it first: the thread that answers, or the one that answers at
        # the deadline in its place. The second finds the list empty.
        entry: _Entry = request.notes.setdefault(self._note, [(self._timer(), len(request.body))])
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
            bare = request.method == "HEAD" or response.status in _NO_BODY
            self._end(request, response, entry, 0 if bare else len(body))
        else:
            response.body = _Counted(body, lambda sent: self._end(request, response, entry, sent))
        return response

    def _end(self, request: Request, response: Response, entry: _Entry, sent: int) -> None:
        try:
            begun, size = entry.pop()
        except IndexError:
            return
        try:
            self._write(self._record(request, response, begun, size, sent))
        except Exception as error:  # a full disk, a target of the user's that fails
            now = self._timer()
            if now - self._said >= _SAY_AGAIN:
                self._said = now
                _log.warning("requests cannot be logged: %s: %s", type(error).__name__, error)

    def _record(self, request: Request, response: Response, begun: float, size: int, sent: int) -> _Record:
        """What `log_line` makes a line of, with nothing in it that holds a body: it may wait."""
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
            path if len(path) <= LONGEST else path[: LONGEST + 1],
            known("function"),
            request.peer,
            known("identity"),
            response.status,
            known("code"),
            self._timer() - begun,
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
    """A body whose bytes are counted; `at_end` is told of them, once."""

    def __init__(self, pieces: Iterator[bytes], at_end: Callable[[int], None]) -> None:
        super().__init__(pieces)
        self._at_end: Callable[[int], None] | None = at_end
        self._sent = 0

    def __next__(self) -> bytes:
        try:
            piece = super().__next__()
        except BaseException:
            self._end()
            raise
        self._sent += len(piece)
        return piece

    def encode_abort_chunk(self, piece: bytes) -> bytes:
        """The piece, counted."""
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
    names = None if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    if names is None or not all(isinstance(name, str) and name for name in names):
        raise _wrong(setting, given, "a list of names")
    return tuple(name.lower() for name in names)


def _wrong(name: str, value: object, allowed: str) -> ConfigError:
    path = f"request_log.{name}"
    return ConfigError(f"{path} is {value!r}; expected: {allowed}", path=path, expected=allowed)
