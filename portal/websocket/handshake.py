"""The opening handshake of a WebSocket connection, for both sides, without I/O.

Sources: RFC 6455 section 4; RFC 7692 section 5 for the compression.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ..errors import ProtocolError
from ..http11.fields import is_token, split_list
from ..http11.parameters import parse_elements
from ..http11.request_head import RequestHead
from ..http11.response_head import check_field, parse_response_head
from . import deflate as permessage_deflate
from .deflate import Agreement, Deflate

__all__ = ["Accepted", "Agreed", "ClientHandshake", "Declined", "Rejected", "respond"]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_VERSION = "13"
_UPGRADE = (("Connection", "Upgrade"), ("Upgrade", "websocket"))


def _accept_token(key: str) -> str:
    return base64.b64encode(hashlib.sha1(key.encode("latin-1") + _GUID, usedforsecurity=False).digest()).decode()


# the server


class Accepted(NamedTuple):
    """A server's acceptance of a handshake.

    Attributes:
        headers: of the response with status 101.
        subprotocol: the agreed one, or None.
        deflate: what was agreed on compression, or None.
    """

    headers: list[tuple[str, str]]
    subprotocol: str | None
    deflate: Agreement | None


class Rejected(NamedTuple):
    """A server's rejection of a handshake, by an HTTP response.

    Attributes:
        status: of the response.
        detail: why.
        headers: of the response, besides those of every response.
    """

    status: int
    detail: str
    headers: list[tuple[str, str]]


def respond(
    head: RequestHead, *, subprotocols: Sequence[str] = (), deflate: Deflate | None = None
) -> Accepted | Rejected:
    """Return a server's response to a request for a WebSocket connection.

    Args:
        subprotocols: that the server speaks. The first one of the client's list that is among them is agreed on.
        deflate: settings of compression, or None for none.
    """
    rejected = _check_request(head)
    if rejected is not None:
        return rejected
    headers = head.headers
    offered = split_list(headers.get("sec-websocket-protocol", ""))
    if not all(is_token(name) for name in offered):
        return Rejected(400, "Sec-WebSocket-Protocol must be a list of tokens", [])
    try:
        extensions = parse_elements(headers.get("sec-websocket-extensions", ""))
    except ProtocolError as error:
        return Rejected(400, f"Sec-WebSocket-Extensions is malformed: {error}", [])
    response = [*_UPGRADE, ("Sec-WebSocket-Accept", _accept_token(headers["sec-websocket-key"]))]
    subprotocol = next((name for name in offered if name in subprotocols), None)
    if subprotocol is not None:
        response.append(("Sec-WebSocket-Protocol", subprotocol))
    agreed = None if deflate is None else permessage_deflate.accept(deflate, extensions)
    if agreed is None:
        return Accepted(response, subprotocol, None)
    element, agreement = agreed
    response.append(("Sec-WebSocket-Extensions", element))
    return Accepted(response, subprotocol, agreement)


def _check_request(head: RequestHead) -> Rejected | None:
    if head.method != "GET":
        return Rejected(405, f"the method of a WebSocket handshake must be GET, got {head.method}", [("Allow", "GET")])
    if head.version < (1, 1) or "websocket" not in split_list(head.upgrade or ""):
        detail = "this address speaks WebSocket; send Connection: Upgrade and Upgrade: websocket with HTTP/1.1"
        return Rejected(426, detail, list(_UPGRADE))
    version = head.headers.get("sec-websocket-version", "")
    if version != _VERSION:
        detail = f"Sec-WebSocket-Version must be {_VERSION}, got {version[:20]!r}"
        return Rejected(426, detail, [*_UPGRADE, ("Sec-WebSocket-Version", _VERSION)])
    if head.chunked or head.content_length:
        return Rejected(400, "a WebSocket handshake must not have a body", [])
    if not _is_key(head.headers.get("sec-websocket-key", "")):
        return Rejected(400, "Sec-WebSocket-Key must be the base64 form of 16 bytes", [])
    return None


def _is_key(text: str) -> bool:
    try:
        return len(text) == 24 and len(base64.b64decode(text, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


# the client


class Agreed(NamedTuple):
    """The result of an opening handshake.

    Attributes:
        subprotocol: the one that the server has chosen, or None.
        deflate: what was agreed on compression, or None.
    """

    subprotocol: str | None
    deflate: Agreement | None


class Declined(NamedTuple):
    """A server's HTTP response that does not accept the handshake.

    Attributes:
        status: of the response.
        headers: values by lower-case name.
    """

    status: int
    headers: Mapping[str, str]


class ClientHandshake:
    """A client's handshake.

    Args:
        host: value of the Host header, with the port unless it is the default of the scheme.
        target: path and query.
        headers: further headers, such as Authorization and Origin.
        subprotocols: that the client speaks, in its order of preference.
        deflate: settings of compression, or None to offer none.
        key: 16 random bytes; None draws them.

    Threads: one at a time.
    """

    def __init__(
        self,
        host: str,
        target: str,
        *,
        headers: Iterable[tuple[str, str]] = (),
        subprotocols: Sequence[str] = (),
        deflate: Deflate | None = None,
        key: bytes | None = None,
    ) -> None:
        self._host = host
        self._target = target
        self._headers = tuple(headers)
        self._subprotocols = tuple(subprotocols)
        self._deflate = deflate
        self._key = base64.b64encode(os.urandom(16) if key is None else key).decode()

    def request(self) -> bytes:
        """Return the request. Raises: ProtocolError for a header that would end the head early or add lines to it."""
        rows = [
            ("Host", self._host),
            *_UPGRADE,
            ("Sec-WebSocket-Key", self._key),
            ("Sec-WebSocket-Version", _VERSION),
        ]
        if self._subprotocols:
            rows.append(("Sec-WebSocket-Protocol", ", ".join(self._subprotocols)))
        if self._deflate is not None:
            rows.append(("Sec-WebSocket-Extensions", permessage_deflate.offer(self._deflate)))
        rows.extend(self._headers)
        for name, value in rows:
            check_field(name, value)
        lines = "".join(f"{name}: {value}\r\n" for name, value in rows)
        return f"GET {self._target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1", "replace")

    def read_response(self, head: bytes) -> Agreed | Declined:
        """Return what the server has agreed to, or its refusal.

        Args:
            head: of the response, without the blank line at its end.
        Raises: ProtocolError for a response that is not HTTP/1.1, or that accepts what was not offered.
        """
        status, headers, _ = parse_response_head(head)
        if status != 101:
            return Declined(status, headers)
        if "websocket" not in split_list(headers.get("upgrade", "").lower()):
            raise ProtocolError(f"the server must upgrade to websocket, got {headers.get('upgrade', '')[:40]!r}")
        if "upgrade" not in split_list(headers.get("connection", "").lower()):
            raise ProtocolError("the response to a WebSocket handshake must have Connection: Upgrade")
        if headers.get("sec-websocket-accept") != _accept_token(self._key):
            raise ProtocolError("Sec-WebSocket-Accept does not fit the key: the server has not read this handshake")
        subprotocol = headers.get("sec-websocket-protocol")
        if subprotocol is not None and subprotocol not in self._subprotocols:
            raise ProtocolError(f"the server chose the subprotocol {subprotocol[:40]!r}, which was not offered")
        return Agreed(subprotocol, self._read_extensions(headers.get("sec-websocket-extensions", "")))

    def _read_extensions(self, text: str) -> Agreement | None:
        elements = parse_elements(text)
        if not elements:
            return None
        if self._deflate is None:
            raise ProtocolError(f"the server accepted the extension {elements[0][0][:40]}, which was not offered")
        return permessage_deflate.read_response(self._deflate, elements)
