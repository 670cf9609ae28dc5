"""Clients of the comparison over WebSockets: `python -m benchmarks.ws_clients KIND MODE ADDRESS SECONDS`.

Each prints one figure: calls a second, or for "fan-out" the deliveries a second of 100 messages to 1,000 subscribers.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from itertools import count, takewhile
from time import perf_counter
from typing import Any

__all__ = ["MODES"]

_MESSAGES = 100
_SUBSCRIBERS = 1000
_WARM_UP = 0.5  # seconds in which `map_at` finds how many calls are made together


def rate(call: Callable[[], object], seconds: float, threads: int = 1) -> float:
    """Return the calls a second of so many threads, after a short warm-up."""
    for _ in range(50):
        call()
    counts = [0] * threads
    over = threading.Event()

    def run(index: int) -> None:
        while not over.is_set():
            call()
            counts[index] += 1

    workers = [threading.Thread(target=run, args=(index,)) for index in range(threads)]
    began = perf_counter()
    for worker in workers:
        worker.start()
    over.wait(seconds)
    over.set()
    for worker in workers:
        worker.join()
    return sum(counts) / (perf_counter() - began)


def portal_call(address: str) -> Callable[[], object]:
    from portal import Consumer

    consumer = Consumer()
    params = {"a": 1, "b": 2}
    return lambda: consumer.call_at(address, params)


def websockets_call(address: str) -> Callable[[], object]:
    from websockets.sync.client import connect

    local = threading.local()

    def call() -> object:
        if not hasattr(local, "connection"):
            local.connection = connect(address, compression=None, legacy=True)
        local.connection.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "add", "params": {"a": 1, "b": 2}}))
        return json.loads(local.connection.recv())["result"]

    return call


def simple_websocket_call(address: str) -> Callable[[], object]:
    from simple_websocket import Client

    local = threading.local()

    def call() -> object:
        if not hasattr(local, "connection"):
            local.connection = Client(address)
        local.connection.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "add", "params": {"a": 1, "b": 2}}))
        return json.loads(local.connection.receive())["result"]

    return call


def rpyc_call(address: str) -> Callable[[], object]:
    import rpyc

    port = int(address.rpartition(":")[2])
    local = threading.local()

    def call() -> object:
        if not hasattr(local, "add"):
            local.connection = rpyc.connect("127.0.0.1", port)
            local.add = local.connection.root.add
        return local.add(1, 2)

    return call


def rpyc_root_call(address: str) -> Callable[[], object]:
    import rpyc

    root = rpyc.connect("127.0.0.1", int(address.rpartition(":")[2])).root
    return lambda: root.add(1, 2)  # asks the server twice: for the method, then for the result


CALLS = {
    "rpyc-root": rpyc_root_call,
    "portal": portal_call,
    "websockets": websockets_call,
    "simple-websocket": simple_websocket_call,
    "rpyc": rpyc_call,
}


class Inbox:
    """Counts the events of each subscriber and checks their order."""

    def __init__(self) -> None:
        self.left = _SUBSCRIBERS * _MESSAGES
        self.done = threading.Event()
        self._next = [0] * _SUBSCRIBERS
        self._lock = threading.Lock()

    def take(self, index: int, number: int) -> None:
        assert number == self._next[index], f"subscriber {index} got {number} after {self._next[index]}"
        self._next[index] += 1
        with self._lock:
            self.left -= 1
            if not self.left:
                self.done.set()


class JSONRPCWire:
    """What a subscriber and a publisher send to Portal, and to the servers that respond in the same format."""

    path = "/"

    def __init__(self, subscribe: str, publish: str, confirms: bool) -> None:
        self.subscribe, self.publish, self.confirms = subscribe, publish, confirms

    def greeting(self) -> list[str]:
        return [json.dumps({"jsonrpc": "2.0", "id": 1, "method": self.subscribe, "params": {"topic": "news"}})]

    def event(self, number: int) -> str:
        params = {"topic": "news", "data": number}
        return json.dumps({"jsonrpc": "2.0", "id": number, "method": self.publish, "params": params})

    def number_of(self, text: str) -> int | None:
        return int(json.loads(text)["params"]["data"])


class SocketIOWire:
    """The same for Socket.IO: packets of Engine.IO 4 over a WebSocket."""

    path = "/socket.io/?EIO=4&transport=websocket"
    confirms = False

    def greeting(self) -> list[str]:
        return ["40"]  # to the default namespace

    def event(self, number: int) -> str:
        return "42" + json.dumps(["publish", {"data": number}])

    def number_of(self, text: str) -> int | None:
        return int(json.loads(text[2:])[1]["data"]) if text.startswith("42") else None  # others are pings


WIRES: dict[str, Any] = {
    "portal": lambda: JSONRPCWire("rpc.subscribe", "rpc.publish", True),
    "websockets": lambda: JSONRPCWire("subscribe", "publish", False),
    "socketio": SocketIOWire,
}


def fan_out(kind: str, address: str) -> float:
    """Return the deliveries a second. The subscribers read with one selector, so that the server is measured."""
    import selectors

    from portal import Address
    from portal.network.proxies import Proxies
    from portal.network.tls import ClientTLS
    from portal.websocket.client.dialer import Dialed, Dialer
    from portal.websocket.frames import TextMessage

    wire = WIRES[kind]()
    target = Address.parse(address.rsplit("/add", 1)[0] + wire.path)
    dialer, inbox, watched = Dialer(ClientTLS(), Proxies(), connect_timeout=60.0), Inbox(), selectors.DefaultSelector()

    def connect() -> Dialed:
        """Return a connection whose greeting is confirmed."""
        dialed = dialer.dial(target)
        dialed.sock.setblocking(True)
        wait_for = 2 if kind == "socketio" else 1  # Engine.IO greets as well
        for text in wire.greeting():
            dialed.sock.sendall(dialed.frames.text(text))
        found = len(dialed.frames.feed(dialed.rest))
        while found < wait_for:
            found += len(dialed.frames.feed(dialed.sock.recv(65536)))
        return dialed

    connections = []
    for index in range(_SUBSCRIBERS):
        dialed = connect()
        dialed.sock.setblocking(False)
        watched.register(dialed.sock, selectors.EVENT_READ, (index, dialed))
        connections.append(dialed)
    publisher = connect() if kind == "socketio" else dialer.dial(target)
    publisher.sock.setblocking(True)
    began = perf_counter()

    def publish() -> None:
        for number in range(_MESSAGES):
            publisher.sock.sendall(publisher.frames.text(wire.event(number)))
            while wire.confirms and not publisher.frames.feed(publisher.sock.recv(65536)):
                pass  # calls of one connection may overtake each other; the messages must not

    threading.Thread(target=publish, daemon=True).start()
    while not inbox.done.is_set():
        for key, _ in watched.select(60):
            index, dialed = key.data
            data = dialed.sock.recv(65536)
            assert data, f"the server has closed the connection of subscriber {index}"
            for event in dialed.frames.feed(data):
                number = wire.number_of(event.text) if isinstance(event, TextMessage) else None
                if number is not None:
                    inbox.take(index, number)
    return _SUBSCRIBERS * _MESSAGES / (perf_counter() - began)


def mapped(address: str, seconds: float) -> float:
    """Return the calls a second of one thread that has 64 calls in flight by `map_at`, after a short warm-up."""
    from portal import Consumer

    start = perf_counter() + _WARM_UP
    params = takewhile(lambda _: perf_counter() < start + seconds, ({"a": number, "b": 2} for number in count()))
    calls, began = 0, start
    for number, result in enumerate(Consumer().map_at(address, params, max_in_flight=64)):
        assert result == number + 2
        if perf_counter() < start:
            calls, began = 0, perf_counter()
        calls += 1
    return calls / (perf_counter() - began)


MODES = {"sequential": 1, "16 threads": 16, "64 threads": 64}

if __name__ == "__main__":
    kind, mode, address, seconds = sys.argv[1:]
    if mode in ("fan-out", "map"):
        found = fan_out(kind, address) if mode == "fan-out" else mapped(address, float(seconds))
    else:
        found = rate(CALLS[kind](address), float(seconds), MODES[mode])
    print(found, flush=True)
    os._exit(0)  # some libraries have threads that do not end by themselves
