"""Listener: its sockets, apps, connections, stop and forks."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from portal import CallContext, ConfigError, Consumer, HTTPPortal, ResponseCache, TransportError, function
from portal.http import HTTPClient
from portal.serving import Listener, Request, Response, ServingConfig
from tests.support.waiting import eventually

BODY = b'{"a":1,"b":2}'
POST = b"POST /api/add HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
WAIT = 10.0


def add(a: float, b: float) -> float:
    return a + b


def connect(portal: HTTPPortal) -> socket.socket:
    return socket.create_connection(("127.0.0.1", portal.port), timeout=WAIT)


def read_response(sock: socket.socket) -> bytes:
    """Read one response with Content-Length."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        if not piece:
            return data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    while len(body) < length:
        body += sock.recv(65536)
    return head + b"\r\n\r\n" + body


def read_all(sock: socket.socket) -> bytes:
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data


# sockets


OUT_OF_FILES = """
import json, resource, socket, threading
from portal import Consumer, HTTPPortal

def add(a: float, b: float) -> float:
    return a + b

portal, consumer = HTTPPortal(), Consumer()
address = portal.apply(add)
portal.start()
before = consumer.call_at(address, {"a": 1, "b": 2})
kept = []
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
try:
    while True:
        kept.append(socket.create_connection(("127.0.0.1", portal.port)))
except OSError:
    pass
during = consumer.call_at(address, {"a": 2, "b": 2}, timeout=10)
for sock in kept:
    sock.close()
with Consumer() as other:
    after = other.call_at(address, {"a": 3, "b": 2}, timeout=10)
print(json.dumps([before, during, after]))
portal.close()
"""


def test_open_connections_are_served_when_file_descriptors_run_out() -> None:
    done = subprocess.run([sys.executable, "-c", OUT_OF_FILES], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout) == [3.0, 4.0, 5.0]


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_a_listener_serves_on_ipv6() -> None:
    with HTTPPortal("::1") as portal, Consumer() as consumer:
        address = portal.apply(add)
        assert str(address).startswith("http://[::1]:")
        assert consumer.call_at(address, {"a": 1, "b": 2}) == 3.0


def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "portal.sock"
    with HTTPPortal(f"unix:{path}", config=ServingConfig(socket_mode=0o640)) as portal:
        address = portal.apply(add)
        assert str(address).startswith("http://localhost/api/add/")
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        sockets = {"LocalHost:80": str(path)}  # as an address would be read
        with HTTPPortal(http=HTTPClient(sockets=sockets)) as caller, Consumer([caller]) as consumer:
            assert consumer.call_at(address, {"a": 1, "b": 2}) == 3.0
        with pytest.raises(TransportError, match="is in use"):
            HTTPPortal(f"unix:{path}").start()
        assert path.exists()  # the one that was refused has not removed it
    assert not path.exists()


def test_a_shared_cache_tells_unix_sockets_apart(tmp_path: Path) -> None:
    cache = ResponseCache()

    def call(name: str) -> Any:
        client = HTTPClient(sockets={"localhost": str(tmp_path / name)}, cache=cache)
        with HTTPPortal(http=client) as caller, Consumer([caller]) as consumer:
            return consumer.call_at("http://localhost/api/where")

    def publish(name: str, portal: HTTPPortal) -> None:
        def where() -> str:
            return name

        portal.apply(function(cacheable=True)(where))

    first, second = (HTTPPortal(f"unix:{tmp_path / name}", max_age=60) for name in ("first", "second"))
    with first, second:
        publish("first", first)
        publish("second", second)
        assert [call("first"), call("first"), call("second")] == ["first", "first", "second"]
    assert cache.stats()["fresh"] == 1


def test_a_unix_socket_left_by_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "left.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with HTTPPortal(f"unix:{path}"):
        assert path.exists()
    (tmp_path / "file").write_text("precious")
    with pytest.raises(TransportError):
        HTTPPortal(f"unix:{tmp_path / 'file'}").start()
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize(("host", "port"), [("unix:", 0), (7, 0), ("127.0.0.1", 70_000), ("127.0.0.1", True)])
def test_invalid_hosts_and_ports_are_config_errors(host: Any, port: Any) -> None:
    with pytest.raises(ConfigError):
        Listener(host, port)


def test_the_sockets_of_a_supervisor() -> None:
    first, second = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    ports = [first.getsockname()[1], second.getsockname()[1]]
    portal = HTTPPortal()
    portal.listener.adopt([first, second])
    with portal:
        portal.apply(add)
        assert portal.port == ports[0]
        for port in ports:
            with socket.create_connection(("127.0.0.1", port), timeout=WAIT) as sock:
                sock.sendall(POST)
                assert read_response(sock).endswith(b"3.0")
        with pytest.raises(ConfigError):
            portal.listener.adopt([first])
    assert first.fileno() == -1


# connections


def test_slow_heads_occupy_no_worker() -> None:
    slow: list[socket.socket] = []
    with HTTPPortal(config=ServingConfig(workers=1, queue=4)) as portal, Consumer() as consumer:
        address = portal.apply(add)
        for _ in range(100):
            slow.append(connect(portal))
            slow[-1].sendall(b"POST /api/add HTTP/1.1\r\nHos")
        for number in range(50):
            assert consumer.call_at(address, {"a": number, "b": 1}) == number + 1
        assert portal.stats()["listener"]["rejected"] == 0
        slow[0].sendall(b"t: localhost\r\nContent-Length: 13\r\n\r\n")
        slow[0].sendall(b'{"a":1,"b":2}')
        assert slow[0].recv(1000).endswith(b"3.0")
    for sock in slow:
        sock.close()


def test_a_client_that_has_closed_its_side_still_gets_its_response() -> None:
    with HTTPPortal() as portal:
        portal.apply(add)
        for requests in (1, 3):
            with connect(portal) as sock:
                sock.sendall(POST * requests)
                sock.shutdown(socket.SHUT_WR)
                assert read_all(sock).count(b"HTTP/1.1 200 OK") == requests


def test_more_busy_connections_than_workers_are_all_served() -> None:
    """A client that sends without a pause goes to the end of the queue, so one worker serves ten clients."""
    with HTTPPortal(config=ServingConfig(workers=1, queue=64)) as portal:
        release = threading.Event()

        def slow(a: float, b: float) -> float:
            release.wait(0.002)
            return a + b

        portal.apply(slow)
        request = POST.replace(b"/api/add", b"/api/slow")
        socks = [connect(portal) for _ in range(10)]
        for sock in socks:
            sock.sendall(request * 5)
        for sock in socks:
            received = b""
            while received.count(b"\r\n\r\n3.0") < 5:
                piece = sock.recv(65536)
                assert piece
                received += piece
            sock.close()


def test_a_quick_call_that_gets_stuck_does_not_delay_other_clients() -> None:
    gate, stuck = threading.Event(), threading.Event()

    def moody(wait: bool) -> str:
        if wait:
            stuck.set()
            gate.wait(WAIT)
        return "done"

    def request(wait: bytes) -> bytes:
        body = b'{"wait":%b}' % wait
        return b"POST /api/moody HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    with HTTPPortal() as portal:
        portal.apply(moody)
        portal.apply(add)
        with connect(portal) as held, connect(portal) as other:
            for _ in range(200):  # it is known to be quick now, and served by the thread that reads
                held.sendall(request(b"false"))
                assert read_response(held).endswith(b'"done"')
            held.sendall(request(b"true") + request(b"false"))
            assert stuck.wait(WAIT)
            for _ in range(20):
                other.sendall(POST)
                assert read_response(other).endswith(b"3.0")
            gate.set()
            received = b""
            while received.count(b'"done"') < 2:  # the second request came while the first one was stuck
                piece = held.recv(65536)
                assert piece
                received += piece


class Changeable:
    """An app that returns a text, or a stream if `streaming` is set."""

    def __init__(self) -> None:
        self.streaming = False

    def handle(self, request: Request) -> Response:
        if not self.streaming:
            return Response(200, [], b"text")
        assert request.connection is not None
        request.connection.on_hangup(lambda: None)
        return Response(200, [], iter([b"str", b"eam"]))


def test_a_quick_path_may_return_a_stream_later() -> None:
    """The reading thread serves the stream and then waits for the next request."""
    app = Changeable()
    with HTTPPortal() as portal:
        portal.listener.mount("/x", app)
        with connect(portal) as sock:
            for _ in range(200):
                sock.sendall(b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert read_response(sock).endswith(b"text")
            for _ in range(3):
                app.streaming = True
                sock.sendall(b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n")
                received = b""
                while not received.endswith(b"0\r\n\r\n"):
                    received += sock.recv(1000)
                app.streaming = False
                sock.sendall(b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert read_response(sock).endswith(b"text")


def test_a_client_that_reads_nothing_is_given_up() -> None:
    def blob() -> str:
        return "x" * 30_000_000

    with HTTPPortal(config=ServingConfig(workers=2, write_timeout=0.2)) as portal:
        portal.apply(blob)
        portal.apply(add)
        with connect(portal) as lazy, connect(portal) as busy:
            lazy.sendall(b"POST /api/blob HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
            for _ in range(20):
                busy.sendall(POST)
                assert read_response(busy).endswith(b"3.0")
            eventually(lambda: portal.stats()["listener"]["connections"] == 1)
            with pytest.raises((ConnectionError, AssertionError)):
                assert len(read_all(lazy)) > 30_000_000


def test_a_stream_is_cancelled_when_its_client_disconnects() -> None:
    begun, ended = threading.Event(), threading.Event()
    noticed: list[bool] = []

    def ticks(context: CallContext) -> Iterator[int]:
        gone = threading.Event()
        context.on_cancel(gone.set)
        try:
            yield 1
            begun.set()
            noticed.append(gone.wait(WAIT))
            yield 2
        finally:
            ended.set()

    with HTTPPortal() as portal, Consumer() as consumer:
        items = consumer.stream_at(portal.apply(ticks))
        assert next(items) == 1
        assert begun.wait(WAIT)
        items.close()  # type: ignore[attr-defined]
        assert ended.wait(2 * WAIT)
        assert noticed == [True]
        eventually(lambda: portal.stats()["listener"]["active"] == 0)


def test_a_hangup_reported_together_with_a_call_that_gets_stuck_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, stuck, noticed, ended = (threading.Event() for _ in range(4))

    served_by: list[str] = []

    def moody(wait: bool) -> str:
        served_by.append(threading.current_thread().name)
        if wait:
            stuck.set()
            gate.wait(3 * WAIT)
        return "done"

    def endless(context: CallContext) -> Iterator[int]:
        context.on_cancel(noticed.set)
        yield 1
        ended.wait(6 * WAIT)

    def request(wait: bytes) -> bytes:
        body = b'{"wait":%b}' % wait
        return b"POST /api/moody HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    with HTTPPortal() as portal, Consumer() as consumer:
        portal.apply(moody)
        items = consumer.stream_at(portal.apply(endless))
        assert next(items) == 1
        engine = portal.listener._engine
        assert engine is not None
        poller, table = engine.reactor._poller, engine.table
        with connect(portal) as held:
            end = monotonic() + WAIT
            while served_by[-20:] != ["portal-listener"] * 20 and monotonic() < end:  # by the thread that reads
                held.sendall(request(b"false"))
                assert read_response(held).endswith(b'"done"')
            eventually(lambda: len(table.parked) >= 1)
            told_together = [*table.parked, *table._hangups]
            assert len(told_together) >= 2
            real, seen = poller.wait, set()

            def wait(timeout: float, alone: bool = False) -> list[int]:
                if stuck.is_set():
                    return real(timeout, alone)
                seen.update(real(min(timeout, 0.01), False))
                if not seen >= {told_together[0], told_together[-1]}:
                    return []
                return [told_together[0], told_together[-1]]

            monkeypatch.setattr(poller, "wait", wait)
            held.sendall(request(b"true"))
            items.close()  # type: ignore[attr-defined]
            assert stuck.wait(WAIT)
            assert noticed.wait(WAIT)
            gate.set()
            ended.set()
            assert read_response(held).endswith(b'"done"')


# apps


def test_the_longest_matching_prefix_gets_the_request() -> None:
    class Named:
        def __init__(self, name: bytes) -> None:
            self.name = name

        def handle(self, request: Request) -> Response:
            return Response(200, [], self.name)

    listener = Listener()
    for prefix, name in (("/a", b"a"), ("/a/b", b"ab"), ("/c/", b"c")):
        listener.mount(prefix, Named(name))
    with pytest.raises(ConfigError):
        listener.mount("/a", Named(b"again"))
    listener.start()
    try:
        found = {}
        with socket.create_connection(("127.0.0.1", listener.port), timeout=WAIT) as sock:
            for path in ("/a", "/a/x", "/ab", "/a/b", "/a/b/c", "/a/bc", "/c/x", "/c", "/"):
                sock.sendall(b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode())
                answer = read_response(sock)
                found[path] = answer.partition(b"\r\n\r\n")[2] if b"200 OK" in answer else answer[9:12]
        assert b'served paths: /a, /c/"' in answer, "those below /a are left out"
        inside = {"/a": b"a", "/a/x": b"a", "/a/b": b"ab", "/a/b/c": b"ab", "/a/bc": b"a", "/c/x": b"c"}
        assert found == inside | dict.fromkeys(("/ab", "/c", "/"), b"404")
    finally:
        listener.stop()


# stopping


def test_a_graceful_stop_finishes_running_calls_and_rejects_new_ones() -> None:
    begun, gate = threading.Event(), threading.Event()

    def slow() -> str:
        begun.set()
        gate.wait(WAIT)
        return "done"

    portal = HTTPPortal()
    portal.apply(slow)
    portal.start()
    assert portal.listener.ready
    with connect(portal) as running, connect(portal) as idle, connect(portal) as partial:
        idle.sendall(b"OPTIONS /api HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"204" in idle.recv(1000)
        partial.sendall(b"POST /api/slow HTTP/1.1\r\nHost: localhost\r\n")
        eventually(lambda: portal.stats()["listener"]["connections"] == 3)
        running.sendall(b"POST /api/slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        assert begun.wait(WAIT)
        stopping = threading.Thread(target=portal.stop, args=(WAIT,))
        stopping.start()
        assert idle.recv(1000) == b""  # idle ones are closed at once
        assert portal.listener.ready is False
        with pytest.raises(ConnectionRefusedError):
            eventually(lambda: connect(portal).close() is not None)
        partial.sendall(b"Content-Length: 0\r\n\r\n")
        late = read_all(partial)
        assert late.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nConnection: close\r\n" in late
        assert b"\r\nRetry-After: 1\r\n" in late
        gate.set()
        answer = read_all(running)
        assert answer.endswith(b'"done"')
        assert b"\r\nConnection: close\r\n" in answer
        stopping.join(WAIT)
        assert not portal.listener.running
    portal.close()


def test_the_next_request_of_a_busy_client_gets_503_and_not_a_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bytes may be on the way. After a reset the client could not tell whether the call was executed."""
    monkeypatch.setattr("portal.serving.connections.table.FOLLOW_UP_SECONDS", WAIT)  # the time this test needs
    portal = HTTPPortal(config=ServingConfig(grace=WAIT))
    portal.apply(add)
    portal.start()
    with connect(portal) as busy, connect(portal) as new:
        busy.sendall(POST)
        assert read_response(busy).endswith(b"3.0")
        eventually(lambda: portal.stats()["listener"]["parked"] == 2)
        stopping = threading.Thread(target=portal.stop, args=(WAIT,))
        stopping.start()
        engine = portal.listener._engine
        assert engine is not None
        eventually(lambda: engine.reactor._has_left)
        for sock in (busy, new):
            sock.sendall(POST)
            answer = read_all(sock)
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nConnection: close\r\n" in answer
        stopping.join(WAIT)
        assert not stopping.is_alive()
    portal.close()


def test_a_call_that_gets_stuck_during_the_stop_does_not_delay_other_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread continues the stop, and the stuck thread ends without touching the connections."""
    gate, stuck, held, over = (threading.Event() for _ in range(4))
    served_by: list[str] = []

    def moody(wait: bool) -> str:
        served_by.append(threading.current_thread().name)
        if wait:
            stuck.set()
            gate.wait(3 * WAIT)
        return "done"

    def hold() -> None:
        held.set()
        over.wait(6 * WAIT)

    def request(wait: bytes) -> bytes:
        body = b'{"wait":%b}' % wait
        return b"POST /api/moody HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    portal = HTTPPortal()
    portal.listener.adopt([socket.create_server(("127.0.0.1", 0))])  # what still comes is served then
    portal.apply(moody)
    portal.apply(hold)
    with portal, connect(portal) as first, connect(portal) as second, connect(portal) as third:
        end = monotonic() + WAIT
        while served_by[-20:] != ["portal-listener"] * 20 and monotonic() < end:  # by the thread that reads
            for sock in (first, second):
                sock.sendall(request(b"false"))
                assert read_response(sock).endswith(b'"done"')
        third.sendall(b"POST /api/hold HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        assert held.wait(WAIT)
        engine = portal.listener._engine
        assert engine is not None
        leave = engine.reactor._leave

        def leave_as_requests_come(turn: Any) -> None:
            if not stuck.is_set():
                first.sendall(request(b"true"))
                second.sendall(request(b"false"))
            leave(turn)

        monkeypatch.setattr(engine.reactor, "_leave", leave_as_requests_come)
        stopping = threading.Thread(target=portal.stop, args=(6 * WAIT,))
        stopping.start()
        assert stuck.wait(WAIT)
        assert read_all(second).endswith(b'"done"')
        gate.set()
        assert read_all(first).endswith(b'"done"')
        eventually(lambda: engine.leader.stuck == 0)  # its thread has ended
        over.set()
        stopping.join(WAIT)
        assert not stopping.is_alive()
        assert b"HTTP/1.1 20" in read_all(third)


def test_calls_that_run_longer_than_the_grace_are_aborted() -> None:
    begun, gate = threading.Event(), threading.Event()

    def stuck() -> None:
        begun.set()
        gate.wait(WAIT)

    portal = HTTPPortal()
    portal.apply(stuck)
    portal.start()
    with connect(portal) as sock:
        sock.sendall(b"POST /api/stuck HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        assert begun.wait(WAIT)
        portal.stop(0.05)
        assert sock.recv(1000) == b""
    gate.set()
    portal.close()


def test_it_can_be_started_again() -> None:
    listener = Listener()
    for _ in range(3):
        listener.start()
        with socket.create_connection(("127.0.0.1", listener.port), timeout=WAIT) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert b"404" in read_all(sock)
        listener.stop()
    assert listener.stats()["running"] is False


def test_requests_bytes_and_connections_are_counted() -> None:
    with HTTPPortal() as portal:
        portal.apply(add)
        with connect(portal) as sock:
            for _ in range(3):
                sock.sendall(POST)
                answer = read_response(sock)
            eventually(lambda: portal.stats()["listener"]["bytes_out"] >= 3 * len(answer) - 3)
            stats = portal.stats()["listener"]
            assert (stats["requests"], stats["bytes_in"], stats["connections"]) == (3, 3 * len(POST), 1)
        eventually(lambda: portal.stats()["listener"]["connections"] == 0)
        after = portal.stats()["listener"]
        assert (after["requests"], after["bytes_in"], after["accepted"]) == (3, 3 * len(POST), 1)


# forking

FORKED = """
import os, socket, sys, threading
from portal import Consumer, HTTPPortal

def add(a: float, b: float) -> float:
    return a + b

portal = HTTPPortal()
address = portal.apply(add)
portal.start()
consumer = Consumer()
assert consumer.call_at(address, {"a": 1, "b": 2}) == 3.0
kept = socket.create_connection(("127.0.0.1", portal.port), timeout=10)
kept.sendall(b"OPTIONS /api HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
assert b"204" in kept.recv(1000)
told, tell = os.pipe()
ready, done = os.pipe()
child = os.fork()
if child == 0:
    os.close(tell)
    kept.close()
    assert portal.stats()["listener"] == {"running": False, "ready": False}
    assert consumer.call_at(address, {"a": 2, "b": 2}) == 4.0   # of the parent
    own = HTTPPortal()
    at = own.apply(add)
    own.start()
    assert consumer.call_at(at, {"a": 3, "b": 2}) == 5.0
    own.close()
    os.write(done, b"1")
    os.read(told, 1)  # until the parent ends
    os._exit(0)
os.close(told)
os.close(done)
assert os.read(ready, 1) == b"1"
assert consumer.call_at(address, {"a": 4, "b": 2}) == 6.0
portal.stop(1)
assert kept.recv(10) == b""   # the child holds no copy open
try:
    socket.create_connection(("127.0.0.1", portal.port), timeout=10)
except ConnectionRefusedError:
    print("refused")
os.close(tell)
print(os.waitpid(child, 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_does_not_disturb_the_parents_listener() -> None:
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.split(), done.returncode) == (["refused", "0"], 0), done.stderr


# configuration


def test_presets_differ_and_take_changes() -> None:
    development, production = ServingConfig.development(), ServingConfig.production(workers=7)
    assert development.connections < ServingConfig().connections < production.connections
    assert production.workers == 7
    for preset in (ServingConfig.development, ServingConfig.production):
        with pytest.raises(ConfigError) as caught:
            preset(worker=7)
        assert caught.value.path == "serving.worker"
        assert "workers" in str(caught.value.expected)
