"""Dialer: an address becomes an open WebSocket connection, over proxies and TLS where they are needed.

It blocks until the handshake is done; the pool of connections runs it in a few threads of its own.

Sources: RFC 6455 section 4.1; RFC 9110 section 9.3.6 for tunnels through proxies.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import unquote

from ..._internal.openssl import clear_error_queue
from ...address import Address
from ...auth.credentials import Credential
from ...context import CallContext
from ...errors import AuthenticationError, PortalError, ProtocolError
from ...network.dial import NotSent, ProxyRefused, connect_to_host
from ...network.error_mapping import as_portal_error
from ...network.problem import error_of
from ...network.proxies import Proxies, Proxy
from ...network.tls import ClientTLS
from ...network.tunnel import open_tunnel, port_of, read_head, set_timeout
from ..deflate import Deflate
from ..frames import FrameProtocol
from ..handshake import ClientHandshake, Declined

__all__ = ["Dialed", "Dialer"]

#: Subprotocol of JSON-RPC; a server need not choose it.
SUBPROTOCOL = "jsonrpc-2.0"
_READ_SIZE = 16 * 1024
_MAX_BODY = 64 * 1024  # bytes of the body of a rejection


class Dialed(NamedTuple):
    """An open connection.

    Attributes:
        sock: the socket, which does not block.
        frames: parses and builds the frames.
        rest: bytes that arrived after the handshake.
        base: segments of the path of the portal.
        credentials: the headers that authenticated the handshake.
    """

    sock: socket.socket
    frames: FrameProtocol
    rest: bytes
    base: tuple[str, ...]
    credentials: Mapping[str, str] = MappingProxyType({})


class Dialer:
    """Open connections.

    Args:
        tls: trusted authorities and the client's certificate for wss.
        proxies: which proxy leads to an address.
        credential: authenticates the handshake, or None.
        connect_timeout: seconds to connect, TLS and handshake included.
        max_message_size: bytes of a received message.
        deflate: settings of compression, or None for none.

    Threads: any.
    """

    def __init__(
        self,
        tls: ClientTLS,
        proxies: Proxies,
        credential: Credential | None = None,
        *,
        connect_timeout: float = 5.0,
        max_message_size: int = 64 * 1024 * 1024,
        deflate: Deflate | None = None,
    ) -> None:
        self._tls = tls
        self._proxies = proxies
        self._credential = credential
        self._connect_timeout = connect_timeout
        self._max_message_size = max_message_size
        self._deflate = deflate

    def dial(self, address: Address, *, renew: bool = False) -> Dialed:
        """Return an open connection to the portal at an address.

        If the server rejects a credential that can be renewed, the handshake is made once more with a new one.

        Args:
            renew: whether the server has rejected the credential of an earlier connection.

        Raises: portal errors only, none of which may have executed a call.
        """
        limit = monotonic() + self._connect_timeout
        credential = self._credential
        if credential is None:
            return self._dial(address, {}, limit)
        if renew:
            credential.rejected(address)
        headers = dict(credential.headers(address, limit))
        try:
            return self._dial(address, headers, limit)
        except AuthenticationError:
            if not credential.rejected(address):
                raise
            renewed = dict(credential.headers(address, limit))
            if renewed == headers:
                raise
        return self._dial(address, renewed, limit)

    def credentials(self, address: Address) -> dict[str, str]:
        """Return the headers that authenticate a connection now; {} for none. Raises: as `dial`."""
        credential = self._credential
        return {} if credential is None else dict(credential.headers(address, monotonic() + self._connect_timeout))

    def _dial(self, address: Address, headers: dict[str, str], limit: float) -> Dialed:
        proxy = self._proxies.find(address)
        sock: socket.socket | None = None
        try:
            sock = self._connect(address, proxy, limit)
            return self._shake_hands(sock, address, headers, limit)
        except PortalError as error:
            _close(sock)
            error.delivery, error.address, error.scheme = "not_sent", str(address), address.scheme
            raise
        except (OSError, UnicodeError) as error:
            _close(sock)
            if proxy is None:
                raise as_portal_error(_as_not_sent(error), address, CallContext()) from error
            # A proxy that refuses tells nothing of the server; see `is_refused`.
            raise as_portal_error(_as_not_sent(error), address, CallContext(), proxy) from _as_not_sent(error)
        except BaseException:
            _close(sock)
            raise

    def _connect(self, address: Address, proxy: Proxy | None, limit: float) -> socket.socket:
        server = address if proxy is None else Address.parse(proxy.url)
        sock = connect_to_host(server.host, port_of(server), limit)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if proxy is not None:
                if server.scheme == "https":
                    if address.scheme == "wss":
                        raise ProxyRefused("TLS within the TLS of a proxy is not supported; use an http:// proxy")
                    sock = self._wrap(sock, server.host, limit)
                open_tunnel(sock, address, proxy, limit)
            if address.scheme == "wss":
                sock = self._wrap(sock, address.host, limit)
            return sock
        except BaseException:
            sock.close()
            raise

    def _wrap(self, sock: socket.socket, host: str, limit: float) -> socket.socket:
        context = self._tls.context()
        context.set_alpn_protocols(["http/1.1"])
        set_timeout(sock, limit)
        clear_error_queue()
        return context.wrap_socket(sock, server_hostname=host)

    def _shake_hands(self, sock: socket.socket, address: Address, headers: dict[str, str], limit: float) -> Dialed:
        handshake = ClientHandshake(
            address.authority,
            _target_of(address),
            headers=[("User-Agent", "portal"), *headers.items()],
            subprotocols=(SUBPROTOCOL,),
            deflate=self._deflate,
        )
        set_timeout(sock, limit)
        sock.sendall(handshake.request())
        head, rest = read_head(sock, limit)
        agreed = handshake.read_response(head)
        if isinstance(agreed, Declined):
            raise _rejection(sock, agreed, rest, limit)
        frames = FrameProtocol("client", max_message=self._max_message_size, deflate=agreed.deflate)
        sock.setblocking(False)
        return Dialed(sock, frames, rest, _base_of(head, address.segments), headers)


def _as_not_sent(error: Exception) -> NotSent:
    if isinstance(error, NotSent):
        return error
    wrapped = NotSent(str(error))
    wrapped.__cause__ = error
    return wrapped


def _target_of(address: Address) -> str:
    target = str(address).removeprefix(address.base).partition("#")[0]
    return target if target.startswith("/") else f"/{target}"


def _base_of(head: bytes, asked: tuple[str, ...]) -> tuple[str, ...]:
    """Return the path of the portal: Portal-Path of the response, unless that does not contain the path asked for."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"portal-path":
            told = tuple(unquote(part) for part in value.strip().decode("latin-1").split("/") if part)
            return told if asked[: len(told)] == told else asked
    return asked


def _rejection(sock: socket.socket, declined: Declined, body: bytes, limit: float) -> PortalError:
    """Return the error of a response that does not accept the handshake."""
    headers = declined.headers
    text = headers.get("content-length", "")
    length = min(int(text), _MAX_BODY) if text.isdecimal() and len(text) < 10 else 0
    with suppress(OSError):
        while len(body) < length:
            set_timeout(sock, limit)
            piece = sock.recv(_READ_SIZE)
            if not piece:
                break
            body += piece
    if declined.status < 400:
        words = f"the server responded to the WebSocket handshake with {declined.status}"
        return ProtocolError(words, hint="is this the address of a WebSocket portal?")
    error = error_of(declined.status, headers.get("content-type", ""), body[:length], headers)
    if declined.status == 426 or (declined.status in (404, 405) and isinstance(error, ProtocolError)):
        error.hint = error.hint or "is this the address of a WebSocket portal?"
    return error


def _close(sock: socket.socket | None) -> None:
    if sock is not None:
        with suppress(OSError):
            sock.close()
