"""Transport: one request out, one answer in, over whichever connection leads there.

Plain http goes over connections of our own (`wire.py`), https and whatever goes through a proxy over urllib3's pools
(`pools.py`); both give the same Answer and the same errors. Every failure is a portal error. A TransportError's
`may_have_executed` is False only where no byte of the request can have reached the server. A request is sent a second
time only where that does no harm, when the server closed a kept connection without a byte of an answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from time import monotonic
from typing import NamedTuple, Protocol

from ..._internal.at_fork import new_lock
from ..._internal.settings import count, positive_seconds, size
from ...address import Address
from ...calls.deadlines import expired_error
from ...context import CallContext
from ...errors import CallCancelled, PortalError, ProtocolError, TransportError
from ...portal import is_unstarted
from ..messages.call_headers import headers_of
from ..messages.content_coding import CODINGS, compress, decompressed
from ..messages.event_stream import JSON
from .connection import StaleConnection
from .error_mapping import as_portal_error
from .pool import ConnectionPool
from .proxies import Proxies
from .urllib3_transport import ClientTLS, Urllib3Transport

__all__ = ["Answer", "ClientRequest", "Transport"]

_START = "the portal of this process at this address is not started; use `with portal:` or portal.start()"
_NOTHING: Mapping[str, str] = {}
_ALWAYS = {"User-Agent": "portal", "Accept-Encoding": CODINGS}
_MOST_AUTHORITIES = 1024
_MOST_POOLS = 256  # servers that connections are kept to


class ClientRequest(NamedTuple):
    """One request.

    Attributes:
        context: of the call; its id, deadline and trace go along as headers.
        accept: the media type that is wanted.
        repeatable: whether executing it twice does no harm.
        headers: further ones, such as credentials.
    """

    method: str
    address: Address
    body: bytes | None
    context: CallContext
    accept: str = JSON
    repeatable: bool = False
    headers: Mapping[str, str] = _NOTHING

    def adding(self, headers: Mapping[str, str]) -> ClientRequest:
        """The same with more headers."""
        return self._replace(headers={**self.headers, **headers})


class Answer(Protocol):
    """An answer whose head has been read; its connection is given back at the end of the body."""

    status: int

    @property
    def headers(self) -> Mapping[str, str]:
        """By lower-case name."""

    def whole(self) -> bytes | None:
        """The body, if all of it has come; None where it has to be read by `pieces`."""

    def pieces(self) -> Iterator[bytes]:
        """The body as it comes."""

    def close(self) -> None:
        """Give the answer up."""


class Transport:
    """Sends requests and reads their answers.

    Args:
        connect_timeout: seconds to connect, within the request's own deadline.
        read_timeout: seconds for which a server may send nothing; None leaves that to the deadline.
        connections: kept for each server, of 256 at most.
        max_answer: bytes of an answer.
        compress: bytes from which bodies are sent in gzip, to servers that take it; None never does.
        proxies: which lead where.
        tls, sockets: as of `HTTPClient`.

    Threads: any; connections are shared. Fork: a child opens connections of its own.
    """

    def __init__(
        self,
        *,
        connect_timeout: float,
        read_timeout: float | None,
        connections: int,
        max_answer: int,
        compress: int | None,
        tls: ClientTLS | None,
        proxies: Proxies,
        sockets: Mapping[str, str] | None,
    ) -> None:
        self._connect_timeout = positive_seconds("client.connect_timeout", connect_timeout)
        self._read_timeout = positive_seconds("client.read_timeout", read_timeout, optional=True)
        self._connections = count("client.connections", connections)
        self._max_answer = size("client.max_answer", max_answer)
        self._compress = size("client.compress", compress, minimum=0, optional=True)
        self._uncompressed: set[str] = set()  # authorities that take no gzip
        self._proxies = proxies
        self._sockets = {**(sockets or {})}
        self._lock = new_lock()  # guards adding to the pools
        self._wires: dict[tuple[str, int], ConnectionPool] = {}
        self._tls = tls or ClientTLS()
        self._pools = Urllib3Transport(connections, self._tls)

    def close(self) -> None:
        """Close the connections that are idle; those in use close after their answer."""
        with self._lock:
            wires, self._wires = list(self._wires.values()), {}
        for pool in wires:
            pool.close()
        self._pools.close()

    @property
    def servers(self) -> int:
        """To how many servers connections of our own are kept."""
        return len(self._wires)

    def way(self, address: Address) -> tuple[object, ...]:
        """What tells apart whom this reaches, and as whom, from what another Transport does at the same address."""
        if address.scheme == "https":
            return (self._tls.ca, self._tls.certificate)
        return (self._sockets.get(address.authority),)

    # sending

    def send(self, request: ClientRequest) -> Answer:
        """Send a request: compressed where that is wanted, and as it is to a server that does not take it so."""
        least, place = self._compress, request.address.authority
        if least is None or request.body is None or len(request.body) < least or place in self._uncompressed:
            return self._send(request)
        packed = request.adding({"Content-Encoding": "gzip"})._replace(body=compress(request.body))
        answer = self._send(packed)
        if answer.status != 415 or "accept-encoding" not in answer.headers:
            return answer  # without that header (RFC 9110 section 12.5.3) it may be the function that says 415
        answer.close()
        if len(self._uncompressed) >= _MOST_AUTHORITIES:
            self._uncompressed.clear()
        self._uncompressed.add(place)
        return self._send(request)

    def _send(self, request: ClientRequest) -> Answer:
        try:
            return self._send_once(request)
        except TransportError as error:
            stale = isinstance(error.__cause__, StaleConnection)
            if not request.repeatable or not stale or request.context.expired:
                raise
            return self._send_again(request, error)

    def _send_again(self, request: ClientRequest, first: TransportError) -> Answer:
        try:
            return self._send_once(request)
        except TransportError as error:
            error.merge_previous_attempt(first)
            raise

    def _send_once(self, request: ClientRequest) -> Answer:
        method, address, body, context, accept, _, extra = request
        if context.cancelled:
            raise CallCancelled("the caller cancelled the call", address=address)
        if context.expired:
            raise expired_error(context, str(address))
        proxy = self._proxies.to(address)
        try:
            if address.scheme == "https" or proxy is not None:
                headers = headers_of(context) | {"Accept": accept, "Content-Type": JSON, **_ALWAYS, **extra}
                times = (context.deadline, self._connect_timeout, self._read_timeout)
                return self._pools.exchange(proxy, method, address, body, headers, *times)
            head = _head(method, address, accept) + _tail(context, body, extra)
            return self._wire(address).exchange(head, context.deadline)
        except OSError as error:
            failure = as_portal_error(error, address, context, proxy)
            if proxy is None and is_unstarted(address):
                failure.hint = _START
            raise failure from error
        except ProtocolError as error:
            raise _garbled(error, address) from error

    def _wire(self, address: Address) -> ConnectionPool:
        key = (address.host, address.port or 80)
        pool = self._wires.get(key)
        return self._new_wire(key, address) if pool is None else pool

    def _new_wire(self, key: tuple[str, int], address: Address) -> ConnectionPool:
        given_up: list[ConnectionPool] = []
        with self._lock:
            fresh = ConnectionPool(
                *key,
                size=self._connections,
                connect_timeout=self._connect_timeout,
                path=self._sockets.get(address.authority),
                read_timeout=self._read_timeout,
            )
            pool = self._wires.setdefault(key, fresh)
            while len(self._wires) > _MOST_POOLS:
                given_up.append(self._wires.pop(next(iter(self._wires))))  # what it is in the middle of goes on
        for one in given_up:
            one.close()
        return pool

    # reading

    def read(self, answer: Answer, request: ClientRequest) -> bytes:
        """The whole body, decompressed. ProtocolError where it is longer than `max_answer`."""
        body = answer.whole()
        if body is not None and "content-encoding" not in answer.headers:
            return self._bounded(body, len(body), request.address)
        pieces: list[bytes] = []
        size = 0
        for piece in self.pieces(answer, request, body):
            size += len(piece)
            pieces.append(self._bounded(piece, size, request.address))
        return b"".join(pieces)

    def _bounded(self, data: bytes, size: int, address: Address) -> bytes:
        if size > self._max_answer:
            raise ProtocolError(f"the answer of {address} is longer than {self._max_answer} bytes", address=address)
        return data

    def pieces(self, answer: Answer, request: ClientRequest, whole: bytes | None = None) -> Iterator[bytes]:
        """The body as it comes, decompressed; whoever takes it bounds it.

        Args:
            whole: what `Answer.whole` gave.
        """
        context = request.context
        coding = answer.headers.get("content-encoding")
        pieces = answer.pieces() if whole is None else iter((whole,))
        try:
            for piece in pieces if coding is None else decompressed(pieces, coding):
                yield piece
                if context.deadline is not None and monotonic() > context.deadline:
                    raise TimeoutError("the deadline has passed")
        except ProtocolError as error:
            raise _garbled(error, request.address) from error
        except OSError as error:
            if isinstance(error, PortalError):
                raise
            raise as_portal_error(error, request.address, context) from error
        finally:
            answer.close()


@lru_cache(maxsize=1024)
def _head(method: str, address: Address, accept: str) -> bytes:
    """The part of a request's head that is the same for every call of an address."""
    target = str(address).removeprefix(address.base).partition("#")[0]
    target = target if target.startswith("/") else f"/{target}"
    lines = [f"{method} {target} HTTP/1.1", f"Host: {address.authority}", f"Accept: {accept}"]
    lines += [f"{name}: {value}" for name, value in _ALWAYS.items()]
    if method == "POST":
        lines.append(f"Content-Type: {JSON}")
    return ("\r\n".join(lines) + "\r\n").encode("ascii")


def _tail(context: CallContext, body: bytes | None, extra: Mapping[str, str]) -> bytes:
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers_of(context).items()])
    if extra:
        lines = "".join([f"{name}: {value}\r\n" for name, value in extra.items()]) + lines
    if body is None:
        return f"{lines}\r\n".encode("latin-1")
    return f"{lines}Content-Length: {len(body)}\r\n\r\n".encode("latin-1") + body


def _garbled(error: ProtocolError, address: Address) -> ProtocolError:
    """What is wrong with an answer, with the address: the request was sent, so the call may have been executed."""
    return ProtocolError(f"{address}: {error}", scheme=address.scheme, address=address)
