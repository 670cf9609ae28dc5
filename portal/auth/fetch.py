"""One bounded HTTP exchange, for what authentication needs from elsewhere: key sets and tokens.

Bounded in all: address, size and time, the time as a whole and not for each read. Redirects are not followed, proxies
not used.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from .._internal.deadline_io import TimedSocket, time_left
from ..address import Address
from ..errors import AddressError, ConfigError, ProtocolError, TransportError

__all__ = ["Fetched", "fetch", "require_url"]

_MAX_SIZE = 1024 * 1024
_PIECE = 64 * 1024


class Fetched:
    """An answer: its status and its body."""

    __slots__ = ("body", "status")

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.body = body


def require_url(path: str, url: Any) -> str:
    """An http or https address without credentials in it. Raises ConfigError, named by `path`."""
    try:
        found = Address.parse(url)
        if found.scheme in ("http", "https") and not found.fragment:
            return str(found)
    except AddressError:
        pass  # said below; the text is not repeated, as it may hold a password
    allowed = "an http or https address without user, password and fragment"
    raise ConfigError(f"{path} is not right; expected: {allowed}", path=path, expected=allowed)


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
    """The answer to one request on a connection of its own.

    Args:
        url: as `require_url` gives it.
        deadline: `time.monotonic()` moment by which the answer is read. Asking for the host's addresses, which the
            operating system does in its own time, is not cut short.
        tls: what is trusted over https; the system's authorities when None.
        max_size: bytes of the body.
    Raises: TransportError when there is no answer in time, ProtocolError for one that is no HTTP or too long.
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
        with connection.getresponse() as answer:
            return Fetched(answer.status, _read(answer, max_size, host))
    except OSError as error:
        words = f"{host} did not answer ({type(error).__name__})"
        raise TransportError(words, scheme=parts.scheme, delivery="not_sent", cause=error) from error
    except (http.client.HTTPException, ValueError) as error:
        raise ProtocolError(f"{host} answered what is no HTTP ({type(error).__name__})", cause=error) from error
    finally:
        connection.close()
        if sock is not None:
            sock.close()


def _read(answer: http.client.HTTPResponse, max_size: int, host: str) -> bytes:
    body = bytearray()
    while piece := answer.read1(_PIECE):
        body += piece
        if len(body) > max_size:
            raise ProtocolError(f"{host} answered more than {max_size} bytes")
    if answer.length:
        raise ConnectionResetError("the answer was cut off")
    return bytes(body)


def _connect(host: str, port: int | None, secure: bool, deadline: float, tls: ssl.SSLContext | None) -> socket.socket:
    """A connection to the first of the host's addresses that takes one."""
    failure = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(
        host, port or (443 if secure else 80), type=socket.SOCK_STREAM
    ):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(time_left(deadline))
            sock.connect(address)
            if not secure:
                return sock
            sock.settimeout(time_left(deadline))
            return (tls or ssl.create_default_context()).wrap_socket(sock, server_hostname=host)
        except OSError as error:
            sock.close()
            failure = error
    raise failure


class _Socket(TimedSocket):
    """What http.client uses of a socket."""

    def sendall(self, data: Any) -> None:
        """Send a request in the time that is left."""
        self.update_timeout()
        self._sock.sendall(data)

    def close(self) -> None:
        """Nothing: http.client lets go of a socket whose answer it still reads. `fetch` closes it."""
