"""A server's side of one WebSocket connection in memory, joined to the session of a client."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Hashable, Iterable
from time import monotonic
from typing import Any

from portal import Function, Identity
from portal.address import Address
from portal.auth.authentication import authenticators_of
from portal.calls.client import client_name
from portal.calls.dispatcher import Dispatcher
from portal.catalogue import Catalogue
from portal.errors import OverloadedError, PortalError
from portal.http11.request_head import parse_request_head
from portal.network.charges import RequestCharges
from portal.network.listing import Listing
from portal.serving import Request
from portal.websocket.events import CallEnded, CallReceived, CancelReceived, CreditReceived, IncomingCall, Send
from portal.websocket.protocol import Session
from portal.websocket.server.authentication import Authentication
from portal.websocket.server.calls import Calls
from portal.websocket.server.methods import Methods
from portal.websocket.server.subscription_places import SubscriptionPlaces
from portal.websocket.server.subscriptions import Subscriptions
from portal.websocket.topics.topic import Topic

HEAD = b"GET /ws HTTP/1.1\r\nHost: x\r\n%b\r\n"


class Server:
    """What the connections of one portal share."""

    def __init__(
        self,
        functions: Iterable[Any] = (),
        topics: Iterable[Topic] = (),
        *,
        auth: Any = None,
        middleware: Iterable[Any] = (),
        request_middleware: Iterable[Any] = (),
        discover: Any = None,
    ) -> None:
        self.catalogue = Catalogue()
        for function in functions:
            self.catalogue.add(Function.of(function))
        self.topics = {topic.name: topic for topic in topics}
        self.dispatcher = Dispatcher(middleware)
        self.authentication = Authentication(authenticators_of(auth), request_middleware)
        listing = Listing(self.catalogue, {}, lambda path: Address.network("ws", "x", None, ("ws", *path)))
        methods = Methods(listing, self.topics, self.dispatcher, self.authentication, discover=discover)
        charges = RequestCharges(self.dispatcher)
        self.calls = Calls(self.catalogue, self.dispatcher, self.authentication, charges, methods.table, base="/ws")

    def connect(self, headers: bytes = b"", **options: Any) -> LocalPeer:
        request = Request(parse_request_head(HEAD % headers), b"", None, "192.0.2.1")
        return LocalPeer(self, request, self.authentication.of_request(request), **options)


class LocalPeer:
    """One connection. Work runs in the thread that calls, or waits in `later` for `run_later`.

    Attributes:
        sent: what the client has received: the texts as JSON data.
        free: whether a worker is free.
        room: items of streams that fit into the output.
    """

    def __init__(self, server: Server, request: Request, identity: Identity | None, *, limit: int = 10) -> None:
        self.id = "c1"
        self.request = request
        self.address = request.peer
        self.identity = identity
        self.subscriptions = Subscriptions(self, self.id, self.address, limit, SubscriptionPlaces(1000, 1000))
        self.free = True
        self.room = 10**9
        self.sent: list[Any] = []
        self.later: deque[Any] = deque()
        self.ended = ""
        self.caller, self.session = Session(), Session()
        self.client = client_name(identity, request.peer)
        self.server = server
        self._lock = threading.RLock()

    # what the client does

    def call(self, method: str, params: Any = None, **options: Any) -> Any:
        """Make a call of the client, and return its CallEnded, or the call if it has not ended."""
        call, text = self.caller.call(method, params, **options)
        self.receive(text)
        return call.tag if isinstance(call.tag, CallEnded) else call

    def result(self, method: str, params: Any = None, **options: Any) -> Any:
        """Return the result of a call of the client, or raise its error."""
        end = self.call(method, params, **options)
        assert isinstance(end, CallEnded), "the call has not ended"
        if end.error is not None:
            raise end.error
        return end.result

    def receive(self, text: bytes) -> None:
        """Take a text of the client, as a connection does."""
        with self._lock:
            events = self.session.receive(text, monotonic())
        for event in events:
            if isinstance(event, Send):
                self._send(event.text)
            elif isinstance(event, CallReceived):
                _, _, work = self.server.calls.prepare(self, event.call)
                if self.free:
                    work(None)
                else:
                    work.reject(OverloadedError("no worker is free"))
            elif isinstance(event, CancelReceived) and event.call.tag is not None:
                event.call.tag.cancel()
            elif isinstance(event, CreditReceived):
                if event.subscription is not None:
                    self.subscriptions.grant(event.subscription, event.items)
                elif event.call is not None and event.call.tag is not None:
                    event.call.tag.go_on()

    def run_later(self) -> None:
        """Do the work that waits for a worker."""
        while self.later:
            self.later.popleft()(None)

    def lose(self) -> None:
        """Lose the connection."""
        with self._lock:
            events = self.session.close(PortalError("lost"))
        self.subscriptions.close()
        for event in events:
            if isinstance(event, CancelReceived) and event.call.tag is not None:
                event.call.tag.cancel()

    @property
    def messages(self) -> list[Any]:
        """(method, params) of each notification that the client has received."""
        return [(one["method"], one["params"]) for one in self.sent if "method" in one]

    @property
    def items(self) -> list[Any]:
        return [params["data"] for method, params in self.messages if method == "rpc.item"]

    def _send(self, text: bytes | None) -> None:
        if text is None:
            return
        self.sent.append(json.loads(text))
        for event in self.caller.receive(text, monotonic()):
            if isinstance(event, CallEnded):
                event.call.tag = event

    # Peer

    def respond(self, call: IncomingCall, result: Any, *, meta: Any = None) -> None:
        with self._lock:
            self._send(self.session.respond(call, result, meta=meta))

    def fail(self, call: IncomingCall, error: PortalError, *, meta: Any = None) -> None:
        with self._lock:
            self._send(self.session.fail(call, error, meta=meta))

    def send_item(self, call: IncomingCall, data: Any) -> None:
        with self._lock:
            self.room -= 1
            self._send(self.session.item(call, data))

    def has_room(self, call: IncomingCall) -> bool:
        return self.room > 0 and (call.credit is None or call.credit > 0)

    def run_in_worker(self, kind: Hashable, keys: Any, work: Any) -> None:
        if not self.free:
            raise OverloadedError("no worker is free")
        self.later.append(work)

    def renew(self, identity: Identity) -> None:
        self.identity = identity

    # Sink

    def wake(self, subscription: Any) -> None:
        while (text := subscription.take()) is not None:
            self._send(text.data)

    def slow(self, subscription: Any) -> None:
        self.ended = "slow"

    def completed(self, subscription: Any, error: PortalError | None) -> None:
        from portal.websocket import wire

        self._send(wire.complete(subscription.id, error))
