"""WSGIApp: an HTTP portal as a WSGI application (PEP 3333). `mount` in mount.py puts it beside another application.

Under WSGI only this thread can respond, so a call with a deadline runs in a worker of the dispatcher.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from ..._internal.closing import ClosingIterator, close_and_log
from ..._internal.content import Content, spooled
from ..._internal.log import get_logger
from ..._internal.settings import size, url_path
from ...context import new_request_id
from ...errors import PortalError, ProtocolError, RegistryError
from ...function.failure import limit_exposure
from ...http11.head_cache import HeadCache
from ...http11.request_head import RequestHead
from ...http11.response_head import BODILESS, check_field, status_line
from ...network.failure_log import log_failure
from ...network.problem_response import problem_response
from ...network.wsgi_head import head_bytes
from ...serving import Request, Response
from ...serving.messages.stored_body import BodyRule, BodyRules
from .wsgi_path import is_below, locate

if TYPE_CHECKING:
    from _typeshed.wsgi import InputStream, StartResponse, WSGIEnvironment

__all__ = ["App", "WSGIApp", "WSGIRequest"]

_log = get_logger("portal.http")
_PIECE = 64 * 1024
_SMALL = 1024 * 1024  # bytes of a body that are read at once
#: Headers that the outer server sends. They concern its connection (RFC 9110 section 7.6.1), or it sets them anyway.
_OF_OUTER_SERVER = frozenset(
    {"connection", "content-length", "date", "keep-alive", "proxy-authenticate", "proxy-authorization",
     "proxy-connection", "server", "te", "trailer", "transfer-encoding", "upgrade"}
)  # fmt: skip


class App(Protocol):
    """Responds to requests, such as an HTTPApp."""

    def handle(self, request: Request) -> Response:
        """Return the response to a request."""


class WSGIRequest(Request):
    """A request that an outer server has read.

    Attributes:
        scheme: "http" or "https", as the outer server reports it.
        mount_path: the base path as this client sees it, percent-encoded, such as "/api".
    """

    __slots__ = ("mount_path", "scheme")

    def __init__(
        self,
        head: RequestHead,
        body: bytes | Content,
        peer: str,
        scheme: str,
        mount_path: str,
        arrived: float | None = None,
    ) -> None:
        super().__init__(head, body, None, peer, None, arrived)
        self.scheme = scheme
        self.mount_path = mount_path

    @property
    def base(self) -> str:
        """The URL of the base path as this client sees it, such as "https://shop.example/api"."""
        return f"{self.scheme}://{self.headers.get('host', '')}{self.mount_path}"

    @property
    def secure(self) -> bool:
        """Whether it arrived over TLS."""
        return self.scheme == "https"


class WSGIApp:
    """A WSGI application that responds like the portal's own listener.

    The outer server reads the heads and keeps the connections. It also decides how a stream that fails ends under
    HTTP/1.0.

    Args:
        app: responds to the requests.
        base_path: the prefix of the paths of `app`: "" or a path such as "/api".
        max_body: bytes of a request body, unless the app has a rule for it. A longer body gets 413.
        beside: paths of `app` that are not below its base path.
        prepare: called before each request, to start the services of the portal.

    Threads: any. Fork: safe.
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
        """Respond to one request (PEP 3333)."""
        arrived = monotonic()
        try:
            self._prepare()
            request = self._request(environ, arrived)
        except PortalError as error:
            request_id = new_request_id()
            limit_exposure(error)  # of a call that a service makes when it starts
            log_failure(_log, error, request_id)
            response = problem_response(error, request_id)
        else:
            response = self._app.handle(request)
        return _respond(response, environ.get("REQUEST_METHOD") == "HEAD", start_response)

    def _request(self, environ: WSGIEnvironment, arrived: float) -> WSGIRequest:
        path, mount_path = locate(environ, self.base_path)
        query = environ.get("QUERY_STRING")
        head = self._heads.parse(head_bytes(environ, f"{path}?{query}" if query else path))
        if not any(is_below(head.path, place) for place in self._places):
            served = ", ".join(sorted(self._places)[:5])
            raise RegistryError(f"nothing is served at {head.path[:200]}; served paths: {served}")
        rule = self._app.body_rule(head) if isinstance(self._app, BodyRules) and _is_large(head) else None
        body = _read_body(environ, head, rule or BodyRule(None, on_disk=False), self._max_body)
        peer, scheme = environ.get("REMOTE_ADDR") or "unix:", environ.get("wsgi.url_scheme", "http")
        return WSGIRequest(head, body, peer, scheme, mount_path, arrived)


# requests


def _is_large(head: RequestHead) -> bool:
    """Return whether a body may be so large that the app must be asked for its rule."""
    return head.chunked or (head.content_length or 0) > _SMALL


def _read_body(environ: WSGIEnvironment, head: RequestHead, rule: BodyRule, limit: int) -> bytes | Content:
    length = head.content_length
    limit = limit if rule.max_size is None else rule.max_size
    try:
        if length:
            if length > limit:
                raise ProtocolError(f"the body must have at most {limit} bytes (max_body)", status=413)
            pieces = _sized_pieces(environ["wsgi.input"], length)
        elif head.chunked:
            if not environ.get("wsgi.input_terminated"):
                raise ProtocolError("this server does not read chunked bodies; send Content-Length", status=411)
            pieces = _pieces_to_end(environ["wsgi.input"], limit)
        else:
            return b""
        return spooled(pieces) if rule.on_disk else b"".join(pieces)
    except (OSError, ValueError) as error:
        if isinstance(error, PortalError):
            raise
        raise ProtocolError("the body could not be read", cause=error) from error


def _sized_pieces(source: InputStream, length: int) -> Iterator[bytes]:
    while length:
        piece = source.read(min(length, _SMALL))
        if not piece:
            raise ProtocolError("the body ended before its Content-Length")
        length -= len(piece)
        yield piece


def _pieces_to_end(source: InputStream, limit: int) -> Iterator[bytes]:
    left = limit + 1
    while piece := source.read(min(_PIECE, left)):
        left -= len(piece)
        if not left:
            raise ProtocolError(f"the body must have at most {limit} bytes (max_body)", status=413)
        yield piece


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
        if name.lower() not in _OF_OUTER_SERVER:
            headers.append((name, value if value.isascii() else value.encode("latin-1", "replace").decode("latin-1")))
    body = response.body
    length = len(body) if isinstance(body, bytes) else getattr(body, "length", None)
    if length is not None and response.status not in BODILESS:
        headers.append(("Content-Length", str(length)))
    return headers


class _NonEmptyPieces(ClosingIterator):
    """The pieces of a streamed body. The outer server sends each at once (PEP 3333) and closes the body at the end."""

    def __next__(self) -> bytes:
        while not (piece := super().__next__()):
            pass
        return bytes(piece)
