"""Clients in a process of their own, on raw sockets but for "calls"; they print their figures as lines of JSON.

python clients.py '{"mode": "busy", "port": 8000, "ca": null, ...}'

busy    `count` connections call one after the other for `seconds`; latencies
idle    `count` connections make one call each and then wait, until a line comes; how many are still open
loris   `count` connections send a byte of a request every `pause` seconds; how many the server has dropped
calls   `count` calls by a Consumer in `threads` threads; what this process takes after a tenth of them and after all
"""

from __future__ import annotations

import json
import os
import resource
import select
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from time import monotonic, perf_counter
from typing import Any

BODY = b'{"a":1,"b":2}'
CALL = b"POST /api/add HTTP/1.1\r\nHost: localhost\r\nContent-Length: 13\r\n\r\n" + BODY
WAIT = 60.0


def say(**figures: Any) -> None:
    print(json.dumps(figures), flush=True)


def connector(settings: dict[str, Any]) -> Callable[[], socket.socket]:
    context = ssl.create_default_context(cafile=settings["ca"]) if settings["ca"] else None

    def connect() -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", settings["port"]), timeout=WAIT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock if context is None else context.wrap_socket(sock, server_hostname="localhost")

    return connect


def call(sock: socket.socket) -> None:
    sock.sendall(CALL)
    response = sock.recv(65536)
    assert response.startswith(b"HTTP/1.1 200 "), response
    assert response.endswith(b"\r\n\r\n3.0"), response


def busy(settings: dict[str, Any]) -> None:
    connect = connector(settings)
    socks = {sock.fileno(): sock for sock in (connect() for _ in range(settings["count"]))}
    poll = select.epoll()
    began: dict[int, float] = {}
    latencies: list[float] = []
    for fd, sock in socks.items():
        poll.register(fd, select.EPOLLIN)
        began[fd] = perf_counter()
        sock.sendall(CALL)
    end = monotonic() + settings["seconds"]
    while monotonic() < end:
        for fd, _ in poll.poll(1.0):
            sock = socks[fd]
            sock.setblocking(False)
            try:
                response = sock.recv(65536)
            except (ssl.SSLWantReadError, BlockingIOError):
                continue
            finally:
                sock.settimeout(WAIT)
            assert response.startswith(b"HTTP/1.1 200 "), response
            now = perf_counter()
            latencies.append(now - began[fd])
            began[fd] = now
            sock.sendall(CALL)
    # A request without a response counts as well.
    latencies += [perf_counter() - since for since in began.values() if perf_counter() - since > max(latencies)]
    latencies.sort()
    say(
        calls=len(latencies),
        p50=latencies[len(latencies) // 2],
        p99=latencies[len(latencies) * 99 // 100],
        worst=latencies[-1],
    )


def idle(settings: dict[str, Any]) -> None:
    connect = connector(settings)
    socks = []
    for _ in range(settings["count"]):
        socks.append(connect())
        call(socks[-1])  # at once: a server closes a new connection that stays silent
    say(open=len(socks))
    sys.stdin.readline()
    for sock in socks[:: max(1, len(socks) // 100)]:
        call(sock)
    say(open=sum(is_open(sock) for sock in socks))


def is_open(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        return bool(sock.recv(65536))
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        return False


def loris(settings: dict[str, Any]) -> None:
    """A request head that never ends; each dropped connection is replaced by nothing."""
    connect = connector(settings)
    head = b"POST /api/add HTTP/1.1\r\nHost: localhost\r\n"
    starts: dict[socket.socket, float] = {}
    lives: list[float] = []
    for _ in range(settings["count"]):
        sock = connect()
        sock.sendall(head)
        sock.setblocking(False)
        starts[sock] = monotonic()
    say(open=len(starts))
    end, pause = monotonic() + settings["seconds"], threading.Event()
    while starts and monotonic() < end:
        pause.wait(settings["pause"])
        for sock, since in list(starts.items()):
            try:
                sock.send(b"a")
                data = sock.recv(4096)
            except (BlockingIOError, ssl.SSLWantReadError):
                continue
            except OSError:
                data = b""
            if not data or b" 408 " in data:
                lives.append(monotonic() - since)
                del starts[sock]
                sock.close()
    say(left=len(starts), dropped=len(lives), longest=max(lives, default=0.0), shortest=min(lives, default=0.0))


def calls(settings: dict[str, Any]) -> None:
    from portal import Consumer, HTTPPortal, WebSocketPortal

    websocket = settings.get("websocket", False)
    base = f"{'ws' if websocket else 'http'}://127.0.0.1:{settings['port']}/{'ws' if websocket else 'api'}/add"
    count, threads = settings["count"] // settings["threads"], settings["threads"]
    with WebSocketPortal() if websocket else HTTPPortal() as portal, Consumer([portal]) as consumer:

        def some(number: int) -> None:
            for _ in range(number):
                assert consumer.call_at(base, {"a": 1.0, "b": 2.0}) == 3.0

        def all_of(number: int) -> None:
            workers = [threading.Thread(target=some, args=(number,)) for _ in range(threads)]
            for one in workers:
                one.start()
            for one in workers:
                one.join()

        all_of(count // 10)
        say(**own())
        sys.stdin.readline()
        began = monotonic()
        all_of(count - count // 10)
        say(**own(), seconds=monotonic() - began, calls=(count - count // 10) * threads)
        sys.stdin.readline()


def own() -> dict[str, int]:
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return {
        "rss": pages * os.sysconf("SC_PAGE_SIZE"),
        "threads": threading.active_count(),
        "files": len(os.listdir("/proc/self/fd")),
    }


def main() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    settings = json.loads(sys.argv[1])
    {"busy": busy, "idle": idle, "loris": loris, "calls": calls}[settings["mode"]](settings)


if __name__ == "__main__":
    main()
