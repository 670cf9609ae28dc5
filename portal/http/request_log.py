"""RequestLog: one line of JSON a request, for machines to read; secrets left out, nothing to be injected."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from time import monotonic, time
from typing import Any

from ..errors import ConfigError
from ..serving import Request, Response
from .codec import encode_line
from .middleware import HTTPNext

__all__ = ["FileTarget", "RequestLog"]

_log = logging.getLogger("portal.http")
_LONGEST = 512  # characters of any one value
_SECRET = re.compile(r"(?i)\b([a-z_-]*(?:key|token|secret|password|passwd|auth|signature)[a-z_-]*)=[^&]*")
_STILL_THERE = 1.0  # seconds between looks at whether the file has been rotated


class FileTarget:
    """Appends lines to a file that several processes may share; a file that was rotated away is opened anew.

    Each line is one write of the system (O_APPEND), so that lines never mix. Threads: any. `close` gives the file back.
    """

    def __init__(self, path: str | os.PathLike[str], clock: Callable[[], float] = monotonic) -> None:
        self._path = os.fspath(path)
        self._clock = clock
        self._lock = threading.Lock()  # guards opening; held for opening only
        self._fd: int | None = None
        self._inode = -1
        self._looked = -_STILL_THERE
        self._open()

    def _open(self) -> int:
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise ConfigError(
                f"the log {self._path} cannot be opened: {error.strerror}",
                path="request_log.target",
                allowed="a file that can be appended to",
            ) from error
        self._fd, self._inode = fd, os.fstat(fd).st_ino
        return fd

    def __call__(self, line: str) -> None:
        """Append a line. OSError when the disk is full or the file cannot be opened."""
        os.write(self._current(), line.encode() + b"\n")

    def _current(self) -> int:
        fd, now = self._fd, self._clock()
        if fd is not None and now - self._looked < _STILL_THERE:
            return fd
        with self._lock:
            self._looked = now
            if self._fd is not None and _inode_of(self._path) == self._inode:
                return self._fd
            old, fd = self._fd, self._open()
            if old is not None:
                os.close(old)
            return fd

    def close(self) -> None:
        """Close the file; a later line opens it again."""
        with self._lock:
            fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


def _inode_of(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return -1


class RequestLog:
    """HTTP middleware that writes one JSON object a request, when its answer is complete.

    Members: time, request_id, method, path, function, peer, identity, status, code (of an error), duration_ms,
    request_bytes, response_bytes, timeout_ms, and the headers asked for. Of a stream the line is written at its end.

    Args:
        target: a file's path, a logging.Logger, or a callable that takes a line.
        headers: request headers to write.
        redact: headers of which only "***" is written.
        clock: seconds since 1970.

    A target that fails costs a warning, never a request. Threads: any. `close` closes a file that it opened.
    """

    def __init__(
        self,
        target: str | os.PathLike[str] | logging.Logger | Callable[[str], object],
        *,
        headers: Iterable[str] = (),
        redact: Iterable[str] = ("authorization", "proxy-authorization", "cookie", "x-api-key"),
        clock: Callable[[], float] = time,
    ) -> None:
        self._file = FileTarget(target) if isinstance(target, str | os.PathLike) else None
        if isinstance(target, logging.Logger):
            self._write: Callable[[str], object] = target.info
        else:
            write = self._file or target
            if not callable(write):
                raise ConfigError(
                    f"target is {target!r}", path="request_log.target", allowed="a path, a Logger or a callable"
                )
            self._write = write
        self._headers = tuple(name.lower() for name in headers)
        self._redacted = frozenset(name.lower() for name in redact)
        self._clock = clock

    def close(self) -> None:
        """Close the file, if the log opened one."""
        if self._file is not None:
            self._file.close()

    def __call__(self, request: Request, call_next: HTTPNext) -> Response:
        begun = monotonic()
        late_before = request.notes.get("late", False)
        size = len(request.body)
        response = call_next(request)
        if request.notes.get("late", False) and not late_before:
            return response  # another thread has answered, at the deadline, and has written the line
        if isinstance(response.body, bytes):
            self._line(request, response, size, len(response.body), begun)
        else:
            response.body = self._counted(request, response, size, begun, response.body)
        return response

    def _counted(
        self, request: Request, response: Response, size: int, begun: float, pieces: Iterator[bytes]
    ) -> Iterator[bytes]:
        sent = 0
        try:
            for piece in pieces:
                sent += len(piece)
                yield piece
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()
            self._line(request, response, size, sent, begun)

    def _line(self, request: Request, response: Response, size: int, sent: int, begun: float) -> None:
        try:
            self._write(encode_line(self._facts(request, response, size, sent, begun)))
        except Exception as error:  # a full disk, a target of the user's that fails
            _log.warning("a request could not be logged: %s", error)

    def _facts(self, request: Request, response: Response, size: int, sent: int, begun: float) -> dict[str, Any]:
        notes = request.notes
        query = _SECRET.sub(r"\1=***", request.query) if request.query else ""
        facts: dict[str, Any] = {
            "time": _moment(self._clock()),
            "request_id": next((value for name, value in response.headers if name == "X-Request-ID"), None),
            "method": _short(request.method),
            "path": _short(f"{request.path}?{query}" if query else request.path),
            "function": _short(notes.get("function")),
            "peer": _short(request.peer),
            "identity": _short(notes.get("identity")),
            "status": response.status,
            "code": notes.get("code"),
            "duration_ms": round((monotonic() - begun) * 1000, 3),
            "request_bytes": size,
            "response_bytes": sent,
            "timeout_ms": _short(request.headers.get("x-portal-timeout")),
        }
        if self._headers:
            facts["headers"] = {name: self._shown(name, request) for name in self._headers if name in request.headers}
        return facts

    def _shown(self, name: str, request: Request) -> str | None:
        return "***" if name in self._redacted else _short(request.headers[name])


def _moment(now: float) -> str:
    """RFC 3339, to the millisecond."""
    second, part = divmod(int(now * 1000), 1000)
    return f"{_second(second)}.{part:03d}Z"


@lru_cache(maxsize=4)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _short(value: Any) -> str | None:
    if value is None:
        return None
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
