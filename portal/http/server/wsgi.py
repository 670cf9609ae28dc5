"""WSGIApp: the whole HTTP portal as a WSGI application (PEP 3333), and `mount` to put it beside another one.

    application = mount(get_wsgi_application(), http.wsgi)      # wsgi.py of a Django project
    app.wsgi_app = mount(app.wsgi_app, http.wsgi)               # Flask

Where it answers: the portal's paths begin with its base path ("/api"). With SCRIPT_NAME ending in the base path, what
is below the base path is PATH_INFO. Else, with PATH_INFO the base path or below it, PATH_INFO is the portal's path.
Else, with another SCRIPT_NAME ("/rpc"), that one stands in for the base path. Else only what is beside the base path is
there, the documents ("/docs"), and for all else 404. The documents are below the base path as well: "/api/docs".

Under WSGI only this thread can respond, so a call with a deadline runs in a worker of the dispatcher.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, unquote_to_bytes

from ..._internal.closing import ClosingIterator, close_and_log
from ..._internal.settings import size, url_path
from ...context import new_request_id
from ...errors import ConfigError, PortalError, ProtocolError, RegistryError
from ...http11.head_cache import HeadCache
from ...http11.request_head import RequestHead
from ...http11.response_head import BODILESS, check_field, status_line
from ...serving import Request, Response
from ..middleware.base import problem_response

if TYPE_CHECKING:
    from _typeshed.wsgi import InputStream, StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["App", "WSGIApp", "WSGIRequest", "mount"]

_PIECE = 64 * 1024
_SAFE = "/!$&'()*+,;=:@~"  # RFC 3986 section 3.3: what a path holds unencoded, beside letters, digits and -._~
_PLAIN = re.compile(r"[/!$&'()*+,;=:@~A-Za-z0-9_.\-]*")
_OCTET = re.compile(r"%[0-9A-Fa-f]{2}|.", re.DOTALL)
_ORIGIN = re.compile(r"https?://[^/?#]*", re.IGNORECASE)
#: "WSGIServer/0.2", and without the version from CPython 3.15 on.
_is_wsgiref = re.compile(r"WSGIServer(?:[/ ]|$)").match
#: The outer server's to send: of its connection with the client (RFC 9110 section 7.6.1), or set by it anyway.
_NOT_OURS = frozenset(
    {"connection", "content-length", "date", "keep-alive", "proxy-authenticate", "proxy-authorization",
     "proxy-connection", "server", "te", "trailer", "transfer-encoding", "upgrade"}
)  # fmt: skip
#: PEP 3333 has CONTENT_TYPE and CONTENT_LENGTH for these.
_TWICE = frozenset({"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"})


class App(Protocol):
    """What a WSGIApp serves: an HTTPApp, or something around one."""

    def handle(self, request: Request) -> Response:
        """Return the response to a request."""


class WSGIRequest(Request):
    """A request that an outer server has read.

    Attributes:
        scheme: "http" or "https", as the client used it by the outer server's word.
        mount_path: the path that the portal's base path has for this client, encoded, such as "/api".
    """

    __slots__ = ("mount_path", "scheme")

    def __init__(self, head: RequestHead, body: bytes, peer: str, scheme: str, mount_path: str) -> None:
        super().__init__(head, body, None, peer)
        self.scheme = scheme
        self.mount_path = mount_path

    @property
    def base(self) -> str:
        """Where this client sees the portal's base path, such as "https://shop.example/api"."""
        return f"{self.scheme}://{self.headers.get('host', '')}{self.mount_path}"

    @property
    def secure(self) -> bool:
        """Whether it came over TLS."""
        return self.scheme == "https"


class WSGIApp:
    """A WSGI application that answers as the portal's own listener does.

    Args:
        app: what it serves.
        base_path: the prefix of every path of `app`: "" or one such as "/api".
        max_body: bytes of a request body; more is answered 413.
        beside: paths of `app` that are not below its base path.
        prepare: called before each request; starts what the portal has to start.

    Not as the listener does: what the outer server decides (reading the head, keeping connections, the end of a stream
    that fails under HTTP/1.0). Threads: any. Fork: safe.
    """

    def __init__(
        self,
        app: App,
        *,
        base_path: str = "/api",
        max_body: int = 1024 * 1024,
        beside: Iterable[str] = (),
        prepare: Callable[[], object] = lambda: None,
    ) -> None:
        self.base_path = url_path("wsgi.base_path", base_path)
        self._places = (base_path, *beside)
        self._app = app
        self._prepare = prepare
        self._max_body = size("wsgi.max_body", max_body)
        self._heads = HeadCache()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        try:
            self._prepare()
            request = self._request(environ)
        except PortalError as error:
            response = problem_response(error, new_request_id())
        else:
            response = self._app.handle(request)
        return _respond(response, environ.get("REQUEST_METHOD") == "HEAD", start_response)

    def _request(self, environ: WSGIEnvironment) -> WSGIRequest:
        path, mount_path = self._locate(environ)
        query = environ.get("QUERY_STRING")
        head = self._heads.parse(_head_bytes(environ, f"{path}?{query}" if query else path))
        if not any(_is_below(head.path, place) for place in self._places):
            there = ", ".join(sorted(self._places)[:5])
            raise RegistryError(f"nothing is served at {head.path[:200]}; served paths: {there}")
        body = _read_body(environ, head, self._max_body)
        return WSGIRequest(
            head, body, environ.get("REMOTE_ADDR") or "unix:", environ.get("wsgi.url_scheme", "http"), mount_path
        )

    def _locate(self, environ: WSGIEnvironment) -> tuple[str, str]:
        """The path as the portal knows it, and the path that its base path has for the client; both encoded."""
        script, info = _raw_path(environ)
        base = self.base_path
        if script.endswith(base):
            return base + info or "/", script
        if _is_below(info, base):
            return info, script + base
        if script:
            return base + info, script
        return info or "/", base


def mount(
    outer: WSGIApplication, portal: WSGIApplication, at: str | None = None
) -> Callable[[dict[str, Any], StartResponse], Iterable[bytes]]:
    """A WSGI application that gives `portal` the paths below `at`, and `outer` every other.

    Args:
        outer: the application there is already, of any framework.
        portal: `HTTPPortal.wsgi`, or any other WSGI application.
        at: a path such as "/api"; None takes the portal's base path.
    Raises: ConfigError when there is no path to mount at.
    """
    prefix = getattr(portal, "base_path", "") if at is None else at
    if not isinstance(prefix, str) or not _is_prefix(prefix):
        raise ConfigError.invalid("wsgi.at", prefix, 'a path such as "/api", without a slash at its end')

    def mounted(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        info = environ.get("PATH_INFO", "")
        if not _is_below(info, prefix):
            return outer(environ, start_response)
        moved = {"SCRIPT_NAME": environ.get("SCRIPT_NAME", "") + prefix, "PATH_INFO": info[len(prefix) :]}
        return portal({**environ, **moved}, start_response)

    return mounted


# paths


def _is_prefix(path: str) -> bool:
    return path.startswith("/") and not path.endswith("/")


def _is_below(path: str, prefix: str) -> bool:
    return path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/")


def _raw_path(environ: WSGIEnvironment) -> tuple[str, str]:
    """SCRIPT_NAME and PATH_INFO percent-encoded, as the client wrote them where the server tells.

    PEP 3333 has them decoded, where an encoded slash cannot be told from a real one.
    """
    script, info = environ.get("SCRIPT_NAME", ""), environ.get("PATH_INFO", "")
    given = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
    try:
        if "%" in given:
            path = _ORIGIN.sub("", given.partition("?")[0].partition("#")[0], count=1)
            if unquote_to_bytes(path) == (script + info).encode("latin-1"):
                octets = [found.end() for found in _OCTET.finditer(path)]
                cut = octets[len(script) - 1] if script else 0
                return path[:cut], path[cut:]
        return _encoded(script), _encoded(info)
    except UnicodeEncodeError:
        raise ProtocolError("the path is no WSGI text") from None


def _encoded(path: str) -> str:
    return path if _PLAIN.fullmatch(path) else quote(path.encode("latin-1"), safe=_SAFE)


# requests


def _head_bytes(environ: WSGIEnvironment, target: str) -> bytes:
    """The request's head as a client of our own listener would send it: one parser's rules for both.

    A value with a line break in it would become a header of its own, so line breaks are counted.
    """
    old = environ.get("SERVER_PROTOCOL") == "HTTP/1.0"
    lines = [f"{environ.get('REQUEST_METHOD', '')} {target} HTTP/1.{0 if old else 1}\r\n"]
    for name, value in environ.items():
        if name.startswith("HTTP_") and name not in _TWICE:
            lines.append(f"{name[5:].replace('_', '-')}: {value}\r\n")
    if "HTTP_HOST" not in environ:
        lines.append(f"Host: {_server_name(environ)}\r\n")
    kind, length = environ.get("CONTENT_TYPE"), environ.get("CONTENT_LENGTH")
    if kind and not _is_made_up(kind, environ):
        lines.append(f"Content-Type: {kind}\r\n")
    if length:
        lines.append(f"Content-Length: {length}\r\n")
    elif _ends_by_itself(environ):
        lines.append("Transfer-Encoding: chunked\r\n")
    text = "".join(lines)
    if text.count("\n") != len(lines):
        raise ProtocolError("a line break in a header")
    try:
        return f"{text}\r\n".encode("latin-1")
    except UnicodeEncodeError:
        raise ProtocolError("a header is no WSGI text") from None


def _server_name(environ: WSGIEnvironment) -> str:
    name, port = str(environ.get("SERVER_NAME", "")), str(environ.get("SERVER_PORT", ""))
    bracketed = f"[{name}]" if ":" in name and not name.startswith("[") else name
    default = "443" if environ.get("wsgi.url_scheme") == "https" else "80"
    return bracketed if port in ("", default) else f"{bracketed}:{port}"


def _is_made_up(kind: str, environ: WSGIEnvironment) -> bool:
    # wsgiref, and Django's runserver on top of it, say text/plain where the client said nothing.
    return kind == "text/plain" and _is_wsgiref(str(environ.get("SERVER_SOFTWARE", ""))) is not None


def _ends_by_itself(environ: WSGIEnvironment) -> bool:
    """Whether the body has an end without a length: in HTTP/2, where frames say so and no header does."""
    return (
        bool(environ.get("wsgi.input_terminated"))
        and "HTTP_TRANSFER_ENCODING" not in environ
        and str(environ.get("SERVER_PROTOCOL", "")).startswith(("HTTP/2", "HTTP/3"))
        and environ.get("REQUEST_METHOD") not in ("GET", "HEAD", "OPTIONS")
    )


def _read_body(environ: WSGIEnvironment, head: RequestHead, limit: int) -> bytes:
    length = head.content_length
    try:
        if length:
            if length > limit:
                raise ProtocolError(f"the body is longer than {limit} bytes", status=413)
            return _read_sized(environ["wsgi.input"], length)
        if head.chunked:
            if not environ.get("wsgi.input_terminated"):
                raise ProtocolError("this server does not read chunked bodies: say Content-Length", status=411)
            return _read_to_end(environ["wsgi.input"], limit)
    except (OSError, ValueError) as error:
        if isinstance(error, PortalError):
            raise
        raise ProtocolError("the body could not be read", cause=error) from error
    return b""


def _read_sized(source: InputStream, length: int) -> bytes:
    data = source.read(length)
    while len(data) < length:
        piece = source.read(length - len(data))
        if not piece:
            raise ProtocolError("the body ended early")
        data += piece
    return data


def _read_to_end(source: InputStream, limit: int) -> bytes:
    data = bytearray()
    while piece := source.read(min(_PIECE, limit + 1 - len(data))):
        data += piece
        if len(data) > limit:
            raise ProtocolError(f"the body is longer than {limit} bytes", status=413)
    return bytes(data)


# responses


def _respond(response: Response, is_head: bool, start_response: StartResponse) -> Iterable[bytes]:
    body = response.body
    try:
        headers = _headers(response)
    except PortalError as error:
        close_and_log(body, "the body of a response")
        response = problem_response(error, new_request_id())
        body, headers = response.body, _headers(response)
    start_response(status_line(response.status), headers)
    if is_head or response.status in BODILESS:
        close_and_log(body, "the body of a response")
        return []
    return [body] if isinstance(body, bytes) else _NonEmptyPieces(body)


def _headers(response: Response) -> list[tuple[str, str]]:
    headers = []
    for name, value in response.headers:
        check_field(name, value)
        if name.lower() not in _NOT_OURS:
            headers.append((name, value if value.isascii() else value.encode("latin-1", "replace").decode("latin-1")))
    if isinstance(response.body, bytes) and response.status not in BODILESS:
        headers.append(("Content-Length", str(len(response.body))))
    return headers


class _NonEmptyPieces(ClosingIterator):
    """The pieces of a streamed body; the server sends each as it is made (PEP 3333) and closes it at the end."""

    def __next__(self) -> bytes:
        while not (piece := super().__next__()):
            pass
        return bytes(piece)
