"""The portal under WSGI servers, and each fault of simple-websocket that it must not have."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from socketserver import ThreadingMixIn
from time import monotonic
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.simple_server import make_server as make_wsgiref_server

import pytest
import requests
import trustme

import portal
from portal.http.server.mount import mount
from portal.websocket.frames import Close, FrameProtocol, Pong
from portal.websocket.handshake import Agreed, ClientHandshake, Declined
from portal.websocket.portal import WebSocketPortal
from portal.websocket.server.settings import WebSocketConfig
from tests.support.thread_list import new_threads
from tests.support.waiting import eventually
from tests.support.websocket_listener import WAIT, Client

ROOT = Path(portal.__file__).parent.parent
PLAIN = WebSocketConfig(deflate=None)


def add(a: float, b: float) -> float:
    return a + b


def text(size: int) -> str:
    return "x" * size


def outer(environ: Any, start_response: Any) -> list[bytes]:
    """Stand for an application of any framework."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"outer"]


@contextlib.contextmanager
def under_werkzeug(served: WebSocketPortal, application: Any = outer, tls: Any = None) -> Iterator[int]:
    serving = pytest.importorskip("werkzeug.serving")
    server = serving.make_server("127.0.0.1", 0, mount(application, served.wsgi), threaded=True, ssl_context=tls)
    server.log = lambda *words: None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.port
    finally:
        server.shutdown()
        thread.join(WAIT)
        server.server_close()


class _ThreadingWSGIServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *words: Any) -> None: ...


@contextlib.contextmanager
def under_wsgiref(served: WebSocketPortal) -> Iterator[int]:
    """Serve as Django's runserver does."""
    mounted = mount(outer, served.wsgi)

    def application(environ: Any, start_response: Any) -> Any:
        environ["wsgi.multithread"] = True  # as Django says; wsgiref itself has no threads
        return mounted(environ, start_response)

    server = make_wsgiref_server("127.0.0.1", 0, application, _ThreadingWSGIServer, _Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join(WAIT)
        server.server_close()


@pytest.fixture
def served() -> Iterator[WebSocketPortal]:
    made = WebSocketPortal(listen=False, config=PLAIN)
    made.apply(add)
    made.apply(text)
    yield made
    made.close()


@pytest.mark.parametrize("under", [under_werkzeug, under_wsgiref])
def test_calls_and_plain_requests_share_a_port(served: WebSocketPortal, under: Any) -> None:
    with under(served) as port:
        with Client(port) as client:
            assert isinstance(client.agreed, Agreed)
            assert client.call("add", {"a": 1, "b": 2}) == 3.0
            assert client.call("text", {"size": 300_000}) == "x" * 300_000
            assert requests.get(f"http://127.0.0.1:{port}/", timeout=WAIT).text == "outer"
            (row,) = served.list_clients()
            assert row["address"] == "127.0.0.1"
            served.disconnect(row["id"], code=4403, reason="go")
            assert client.closed() == (4403, "go")
        eventually(lambda: served.list_clients() == [])
        assert requests.get(f"http://127.0.0.1:{port}/x", timeout=WAIT).text == "outer"


def test_flask_and_its_routes(served: WebSocketPortal) -> None:
    flask = pytest.importorskip("flask")
    app = flask.Flask("site")
    app.add_url_rule("/hello", view_func=lambda: "hello")
    with under_werkzeug(served, app.wsgi_app) as port:
        with Client(port) as client:
            assert client.call("add", {"a": 1, "b": 2}) == 3.0
        assert requests.get(f"http://127.0.0.1:{port}/hello", timeout=WAIT).text == "hello"


def test_topics_and_compression() -> None:
    from portal.websocket.deflate import Deflate

    served = WebSocketPortal(listen=False)
    topic = served.topic("ticks", item=str)
    with under_werkzeug(served) as port, Client(port, deflate=Deflate()) as client:
        client.call("rpc.subscribe", {"topic": "ticks"})
        for number in range(20):
            topic.publish(f"{number}" * 2000)
        assert [client.receive()["params"]["data"][0] for _ in range(10)] == [str(number) for number in range(10)]
    served.close()


# servers that do not work


def test_a_server_that_gives_no_access_to_its_sockets(served: WebSocketPortal) -> None:
    waitress = pytest.importorskip("waitress")
    server = waitress.create_server(mount(outer, served.wsgi), host="127.0.0.1", port=0, threads=2)

    def run() -> None:
        with suppress(OSError):  # `close` takes the sockets away while it waits for them
            server.run()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        with Client(int(server.effective_port)) as client:
            assert isinstance(client.agreed, Declined)
            assert client.agreed.status == 501
            assert "gthread" in client.problem()["hint"]
    finally:
        server.close()
        thread.join(WAIT)


# the faults of simple-websocket


def test_a_bad_handshake_gets_a_response(served: WebSocketPortal) -> None:
    with under_werkzeug(served) as port:
        assert requests.get(f"http://127.0.0.1:{port}/ws", timeout=WAIT).status_code == 426
        headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        assert requests.get(f"http://127.0.0.1:{port}/ws", headers=headers, timeout=WAIT).status_code == 400


def test_sixteen_threads_send_and_nothing_is_torn(served: WebSocketPortal) -> None:
    with under_werkzeug(served) as port, Client(port, receive_buffer=4096) as client:
        eventually(lambda: len(served.list_clients()) == 1)
        number = served.list_clients()[0]["id"]
        long = "x" * 100_000

        def send(name: str) -> None:
            for _ in range(5):
                served.call_client(number, name, [long])

        threads = [threading.Thread(target=send, args=(str(index),)) for index in range(16)]
        for thread in threads:
            thread.start()
        for index in range(50):  # pongs of the server come between
            client.sock.sendall(client.frames.ping(b"%d" % index))
        texts, pongs = 0, 0
        while texts < 80 or pongs < 50:
            event = client.event()
            pongs += isinstance(event, Pong)
            texts += len(event) == 1 and isinstance(event[0], str) and long in event[0]
        for thread in threads:
            thread.join(WAIT)


def test_a_large_message_to_a_slow_reader_is_whole(served: WebSocketPortal) -> None:
    with under_werkzeug(served) as port, Client(port, receive_buffer=4096) as client:
        assert client.call("text", {"size": 5_000_000}) == "x" * 5_000_000


def test_the_size_of_a_message_counts_bytes(served: WebSocketPortal) -> None:
    with under_werkzeug(served) as port, Client(port) as client:
        client.sock.sendall(client.frames.text("\u20ac" * 400_000))
        assert client.closed()[0] == 1009


def test_messages_that_the_client_does_not_read_do_not_pile_up() -> None:
    served = WebSocketPortal(listen=False, config=WebSocketConfig(deflate=None, max_queued=100_000))
    topic = served.topic("ticks", item=str)
    with under_werkzeug(served) as port, Client(port, receive_buffer=4096) as client:
        client.call("rpc.subscribe", {"topic": "ticks"})
        while served.stats()["connections"]["closed_slow"] == 0:
            topic.publish("x" * 10_000)
            assert all(row["queued"] < 200_000 for row in served.list_clients())
        while not isinstance(event := client.event(), Close):
            pass
        assert event.code == 4413
    served.close()


def test_a_silent_peer_does_not_keep_the_thread_after_a_close() -> None:
    served = WebSocketPortal(listen=False, config=WebSocketConfig(deflate=None, close_timeout=0.05))
    served.apply(add)
    before = threading.enumerate()
    with under_werkzeug(served) as port, Client(port) as client:
        assert client.call("add", {"a": 1, "b": 2}) == 3.0
        served.disconnect(lambda row: True)
        eventually(lambda: served.list_clients() == [])
    served.close()
    eventually(lambda: not new_threads(before))


def test_messages_over_tls_do_not_wait_for_a_ping(served: WebSocketPortal, tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(server_side)
    client_side = ssl.create_default_context()
    authority.configure_trust(client_side)
    with (
        under_werkzeug(served, tls=server_side) as port,
        client_side.wrap_socket(
            socket.create_connection(("127.0.0.1", port), timeout=WAIT), server_hostname="localhost"
        ) as sock,
    ):
        handshake = ClientHandshake(f"localhost:{port}", "/ws")
        sock.sendall(handshake.request())
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            data += sock.recv(1)
        assert isinstance(handshake.read_response(data[:-4]), Agreed)
        frames = FrameProtocol("client", max_message=1 << 24)
        calls = [
            frames.text('{"jsonrpc":"2.0","method":"text","params":[%d],"id":%d}' % (size, index))  # noqa: UP031
            for index, size in enumerate((10, 60_000, 200_000, 1))
        ]
        sock.sendall(b"".join(calls))
        found: list[Any] = []
        while len(found) < 4:
            found += frames.feed(sock.recv(65536))
        assert sorted(len(event.text) for event in found)[-1] > 200_000


# gunicorn

MODULE = """
from portal.http.server.mount import mount
from portal.websocket.portal import WebSocketPortal

def outer(environ, start_response):
    start_response("200 OK", [("Content-Length", "5")])
    return [b"outer"]

def add(a: float, b: float) -> float:
    return a + b

served = WebSocketPortal(listen=False)
served.apply(add)
application = mount(outer, served.wsgi)
"""


@contextlib.contextmanager
def gunicorn(folder: Path, *options: str) -> Iterator[int]:
    pytest.importorskip("gunicorn")
    (folder / "site_module.py").write_text(MODULE)
    listening = socket.create_server(("127.0.0.1", 0), backlog=64)
    port = listening.getsockname()[1]
    bind = f"fd://{listening.fileno()}"
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "--chdir", str(folder), "--bind", bind, "--graceful-timeout", "2", *options],
        pass_fds=[listening.fileno()],
        env=os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(folder)))},
        stderr=subprocess.DEVNULL,
    )
    listening.close()
    try:
        yield port
    finally:
        process.terminate()
        process.wait(WAIT)


def client_of(port: int) -> Client:
    """Connect as soon as the server serves."""
    end, pause = monotonic() + 2 * WAIT, threading.Event()
    while True:
        try:
            return Client(port)
        except (OSError, AssertionError):
            assert monotonic() < end
            pause.wait(0.1)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("gthread", ("--worker-class", "gthread", "--threads", "8", "site_module:application")),
        ("portal", ("--worker-class", "portal.serving.gunicorn.Worker", "site_module:served")),
    ],
)
def test_under_gunicorn(tmp_path: Path, name: str, options: tuple[str, ...]) -> None:
    with gunicorn(tmp_path, *options) as port:
        with client_of(port) as client:
            assert isinstance(client.agreed, Agreed)
            assert client.call("add", {"a": 1, "b": 2}) == 3.0
            with client_of(port) as second:
                assert second.call("add", {"a": 2, "b": 2}) == 4.0
            client.sock.sendall(client.frames.close(1000))
            assert client.event() == Close(1000, "")
        if name == "gthread":
            assert requests.get(f"http://127.0.0.1:{port}/", timeout=WAIT).text == "outer"


def test_a_worker_of_one_request_at_a_time_says_so(tmp_path: Path) -> None:
    with gunicorn(tmp_path, "--worker-class", "sync", "site_module:application") as port, client_of(port) as client:
        assert isinstance(client.agreed, Declined)
        assert client.agreed.status == 501
