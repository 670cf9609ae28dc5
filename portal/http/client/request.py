"""ClientRequest and ClientResponse: what a transport sends, and what it returns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple, Protocol

from ...address import Address
from ...context import CallContext
from ..messages.call_headers import header_lines, headers_of
from ..messages.content_coding import CODINGS
from ..messages.event_stream import JSON
from ..messages.multipart import MultipartBody

__all__ = ["NO_HEADERS", "ClientRequest", "ClientResponse", "SendsRequests"]

NO_HEADERS: Mapping[str, str] = {}
_FIXED_HEADERS = {"User-Agent": "portal", "Accept-Encoding": CODINGS}


class ClientRequest(NamedTuple):
    """One request.

    Attributes:
        context: the context of the call. Its id, deadline and trace are sent as headers.
        accept: the wanted media type.
        repeatable: whether executing the request twice does no harm.
        headers: further headers, such as a credential.
    """

    method: str
    address: Address
    body: bytes | MultipartBody | None
    context: CallContext
    accept: str = JSON
    repeatable: bool = False
    headers: Mapping[str, str] = NO_HEADERS

    def with_headers(self, headers: Mapping[str, str]) -> ClientRequest:
        """Return the same request with more headers."""
        return self._replace(headers={**self.headers, **headers})

    def all_headers(self) -> dict[str, str]:
        """Return every header but Host and Content-Length. Raises ProtocolError as `headers_of`."""
        media_types = {"Accept": self.accept, "Content-Type": JSON}
        return headers_of(self.context) | {**media_types, **_FIXED_HEADERS, **self.headers}

    def encode(self) -> bytes:
        """Return the request as HTTP/1.1 bytes, without a body that has files. Raises ProtocolError as `headers_of`."""
        _, address, body, context, accept, _, extra = self
        lines = header_lines(context)
        if extra:
            lines = "".join([f"{name}: {value}\r\n" for name, value in extra.items()]) + lines
        start = _encode_start(self.method, address, accept, "Content-Type" not in extra)
        if body.__class__ is not bytes and body is not None:
            return start + f"{lines}Content-Length: {len(body)}\r\n\r\n".encode("latin-1")
        if body is None:
            return start + f"{lines}\r\n".encode("latin-1")
        return start + f"{lines}Content-Length: {len(body)}\r\n\r\n".encode("latin-1") + body

    def pieces(self) -> Iterable[bytes]:
        """Return what follows `encode`: the pieces of a body that has files."""
        return () if self.body is None or self.body.__class__ is bytes else self.body  # type: ignore[return-value]


@lru_cache(maxsize=1024)
def _encode_start(method: str, address: Address, accept: str, is_json: bool) -> bytes:
    """Return the part of a request's head that is the same for every call of an address."""
    target = str(address).removeprefix(address.base).partition("#")[0]
    target = target if target.startswith("/") else f"/{target}"
    lines = [f"{method} {target} HTTP/1.1", f"Host: {address.authority}", f"Accept: {accept}"]
    lines += [f"{name}: {value}" for name, value in _FIXED_HEADERS.items()]
    if method == "POST" and is_json:
        lines.append(f"Content-Type: {JSON}")
    return ("\r\n".join(lines) + "\r\n").encode("ascii")


class ClientResponse(Protocol):
    """A response whose head has been read. Its connection becomes free at the end of the body."""

    status: int

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers by lower-case name."""

    def read_buffered(self) -> bytes | None:
        """Return the body if all of it has arrived, else None; then read it with `iter_body`."""

    def iter_body(self) -> Iterator[bytes]:
        """Yield the body as it arrives, without decompressing it."""

    def close(self) -> None:
        """Give up the rest of the response."""


class SendsRequests(Protocol):
    """Anything that sends requests: the transport or a layer around it."""

    def send(self, request: ClientRequest) -> ClientResponse:
        """Send a request and return its response. Raises portal errors only."""
