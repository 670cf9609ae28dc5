"""An echo server on Portal's listener and an echo client, both of Portal's handshake and frames."""

from __future__ import annotations

import socket
import threading
from typing import Literal

from portal.serving import Channel, Listener, Request, Response, Run
from portal.websocket.deflate import Agreement, Deflate
from portal.websocket.frames import BinaryMessage, Close, Failure, FrameEvent, FrameProtocol, Ping, TextMessage
from portal.websocket.handshake import Agreed, ClientHandshake, Rejected, respond

MAX_MESSAGE = 32 * 1024 * 1024
DEFLATE = Deflate(min_size=0, window_bits=15, memory_level=8, context_takeover=True)


def frames(side: Literal["server", "client"], deflate: Agreement | None) -> FrameProtocol:
    return FrameProtocol(side, max_message=MAX_MESSAGE, max_fragments=1 << 20, deflate=deflate)


def answer(protocol: FrameProtocol, event: FrameEvent) -> tuple[bytes, bool]:
    """Return what is sent for an event, and whether the connection ends then."""
    if isinstance(event, TextMessage):
        return protocol.text(event.text), False
    if isinstance(event, BinaryMessage):
        return protocol.binary(event.data), False
    if isinstance(event, Ping):
        return protocol.pong(event.payload), False
    if isinstance(event, Close | Failure):
        return protocol.close(event.code, event.reason if isinstance(event, Failure) else ""), True
    return b"", False


class Echo:
    """One connection of the echo server."""

    def __init__(self, channel: Channel, deflate: Agreement | None) -> None:
        self._channel = channel
        self._frames = frames("server", deflate)
        self._lock = threading.Lock()

    def received(self, run: Run) -> None:
        with self._lock:
            self._frames.receive(self._channel.take())
            while (event := self._frames.next_event()) is not None:
                frame, ends = answer(self._frames, event)
                if ends:
                    self._channel.finish(frame)
                elif frame:
                    self._channel.send(frame)

    def writable(self) -> None: ...

    def overdue(self) -> bool:
        return False

    def farewell(self) -> bytes:
        return b""

    def refused(self) -> None: ...

    def stopping(self) -> None:
        self._channel.finish(self._frames.close(1001))

    def ending(self) -> None: ...

    def lost(self) -> None: ...


class EchoApp:
    def handle(self, request: Request) -> Response:
        found = respond(request.head, deflate=DEFLATE)
        if isinstance(found, Rejected):
            return Response(found.status, found.headers)
        return Response(101, found.headers, upgrade=lambda channel: Echo(channel, found.deflate))


def start_server() -> Listener:
    """Start the echo server on a free port."""
    listener = Listener()
    listener.mount("/", EchoApp())
    listener.start()
    return listener


def run_client(port: int, target: str) -> list[str]:
    """Connect, return what is received, and return the texts when the server has closed."""
    handshake = ClientHandshake(f"127.0.0.1:{port}", target, deflate=DEFLATE)
    texts: list[str] = []
    with socket.create_connection(("127.0.0.1", port), timeout=120) as sock:
        sock.sendall(handshake.request())
        data = b""
        while b"\r\n\r\n" not in data:
            piece = sock.recv(65536)
            if not piece:
                return texts
            data += piece
        head, _, rest = data.partition(b"\r\n\r\n")
        agreed = handshake.read_response(head)
        assert isinstance(agreed, Agreed), agreed
        protocol = frames("client", agreed.deflate)
        protocol.receive(rest)
        while True:
            while (event := protocol.next_event()) is not None:
                if isinstance(event, TextMessage):
                    texts.append(event.text)
                frame, ends = answer(protocol, event)
                sock.sendall(frame)
                if ends:
                    _wait_for_end(sock)
                    return texts
            data = sock.recv(65536)
            if not data:
                return texts
            protocol.receive(data)


def _wait_for_end(sock: socket.socket) -> None:
    """Let the server end the connection first, as it should (RFC 6455 section 7.1.1)."""
    try:
        while sock.recv(65536):
            pass
    except OSError:  # it has unread bytes of ours
        return
