"""A transport that returns scripted responses, for tests of the layers around one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from portal import Address, CallContext
from portal.http.client.request import ClientRequest

ADDRESS = Address.parse("http://127.0.0.1:1/api/add")


class ScriptedResponse:
    """A response with the given body, which arrives in pieces.

    Args:
        pieces: the body; one piece that has arrived with the head when `buffered`.
    """

    def __init__(
        self, status: int = 200, headers: Mapping[str, str] | None = None, *pieces: bytes, buffered: bool = False
    ) -> None:
        self.status = status
        self.headers = dict(headers or {})
        self.pieces = pieces
        self.buffered = buffered
        self.closed = 0

    def read_buffered(self) -> bytes | None:
        return b"".join(self.pieces) if self.buffered else None

    def iter_body(self) -> Iterator[bytes]:
        yield from self.pieces

    def close(self) -> None:
        self.closed += 1


class ScriptedTransport:
    """Return the given responses in turn, and keep the requests."""

    def __init__(self, *responses: ScriptedResponse) -> None:
        self.responses = list(responses)
        self.requests: list[ClientRequest] = []

    def send(self, request: ClientRequest) -> ScriptedResponse:
        self.requests.append(request)
        return self.responses.pop(0)


def request_of(body: bytes | None = b"{}", context: CallContext | None = None) -> ClientRequest:
    """Return a request of a call."""
    return ClientRequest("POST", ADDRESS, body, context or CallContext())
