"""RequestLog: one line of JSON a request, for machines to read; secrets left out, nothing to be injected."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from itertools import count
from json.encoder import encode_basestring_ascii
from time import monotonic, time
from typing import Any
from urllib.parse import unquote_plus

from ..errors import ConfigError, PortalError
from ..serving import Request, Response
from .middleware import HTTPNext, Pieces

__all__ = ["FileTarget", "RequestLog"]

_log = logging.getLogger("portal.http")
_LONGEST = 512  # characters of any one value
_SHORT = 64  # characters of a value that is kept ready
_SECRET_WORDS = re.compile(r"key|token|secret|passw|pwd|auth|signature|credential|session", re.IGNORECASE)
_SURROGATES = re.compile("[\ud800-\udfff]")
_HIDDEN = "***"
_REDACTED = ("authorization", "proxy-authorization", "cookie", "x-api-key", "x-auth-token", "x-csrf-token")
_STILL_THERE = 1.0  # seconds between looks at whether the file has been rotated
_SAY_AGAIN = 60.0  # seconds between two warnings


class _File:
    """A descriptor that is closed when the last thread has let go of it, never under one that writes."""

    __slots__ = ("fd", "inode")

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self.inode = _inode_of(os.fstat(self.fd))

    def __del__(self) -> None:
        fd = getattr(self, "fd", None)
        if fd is not None:
            os.close(fd)


_Entry = list[tuple[float, int]]
_numbers = count(1)  # an id() may come again


class FileTarget:
    """Appends lines to a file that several processes may share; a file that was rotated away is opened anew.

    Each line is one write of the system (O_APPEND), so that lines never mix. No lock is taken: threads that notice a
    rotation together open the file twice, and one of the two is dropped. Threads: any. Fork: safe. `close` gives the
    file back.

    Raises: ConfigError, when made, for a file that cannot be appended to.
    """

    def __init__(self, path: str | os.PathLike[str], clock: Callable[[], float] = monotonic) -> None:
        self._path = os.fspath(path)
        self._clock = clock
        self._looked = clock()
        try:
            self._file: _File | None = _File(self._path)
        except OSError as error:
            raise ConfigError(
                f"the log {self._path} cannot be opened: {error.strerror}",
                path="request_log.target",
                allowed="a file that can be appended to",
            ) from error

    def __call__(self, line: str) -> None:
        """Append a line. OSError when the disk is full or the file cannot be opened."""
        data = line.encode("utf-8", "replace") + b"\n"
        file = self._current()
        if os.write(file.fd, data) != len(data):
            raise OSError("only a part of the line was written")

    def _current(self) -> _File:
        file, now = self._file, self._clock()
        if file is not None and now - self._looked < _STILL_THERE:
            return file
        self._looked = now
        if file is None or not self._still_there(file):
            file = self._file = _File(self._path)
        return file

    def _still_there(self, file: _File) -> bool:
        try:
            return _inode_of(os.stat(self._path)) == file.inode
        except OSError:
            return False

    def close(self) -> None:
        """Close the file; a later line opens it again."""
        self._file = None


def _inode_of(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


class RequestLog:
    """HTTP middleware that writes one JSON object a request, when its answer is complete. Put it outermost.

    Members: time (RFC 3339, UTC), request_id, method, path with query, function, peer, identity, status, code (of an
    error), duration_ms, request_bytes, response_bytes (of the body), timeout_ms (that the client's deadline left when
    the request came), and the headers asked for. What is not known is null. A stream has its line at its end, whether
    it was read or the client has gone. Values are cut at 512 characters, everything that is not ASCII is escaped.

    Args:
        target: a file's path, a logging.Logger (at INFO), or a callable that takes a line.
        redact: headers of which only "***" is written. Likewise the values of query parameters, also in headers that
            hold an address, whose name says that they are secret (key, token, secret, password, ... as part of it).
        headers: request headers to write.
        secret_parameters: more names of query parameters whose values are not written.
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
        clock: Callable[[], float] = time,
        timer: Callable[[], float] = monotonic,
    ) -> None:
        self._headers = _names("headers", headers)
        self._redacted = frozenset(_names("redact", redact))
        self._secret = frozenset(_names("secret_parameters", secret_parameters))
        self._clock = clock
        self._timer = timer
        self._said = float("-inf")
        self._file = FileTarget(target, timer) if isinstance(target, str | os.PathLike) else None
        write = target.info if isinstance(target, logging.Logger) else self._file or target
        if not callable(write):
            raise _wrong("target", target, "a path, a Logger or a callable")
        self._write: Callable[[str], object] = write
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
        if isinstance(response.body, bytes):
            bare = request.method == "HEAD" or response.status in (204, 304)
            self._end(request, response, entry, 0 if bare else len(response.body))
        else:
            response.body = _Counted(response.body, lambda sent: self._end(request, response, entry, sent))
        return response

    def _end(self, request: Request, response: Response, entry: _Entry, sent: int) -> None:
        try:
            begun, size = entry.pop()
        except IndexError:
            return
        try:
            self._write(self._line(request, response, begun, size, sent))
        except Exception as error:  # a full disk, a target of the user's that fails
            now = self._timer()
            if now - self._said >= _SAY_AGAIN:
                self._said = now
                _log.warning("requests cannot be logged: %s: %s", type(error).__name__, error)

    def _line(self, request: Request, response: Response, begun: float, size: int, sent: int) -> str:
        """Written out member by member: a general encoder takes three times as long."""
        known = request.notes.get
        path = f"{request.path}?{self._plain_query(request.query)}" if request.query else request.path
        timeout = request.headers.get("x-portal-timeout", "")
        left = int(timeout) if timeout.isascii() and timeout.isdigit() and len(timeout) < 16 else "null"
        line = (
            f'{{"time":"{_moment(self._clock())}","request_id":{_quoted(_request_id(response))},'
            f'"method":{_often(request.method)},"path":{_often(path)},"function":{_often(known("function"))},'
            f'"peer":{_often(request.peer)},"identity":{_often(known("identity"))},"status":{response.status},'
            f'"code":{_often(known("code"))},"duration_ms":{(self._timer() - begun) * 1000:.3f},'
            f'"request_bytes":{size},"response_bytes":{sent},"timeout_ms":{left}'
        )
        return f'{line},"headers":{{{self._headers_of(request)}}}}}' if self._headers else line + "}"

    def _headers_of(self, request: Request) -> str:
        given = request.headers
        return ",".join(
            f"{_quoted(name)}:{_quoted(self._shown(name, given[name]))}" for name in self._headers if name in given
        )

    def _shown(self, name: str, value: str) -> str:
        if name in self._redacted:
            return _HIDDEN
        before, mark, query = value.partition("?")
        return f"{before}?{self._plain_query(query)}" if mark else value

    def _plain_query(self, query: str) -> str:
        return "&".join(self._plain_pair(pair) for pair in query.split("&"))

    def _plain_pair(self, pair: str) -> str:
        name, equals, _ = pair.partition("=")
        if not equals:
            return pair
        read = unquote_plus(name).lower() if "%" in name or "+" in name else name.lower()
        return f"{name}={_HIDDEN}" if read in self._secret or _SECRET_WORDS.search(read) else pair


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


def _moment(now: float) -> str:
    """RFC 3339, to the millisecond."""
    second, part = divmod(int(now * 1000), 1000)
    return f"{_second(second)}.{part:03d}Z"


@lru_cache(maxsize=4)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _request_id(response: Response) -> str | None:
    for name, value in response.headers:
        if name == "X-Request-ID":
            return value
    return None


def _often(value: str | None) -> str:
    """`_quoted` of what comes again and again."""
    return "null" if value is None else (_known if len(value) <= _SHORT else _quoted)(value)


def _quoted(value: Any) -> str:
    """A value as JSON text of ASCII characters, cut: nothing in it can end a line or hide."""
    if value is None:
        return "null"
    text = str(value)
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}..."
    # Lone surrogates are no text to other parsers.
    return encode_basestring_ascii(text if text.isascii() else _SURROGATES.sub("\ufffd", text))


_known = lru_cache(maxsize=1024)(_quoted)


def _names(setting: str, given: Iterable[str]) -> tuple[str, ...]:
    names = None if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    if names is None or not all(isinstance(name, str) and name for name in names):
        raise _wrong(setting, given, "a list of names")
    return tuple(name.lower() for name in names)


def _wrong(name: str, value: object, allowed: str) -> ConfigError:
    path = f"request_log.{name}"
    return ConfigError(f"{path} is {value!r}; allowed: {allowed}", path=path, allowed=allowed)
