"""The server side of WebSockets on a listener, and clients that send frames as they like."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterable
from typing import Any, Self

from portal import Function
from portal.address import Address
from portal.auth.authentication import authenticators_of
from portal.calls.dispatcher import Dispatcher
from portal.catalogue import Catalogue
from portal.http11.forwarded import trusted_networks
from portal.network.charges import RequestCharges
from portal.network.host_check import HostCheck
from portal.network.listing import Listing
from portal.serving import Listener, ServingConfig
from portal.websocket.deflate import Deflate
from portal.websocket.frames import Close, Failure, FrameEvent, FrameProtocol, Ping, Pong, TextMessage
from portal.websocket.handshake import Agreed, ClientHandshake, Declined
from portal.websocket.server.app import WebSocketApp
from portal.websocket.server.authentication import Authentication
from portal.websocket.server.calls import Calls
from portal.websocket.server.connections import Connections
from portal.websocket.server.methods import Methods
from portal.websocket.server.origins import OriginCheck
from portal.websocket.server.settings import WebSocketConfig
from portal.websocket.topics.topic import Topic
from tests.support.waiting import eventually

WAIT = 10.0
PLAIN = WebSocketConfig(deflate=None)


class WebSocketServer:
    """A listener with the app of a WebSocket portal at /ws."""

    def __init__(
        self,
        *functions: Callable[..., Any],
        topics: Iterable[Topic] = (),
        auth: Any = None,
        middleware: Iterable[Any] = (),
        request_middleware: Iterable[Any] = (),
        config: WebSocketConfig = PLAIN,
        serving: ServingConfig | None = None,
        origins: Any = None,
        hosts: HostCheck | None = None,
        trusted_proxies: Iterable[str] = (),
        late_credentials: bool = False,
        **hooks: Any,
    ) -> None:
        catalogue = Catalogue()
        for function in functions:
            catalogue.add(Function.of(function))
        self.dispatcher = Dispatcher(middleware)
        authenticators = authenticators_of(auth)
        authentication = Authentication(authenticators, request_middleware)
        listing = Listing(catalogue, {}, lambda path: Address.network("ws", "x", None, ("ws", *path)))
        by_name = {topic.name: topic for topic in topics}
        methods = Methods(listing, by_name, self.dispatcher, authentication)
        charges = RequestCharges(self.dispatcher)
        calls = Calls(catalogue, self.dispatcher, authentication, charges, methods.table, base="/ws")
        self.connections = Connections(config, **hooks)
        self.app = WebSocketApp(
            "/ws",
            calls,
            self.connections,
            authentication,
            config,
            hosts=hosts or HostCheck(),
            origins=OriginCheck(origins),
            proxies=trusted_networks(trusted_proxies),
            late_credentials=late_credentials,
        )
        self.listener = Listener(config=serving)
        self.listener.mount("/ws", self.app)

    def __enter__(self) -> Self:
        self.listener.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.listener.stop(0.5)
        self.dispatcher.close()

    def connect(self, **options: Any) -> Client:
        """Return a client whose handshake was accepted."""
        client = Client(self.listener.port, **options)
        assert isinstance(client.agreed, Agreed), client.agreed
        return client

    def only(self) -> Any:
        """Return the only connection of the server."""
        eventually(lambda: len(self.connections) == 1)
        return self.connections.all()[0]


class Client:
    """A WebSocket client that sends what a test says.

    Attributes:
        agreed: what the handshake has agreed on, or the response that declined it.
        body: of that response.
        sock: for raw bytes.
    """

    def __init__(
        self,
        port: int,
        *,
        path: str = "/ws",
        host: str = "localhost",
        headers: Iterable[tuple[str, str]] = (),
        subprotocols: tuple[str, ...] = (),
        deflate: Deflate | None = None,
        glued: bytes = b"",
        receive_buffer: int | None = None,
    ) -> None:
        self.sock = socket.socket()
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(WAIT)
        handshake = ClientHandshake(host, path, headers=headers, subprotocols=subprotocols, deflate=deflate)
        try:
            self.sock.connect(("127.0.0.1", port))
            self.sock.sendall(handshake.request() + glued)
            data = b""
            while b"\r\n\r\n" not in data:
                piece = self.sock.recv(65536)
                assert piece, data
                data += piece
        except BaseException:
            self.sock.close()
            raise
        self.head, _, rest = data.partition(b"\r\n\r\n")
        self.agreed = handshake.read_response(self.head)
        self.body = b""
        agreement = None
        if isinstance(self.agreed, Declined):
            length = int(self.agreed.headers["content-length"])
            while len(rest) < length:
                rest += self.sock.recv(65536)
            self.body, rest = rest, b""
        else:
            agreement = self.agreed.deflate
        self.frames = FrameProtocol("client", max_message=1 << 26, max_fragments=1 << 20, deflate=agreement)
        self.events: list[FrameEvent] = self.frames.feed(rest)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.sock.close()

    def problem(self) -> dict[str, Any]:
        """Return the problem document of the response that declined the handshake."""
        found: dict[str, Any] = json.loads(self.body)
        return found

    def send(self, *messages: Any) -> None:
        """Send JSON messages in one piece."""
        self.sock.sendall(b"".join(self.frames.text(json.dumps(message)) for message in messages))

    def request(self, method: str, params: Any = None, id: Any = 1, **more: Any) -> None:
        self.send({"jsonrpc": "2.0", "method": method, "params": params or {}, "id": id, **more})

    def event(self) -> FrameEvent:
        """Return the next event; Close(1006, "") at the end of the connection."""
        while not self.events:
            try:
                data = self.sock.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                return Close(1006, "")
            self.events = self.frames.feed(data)
        return self.events.pop(0)

    def receive(self) -> Any:
        """Return the next text as JSON data. Pings are responded to."""
        while not isinstance(event := self.event(), TextMessage):
            assert isinstance(event, Ping | Pong), event
            if isinstance(event, Ping):
                self.sock.sendall(self.frames.pong(event.payload))
        return json.loads(event.text)

    def call(self, method: str, params: Any = None, **more: Any) -> Any:
        """Return the result of a call."""
        self.request(method, params, **more)
        response = self.receive()
        assert "result" in response, response
        return response["result"]

    def error(self, method: str, params: Any = None, **more: Any) -> dict[str, Any]:
        """Return the error of a call."""
        self.request(method, params, **more)
        found: dict[str, Any] = self.receive()["error"]
        return found

    def closed(self) -> tuple[int, str]:
        """Return code and reason of the close frame that comes next, after which the connection ends."""
        while not isinstance(event := self.event(), Close):
            assert not isinstance(event, Failure), event
        assert event.code != 1006, "the connection ended without a close frame"
        try:
            self.sock.sendall(self.frames.close(event.code))
            while self.sock.recv(65536):
                pass
        except OSError:
            pass
        return event.code, event.reason
