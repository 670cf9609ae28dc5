"""WebSocket clients in a process of their own, on raw sockets; they print their figures as lines of JSON.

python websocket_clients.py '{"mode": "busy", "port": 8000, "deflate": false, ...}'

busy    `count` connections call one after the other for `seconds`; latencies
idle    `count` connections make one call each and then wait, until a line comes; how many are still open
"""

from __future__ import annotations

import json
import resource
import select
import socket
import sys
from time import monotonic, perf_counter
from typing import Any

from portal.websocket.deflate import Deflate
from portal.websocket.frames import FrameProtocol, Ping, TextMessage
from portal.websocket.handshake import Agreed, ClientHandshake

CALL = '{"jsonrpc":"2.0","method":"add","params":{"a":1,"b":2},"id":1}'
RESULT = '{"jsonrpc":"2.0","result":3.0,"id":1}'
WAIT = 60.0


class Client:
    def __init__(self, port: int, number: int, staying: bool | None) -> None:
        """Connect from one of several addresses."""
        deflate = None if staying is None else Deflate(min_size=10, context_takeover=staying)
        self.sock = socket.create_connection(
            ("127.0.0.1", port), timeout=WAIT, source_address=(f"127.0.0.{2 + number % 8}", 0)
        )
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        handshake = ClientHandshake("localhost", "/ws", deflate=deflate)
        self.sock.sendall(handshake.request())
        head = b""
        while b"\r\n\r\n" not in head:
            piece = self.sock.recv(65536)
            assert piece, head
            head += piece
        agreed = handshake.read_response(head.partition(b"\r\n\r\n")[0])
        assert isinstance(agreed, Agreed), agreed
        self.frames = FrameProtocol("client", deflate=agreed.deflate)

    def send(self) -> None:
        self.sock.sendall(self.frames.text(CALL))

    def receive(self) -> bool:
        """Take what has arrived. Return whether it was the response to a call."""
        data = self.sock.recv(65536)
        assert data, "the server has closed the connection"
        found = False
        for event in self.frames.feed(data):
            if isinstance(event, Ping):
                self.sock.sendall(self.frames.pong(event.payload))
            else:
                assert isinstance(event, TextMessage), event
                assert event.text == RESULT, event
                found = True
        return found

    def call(self) -> None:
        self.send()
        while not self.receive():
            pass


def say(**figures: Any) -> None:
    print(json.dumps(figures), flush=True)


def busy(settings: dict[str, Any]) -> None:
    clients = [Client(settings["port"], number, settings["staying"]) for number in range(settings["count"])]
    by_fd = {client.sock.fileno(): client for client in clients}
    poll = select.epoll()
    began: dict[int, float] = {}
    latencies: list[float] = []
    for fd, client in by_fd.items():
        poll.register(fd, select.EPOLLIN)
        began[fd] = perf_counter()
        client.send()
    end = monotonic() + settings["seconds"]
    while monotonic() < end:
        for fd, _ in poll.poll(1.0):
            if by_fd[fd].receive():
                now = perf_counter()
                latencies.append(now - began[fd])
                began[fd] = now
                by_fd[fd].send()
    # A call without a response counts as well.
    latencies += [perf_counter() - since for since in began.values() if perf_counter() - since > max(latencies)]
    latencies.sort()
    say(
        calls=len(latencies),
        p50=latencies[len(latencies) // 2],
        p99=latencies[len(latencies) * 99 // 100],
        worst=latencies[-1],
    )


def idle(settings: dict[str, Any]) -> None:
    clients = []
    for number in range(settings["count"]):
        clients.append(Client(settings["port"], number, settings["staying"]))
        clients[-1].call()
        if number % 100 == 0:
            respond_to_pings(clients)
    say(open=len(clients))
    while not select.select([sys.stdin], [], [], 0.5)[0]:
        respond_to_pings(clients)
    sys.stdin.readline()
    for client in clients[:: max(1, len(clients) // 100)]:
        client.call()
    say(open=sum(is_open(client) for client in clients))


def respond_to_pings(clients: list[Client]) -> None:
    poll = select.poll()
    by_fd = {client.sock.fileno(): client for client in clients}
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    for fd, _ in poll.poll(0):
        by_fd[fd].receive()


def is_open(client: Client) -> bool:
    client.sock.setblocking(False)
    try:
        return bool(client.sock.recv(65536))
    except BlockingIOError:
        return True
    except OSError:
        return False


def main() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    settings = json.loads(sys.argv[1])
    {"busy": busy, "idle": idle}[settings["mode"]](settings)


if __name__ == "__main__":
    main()
