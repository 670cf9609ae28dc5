"""One bounded HTTP request, for key sets and tokens.

Its size and its total time are limited. It follows no redirects and uses no proxies.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from .._internal.timed_socket import TimedSocket, time_left
from ..address import Address
from ..errors import AddressError, ConfigError, ProtocolError, TransportError

__all__ = ["Fetched", "fetch", "require_url"]

_MAX_SIZE = 1024 * 1024
_PIECE = 64 * 1024


class Fetched:
    """A response: its status and its body."""

    __slots__ = ("body", "status")

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.body = body


def require_url(path: str, url: str) -> str:
    """Require an http or https URL without credentials, and return it normalized. Raises: ConfigError."""
    try:
        found = Address.parse(url)
        if found.scheme in ("http", "https") and not found.fragment:
            return str(found)
    except AddressError:
        pass
    expected = "an http or https URL without user, password and fragment"
    raise ConfigError.invalid(path, None, expected, secret=True)  # the text may contain a password


def fetch(
    url: str,
    *,
    deadline: float,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    tls: ssl.SSLContext | None = None,
    max_size: int = _MAX_SIZE,
) -> Fetched:
    """Send one request on a new connection and return the response.

    Args:
        url: the result of `require_url`.
        deadline: `time.monotonic()` moment by which the response must be complete. The operating system's look-up of
            the host's addresses may take longer.
        tls: context for https; None trusts the system's certificate authorities.
        max_size: bytes of the body at most.

    Raises: TransportError without a response in time, ProtocolError if the response is not valid HTTP or too large.
    """
    parts = urlsplit(url)
    host = parts.netloc
    given = {"Host": host, "Accept": "application/json", "Accept-Encoding": "identity", "Connection": "close"}
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = http.client.HTTPConnection(host)
    sock: socket.socket | None = None
    try:
        sock = _connect(parts.hostname or "", parts.port, parts.scheme == "https", deadline, tls)
        connection.sock = _Socket(sock, deadline)
        connection.request(method, target, body, {**given, **(headers or {})})
        with connection.getresponse() as response:
            return Fetched(response.status, _read(response, max_size, host))
    except OSError as error:
        message = f"{host} did not respond ({type(error).__name__})"
        raise TransportError(message, scheme=parts.scheme, delivery="not_sent", cause=error) from error
    except (http.client.HTTPException, ValueError) as error:
        raise ProtocolError(
            f"{host} sent a response that is not valid HTTP ({type(error).__name__})", cause=error
        ) from error
    finally:
        connection.close()
        if sock is not None:
            sock.close()


def _read(response: http.client.HTTPResponse, max_size: int, host: str) -> bytes:
    body = bytearray()
    while piece := response.read1(_PIECE):
        body += piece
        if len(body) > max_size:
            raise ProtocolError(f"{host} sent a body of more than {max_size} bytes")
    if response.length:
        raise ConnectionResetError("the response is incomplete")
    return bytes(body)


def _connect(host: str, port: int | None, secure: bool, deadline: float, tls: ssl.SSLContext | None) -> socket.socket:
    """Connect to the first of the host's addresses that accepts a connection."""
    found = socket.getaddrinfo(host, port or (443 if secure else 80), type=socket.SOCK_STREAM)
    for left, (family, kind, protocol, _, address) in zip(range(len(found), 0, -1), found, strict=True):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(time_left(deadline))
            sock.connect(address)
            if not secure:
                return sock
            sock.settimeout(time_left(deadline))
            return (tls or ssl.create_default_context()).wrap_socket(sock, server_hostname=host)
        except OSError:
            sock.close()
            if left == 1:
                raise
    raise OSError(f"{host} has no address")


class _Socket(TimedSocket):
    """The part of a socket that http.client uses."""

    def sendall(self, data: Any) -> None:
        """Send a request in the remaining time."""
        self.update_timeout()
        self._sock.sendall(data)

    def close(self) -> None:
        """Do nothing: http.client closes the socket before the response is read. `fetch` closes it."""
