"""HostedWSGI: a WSGI application, such as one of Flask or Django, on the listener of a portal.

    http = HTTPPortal()
    host(http, app)             # the portal has the paths below /api, and the application all others

Source: PEP 3333.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from .._internal.closing import close_and_log
from .._internal.log import get_logger
from .._internal.settings import callback, instance
from ..serving import Request, Response

if TYPE_CHECKING:
    from .portal import HTTPPortal

__all__ = ["HostedWSGI", "host"]

_log = get_logger("portal.http")
#: Headers that the listener sends itself.
_OF_LISTENER = frozenset({"connection", "content-length", "date", "keep-alive", "transfer-encoding", "upgrade"})
_FAILED = Response(500, [("Content-Type", "text/plain; charset=utf-8")], b"Internal Server Error")


def host(portal: HTTPPortal, application: Callable[..., Iterable[bytes]], prefix: str = "/") -> HTTPPortal:
    """Serve a WSGI application on the listener of a portal, at all paths that the portal does not have.

    Args:
        portal: has the listener. With `documents=True` it also has /docs, /openapi.json and /openrpc.json.
        application: of Flask, Django or another framework.
        prefix: the paths of the application.

    Returns: the portal, for `gunicorn -k portal.serving.gunicorn.Worker module:http`.
    Raises: ConfigError if another application has the prefix, and for a portal of another class.
    """
    from .portal import HTTPPortal as Portal

    instance("host.portal", portal, Portal)
    portal.listener.mount(prefix, HostedWSGI(application))
    return portal


class HostedWSGI:
    """Responds to requests with a WSGI application. Its requests run in the workers of the listener.

    Args:
        application: a WSGI application.

    Threads: any.
    """

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = callback("wsgi.application", application, expected="a WSGI application")

    def handle(self, request: Request) -> Response:
        """Return the response of the application; 500 if it fails."""
        started: list[tuple[str, list[tuple[str, str]]]] = []
        written: list[bytes] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[..., Any]:
            if started and exc_info is None:
                raise AssertionError("start_response was called twice")
            started[:] = [(status, list(headers))]
            return written.append

        pieces: Any = None
        try:
            pieces = self._application(environ_of(request), start_response)
            rest = iter(pieces)  # once: an iterable that is no iterator would begin again
            first = list(rest) if isinstance(pieces, list | tuple) else _until_started(rest, started)
            if not started:
                raise AssertionError("start_response was not called")
            return _response_of(started[0], b"".join([*written, *first]), pieces, rest)
        except Exception:
            _log.exception("the application failed: %s %s", request.method, request.path)
            close_and_log(pieces, "the response of an application")
            return _FAILED


def _until_started(pieces: Iterator[bytes], started: list[Any]) -> list[bytes]:
    """Return the pieces up to the first that is not empty, by which the application has sent its head."""
    found: list[bytes] = []
    for piece in pieces:
        found.append(piece)
        if piece and started:
            break
    return found


def _response_of(
    start: tuple[str, list[tuple[str, str]]], first: bytes, pieces: Any, rest: Iterator[bytes]
) -> Response:
    status, headers = int(start[0][:3]), start[1]
    kept = [(name, value) for name, value in headers if name.lower() not in _OF_LISTENER]
    lengths = [value for name, value in headers if name.lower() == "content-length" and value.isdigit()]
    length = int(lengths[0]) if lengths else None
    if isinstance(pieces, list | tuple) or length == len(first):
        close_and_log(pieces, "the response of an application")
        return Response(status, kept, first)
    return Response(status, kept, _Body(first, rest, pieces, length))


class _Body:
    """The rest of a response, piece by piece. Threads: one."""

    def __init__(self, first: bytes, rest: Iterator[bytes], source: Any, length: int | None) -> None:
        self.length = length
        self._source = source
        self._pieces = chain((first,), rest)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._pieces)

    def close(self) -> None:
        """Close what the application has returned."""
        close_and_log(self._source, "the response of an application")


def environ_of(request: Request) -> dict[str, Any]:
    """Return the environ of a request."""
    headers = request.headers
    authority = headers.get("host", "localhost")
    name, colon, port = authority.rpartition(":")
    scheme = "https" if request.secure else "http"
    has_port = colon and port.isdigit()
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(request.path).decode("latin-1"),
        "QUERY_STRING": request.query,
        "RAW_URI": request.head.target,
        "REQUEST_URI": request.head.target,
        "SERVER_NAME": name if has_port else authority,
        "SERVER_PORT": port if has_port else ("443" if request.secure else "80"),
        "SERVER_PROTOCOL": f"HTTP/{request.head.version[0]}.{request.head.version[1]}",
        "REMOTE_ADDR": request.peer,
        "CONTENT_LENGTH": str(len(request.body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for header, value in headers.items():
        if header == "content-type":
            environ["CONTENT_TYPE"] = value
        elif "_" not in header and header not in ("content-length", "transfer-encoding"):
            # A name with "_" would be read as one with "-", which a proxy may have checked.
            environ[f"HTTP_{header.upper().replace('-', '_')}"] = value
    return environ
