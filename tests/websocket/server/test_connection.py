"""ServerConnection: calls in both directions on one connection, its subscriptions, and how it ends."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from portal import BearerAuth, CallContext, Consumer, Identity, TransportError, WebSocketPortal, function
from portal._internal.executor import WorkerPool
from portal.errors import CallTimeout, PortalError
from portal.websocket import WebSocketClient
from portal.websocket.frames import Close, FrameProtocol, TextMessage
from portal.websocket.protocol import Session
from portal.websocket.server import connection as connection_module
from portal.websocket.server.call_session import CallSession
from portal.websocket.server.calls import Prepared
from portal.websocket.server.connection import ServerConnection
from portal.websocket.server.connections import Connections
from portal.websocket.server.running import RunningCall, StreamWork
from portal.websocket.server.settings import WebSocketConfig
from portal.websocket.server.subscriptions import Subscriptions
from portal.websocket.server.transport import Transport as ServerTransport
from portal.websocket.topics.topic import Topic
from tests.support.raising import raising_once
from tests.support.waiting import eventually
from tests.support.websocket_listener import PLAIN, WAIT, WebSocketServer


class Functions:
    """Functions that a test holds up."""

    def __init__(self) -> None:
        self.held, self.gate, self.cancelled = threading.Event(), threading.Event(), threading.Event()
        self.produced = 0

    def add(self, a: float, b: float) -> float:
        return a + b

    def thread(self) -> str:
        return threading.current_thread().name

    def hold(self) -> str:
        self.held.set()
        self.gate.wait(WAIT)
        return "held"

    def until_cancelled(self) -> str:
        context = CallContext.current()
        assert context is not None
        context.on_cancel(self.cancelled.set)
        self.held.set()
        self.cancelled.wait(WAIT)
        return "late"

    def numbers(self, count: int) -> Iterator[int]:
        for number in range(count):
            self.produced += 1
            yield number

    def texts(self, count: int, size: int) -> Iterator[str]:
        for _ in range(count):
            self.produced += 1
            yield "x" * size

    def all(self) -> tuple[Any, ...]:
        return self.add, self.thread, self.hold, self.until_cancelled, self.numbers, self.texts


@pytest.fixture
def functions() -> Functions:
    return Functions()


def request(method: str, params: Any = None, id: Any = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method, "params": params or {}, "id": id}


# calls


def test_short_calls_are_served_by_the_thread_that_reads(functions: Functions) -> None:
    with WebSocketServer(*functions.all()) as server, server.connect() as client:
        names = [client.call("thread") for _ in range(200)]
        assert names[0].startswith("portal-serve")
        assert "portal-listener" in names


def test_calls_overtake_one_that_takes_its_time(functions: Functions) -> None:
    with WebSocketServer(*functions.all()) as server, server.connect() as client:
        client.request("hold", id="slow")
        assert functions.held.wait(WAIT)
        assert [client.call("add", {"a": 1, "b": number}, id=number) for number in range(5)] == [1, 2, 3, 4, 5]
        functions.gate.set()
        assert client.receive()["id"] == "slow"


def test_a_call_that_gets_stuck_in_the_thread_that_reads_holds_nothing_up(functions: Functions) -> None:
    functions.gate.set()
    with WebSocketServer(*functions.all()) as server, server.connect() as client, server.connect() as other:
        for _ in range(50):
            client.call("hold")  # the reading thread does it from now on
        functions.gate.clear()
        functions.held.clear()
        client.send(request("hold", id="stuck"), request("add", {"a": 1, "b": 2}, id="behind"))
        assert functions.held.wait(WAIT)
        assert client.receive() == {"jsonrpc": "2.0", "result": 3.0, "id": "behind"}
        assert client.call("add", {"a": 2, "b": 2}) == 4.0
        assert other.call("add", {"a": 3, "b": 3}) == 6.0
        functions.gate.set()
        assert client.receive()["id"] == "stuck"


def test_many_calls_in_one_piece_each_get_their_response(functions: Functions) -> None:
    with WebSocketServer(*functions.all(), config=WebSocketConfig(max_calls=1000)) as server:
        with server.connect() as client:
            client.send(*(request("add", {"a": 1, "b": number}, id=number) for number in range(100)))
            found = [client.receive() for _ in range(100)]  # as many as may wait of one client
        assert {one["id"]: one["result"] for one in found} == {number: 1.0 + number for number in range(100)}


def test_a_batch_has_one_response(functions: Functions) -> None:
    with WebSocketServer(*functions.all()) as server, server.connect() as client:
        client.send([request("add", {"a": 1, "b": number}, id=number) for number in range(3)])
        assert {one["id"]: one["result"] for one in client.receive()} == {0: 1.0, 1: 2.0, 2: 3.0}


def test_calls_in_flight_are_limited(functions: Functions) -> None:
    config = WebSocketConfig(deflate=None, max_calls=2)
    with WebSocketServer(*functions.all(), config=config) as server, server.connect() as client:
        client.request("hold", id="a")
        client.request("hold", id="b")
        assert client.error("add", {"a": 1, "b": 2}, id="c")["data"]["code"] == "overloaded"
        functions.gate.set()
        assert {client.receive()["id"], client.receive()["id"]} == {"a", "b"}
        assert client.call("add", {"a": 1, "b": 2}) == 3.0


def test_a_deadline_is_kept_while_the_function_runs(functions: Functions) -> None:
    with WebSocketServer(*functions.all()) as server, server.connect() as client:
        error = client.error("hold", meta={"timeout": 50})
        assert error["data"]["code"] == "timeout"
        functions.gate.set()
        assert client.call("add", {"a": 1, "b": 2}, id=2) == 3.0  # the late result is not sent


def test_a_client_cancels_its_call(functions: Functions) -> None:
    with WebSocketServer(*functions.all()) as server, server.connect() as client:
        client.request("until_cancelled", id="x")
        assert functions.held.wait(WAIT)
        client.send({"jsonrpc": "2.0", "method": "rpc.cancel", "params": {"id": "x"}})
        assert functions.cancelled.wait(WAIT)
        assert client.receive()["error"]["data"]["code"] == "cancelled"


def test_the_calls_of_a_client_that_is_gone_are_cancelled(functions: Functions) -> None:
    with WebSocketServer(*functions.all()) as server:
        with server.connect() as client:
            client.request("until_cancelled")
            assert functions.held.wait(WAIT)
        assert functions.cancelled.wait(WAIT)
        eventually(lambda: len(server.connections) == 0)


def test_a_stream_goes_as_far_as_its_credit_and_holds_no_worker(functions: Functions) -> None:
    with WebSocketServer(*functions.all()) as server, server.connect() as client:
        client.request("numbers", {"count": 5}, id="s", meta={"credit": 2})
        assert [client.receive()["params"]["data"] for _ in range(2)] == [0, 1]
        eventually(lambda: server.listener.stats()["unfinished"] == 0)
        assert functions.produced == 2
        client.send({"jsonrpc": "2.0", "method": "rpc.credit", "params": {"id": "s", "items": 10}})
        assert [client.receive()["params"]["data"] for _ in range(3)] == [2, 3, 4]
        assert client.receive() == {"jsonrpc": "2.0", "result": None, "id": "s"}


def test_a_slow_reader_slows_the_stream_and_holds_no_worker(functions: Functions) -> None:
    config = WebSocketConfig(deflate=None, max_queued=50_000)
    with (
        WebSocketServer(*functions.all(), config=config) as server,
        server.connect(receive_buffer=4096) as client,
    ):
        client.request("texts", {"count": 2000, "size": 10_000}, id="s")
        eventually(lambda: server.only().describe()["queued"] > 50_000)
        eventually(lambda: server.listener.stats()["unfinished"] == 0)
        assert functions.produced < 1500
        items = 0
        while "result" not in client.receive():
            items += 1
    assert items == 2000


# the server calls the client


def test_the_server_calls_a_function_of_the_client(functions: Functions) -> None:
    with WebSocketServer(*functions.all()) as server, server.connect() as client:
        future = server.only().call("double", {"number": 4})
        asked = client.receive()
        assert (asked["method"], asked["params"]) == ("double", {"number": 4})
        client.send({"jsonrpc": "2.0", "result": 8, "id": asked["id"]})
        assert future.result(WAIT) == 8


def test_a_call_of_the_server_ends_at_its_deadline(functions: Functions) -> None:
    with WebSocketServer(*functions.all()) as server, server.connect() as client:
        future = server.only().call("double", timeout=0.05)
        asked = client.receive()
        with pytest.raises(CallTimeout):
            future.result(WAIT)
        assert client.receive()["method"] == "rpc.cancel"
        client.send({"jsonrpc": "2.0", "result": 8, "id": asked["id"]})  # too late, and ignored
        assert client.call("add", {"a": 1, "b": 2}) == 3.0


def test_a_call_of_the_server_ends_with_the_connection(functions: Functions) -> None:
    with WebSocketServer(*functions.all()) as server:
        with server.connect():
            connection = server.only()
            future = connection.call("double")
        with pytest.raises(TransportError, match="lost"):
            future.result(WAIT)
        with pytest.raises(TransportError, match="closed"):
            connection.call("double")


# subscriptions


def test_events_reach_the_subscribers(functions: Functions) -> None:
    topic = Topic("ticks", item=int)
    with WebSocketServer(topics=[topic]) as server, server.connect() as one, server.connect() as two:
        for client in (one, two):
            assert client.call("rpc.subscribe", {"topic": "ticks"})["subscription"] == "ticks"
        for number in range(100):
            topic.publish(number)
        for client in (one, two):
            assert [client.receive()["params"]["data"] for _ in range(100)] == list(range(100))
        assert {row["subscriptions"] for row in server.connections.list_clients()} == {1}
        one.sock.close()
        eventually(lambda: len(topic.subscriptions) == 1)


def test_a_subscriber_that_never_reads_is_closed_and_others_are_not_held_up(functions: Functions) -> None:
    topic = Topic("ticks", item=str)
    config = WebSocketConfig(deflate=None, max_queued=100_000)
    with (
        WebSocketServer(topics=[topic], config=config) as server,
        server.connect(receive_buffer=4096) as slow,
        server.connect() as quick,
    ):
        slow.call("rpc.subscribe", {"topic": "ticks"})
        quick.call("rpc.subscribe", {"topic": "ticks"})
        number = 0
        while server.connections.stats()["closed_slow"] == 0:
            topic.publish("x" * 10_000)
            number += 1
            assert quick.receive()["params"]["offset"] == number
            assert number < 50_000
        queued = [row["queued"] for row in server.connections.list_clients()]
        assert all(one < 200_000 for one in queued)
        last: Any = None
        while not isinstance(event := slow.event(), Close):
            last = event
        assert event == Close(4413, "the client reads too slowly")
        assert isinstance(last, TextMessage)  # no event is torn
        topic.publish("after")
        assert quick.receive()["params"]["data"] == "after"
        slow.sock.close()
        eventually(lambda: len(topic.subscriptions) == 1)


# credentials


def test_a_renewed_credential_keeps_the_connection(functions: Functions) -> None:
    from time import time

    auth = BearerAuth(
        {
            "old": Identity("ann", claims={"exp": time() + 0.2}),
            "new": Identity("ann", claims={"exp": time() + 1000}),
            "other": Identity("bob"),
        }
    )
    config = WebSocketConfig(deflate=None, credential_grace=0.1)
    headers = [("Authorization", "Bearer old")]
    with (
        WebSocketServer(*functions.all(), auth=auth, config=config) as server,
        server.connect(headers=headers) as client,
        server.connect(headers=headers) as lazy,
    ):
        error = client.error("rpc.authenticate", {"authorization": "Bearer other"})
        assert error["data"]["code"] == "authorization_error"
        client.call("rpc.authenticate", {"authorization": "Bearer new"})
        assert lazy.closed() == (4401, "the credential has expired")
        assert client.call("add", {"a": 1, "b": 2}) == 3.0


# the end


def test_a_stop_lets_calls_end_and_says_goodbye(functions: Functions) -> None:
    config = WebSocketConfig(deflate=None, goaway_delay=3.0)
    with WebSocketServer(*functions.all(), config=config) as server, server.connect() as busy, server.connect() as idle:
        busy.request("hold", id="running")
        assert functions.held.wait(WAIT)
        stopping = threading.Thread(target=server.listener.stop, args=(WAIT,))
        stopping.start()
        goaway = {"reason": "the server stops", "delay": 3.0}
        for client in (busy, idle):
            assert client.receive() == {"jsonrpc": "2.0", "method": "rpc.goaway", "params": goaway}
        assert idle.closed() == (1001, "the server stops")
        assert busy.error("add", {"a": 1, "b": 2}, id="late")["data"]["code"] == "overloaded"
        functions.gate.set()
        assert busy.receive() == {"jsonrpc": "2.0", "result": "held", "id": "running"}
        assert busy.closed() == (1001, "the server stops")
        stopping.join(WAIT)
        assert not stopping.is_alive()


def test_an_error_that_is_not_foreseen_is_responded_to(functions: Functions) -> None:
    with WebSocketServer(*functions.all(), config=PLAIN) as server, server.connect() as client:
        connection = server.only()

        class Broken:
            def prepare(self, peer: Any, call: Any) -> Any:
                raise PortalError("on purpose")

        connection._calls = Broken()
        assert client.error("add")["message"] == "on purpose"


def test_sixteen_threads_send_on_one_connection_and_no_message_is_torn(functions: Functions) -> None:
    with WebSocketServer(*functions.all()) as server, server.connect() as client:
        connection = server.only()
        turn = threading.Semaphore(8)  # messages of 1 MiB that wait for the client
        texts = {name: name[-1] * 1024 * 1024 for name in map(str, range(16))}

        def send(name: str) -> None:
            for _ in range(2):
                turn.acquire()
                connection.call(name, [texts[name]])

        threads = [threading.Thread(target=send, args=(name,)) for name in texts]
        for thread in threads:
            thread.start()
        found: list[str] = []
        for _ in range(32):
            message = client.receive()
            turn.release()
            assert message["params"] == [texts[message["method"]]]
            found.append(message["method"])
        for thread in threads:
            thread.join(WAIT)
        assert sorted(found) == sorted([*texts, *texts])


class RecordedChannel:
    """A channel that has bytes of a client, and keeps what is sent."""

    queued = 0

    def __init__(self, *texts: str) -> None:
        frames = FrameProtocol("client")
        self.arrived = b"".join(frames.text(text) for text in texts)
        self.sent: list[bytes] = []

    @property
    def has_arrived(self) -> bool:
        return bool(self.arrived)

    def take(self) -> bytes:
        data, self.arrived = self.arrived, b""
        return data

    def send(self, data: bytes) -> None:
        self.sent.append(data)

    def hold_input(self, size: int) -> bool:
        return True

    def set_deadline(self, moment: float) -> None: ...


@pytest.mark.parametrize("count", [1, 3])
def test_a_response_is_sent_as_soon_as_there_is_nothing_more_to_read(count: int) -> None:
    """What is left to do after a call does not delay its response. Responses to calls in one piece go out together."""

    class Responding:
        def prepare(self, peer: Any, call: Any) -> Prepared:
            def work(held: object) -> bool:
                peer.respond(call, call.id)
                sent_so_far.append(len(channel.sent))
                return True

            return Prepared("kind", (), work)  # type: ignore[arg-type]

    sent_so_far: list[int] = []
    channel = RecordedChannel(*(json.dumps(request("any", id=number)) for number in range(count)))
    connection = ServerConnection(
        channel,  # type: ignore[arg-type]
        SimpleNamespace(peer="192.0.2.1"),  # type: ignore[arg-type]
        SimpleNamespace(deflate=None, subprotocol=None),  # type: ignore[arg-type]
        None,
        Responding(),
        Connections(PLAIN),
        PLAIN,
    )
    connection.received(lambda kind, keys, work: [work(None)])  # type: ignore[arg-type, return-value]
    assert sent_so_far == [*[0] * (count - 1), 1]
    (data,) = channel.sent
    events = FrameProtocol("client").feed(data)
    assert [json.loads(event.text)["result"] for event in events if isinstance(event, TextMessage)] == [*range(count)]


# faults inside


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("injected"), SystemExit(1)])
@pytest.mark.parametrize(
    ("where", "name"), [(CallSession, "_end_own"), (CallSession, "_end_streams"), (Subscriptions, "close")]
)
def test_a_connection_that_is_lost_is_listed_no_more_whatever_step_raises(
    monkeypatch: pytest.MonkeyPatch, where: type, name: str, error: BaseException
) -> None:
    left = raising_once(monkeypatch, where, name, error)
    with WebSocketPortal() as portal:
        address = portal.apply(function(name="add")(Functions().add))
        with Consumer() as consumer:
            assert consumer.call_at(address, {"a": 1, "b": 2}) == 3.0
            assert len(portal.list_clients()) == 1
        eventually(lambda: portal.list_clients() == [])
    assert left == []


@pytest.fixture
def calls_of_the_server() -> Iterator[tuple[WebSocketClient, Callable[[float | None], Future[Any]]]]:
    """A client, and what calls a function of it that does not end by itself."""
    released = threading.Event()
    with WebSocketPortal() as portal:
        client = WebSocketClient(functions=[function(name="hold")(lambda: released.wait(WAIT))])
        address = portal.apply(function(name="add")(Functions().add))
        with Consumer(websocket=client) as consumer:
            consumer.call_at(address, {"a": 1, "b": 2})
            [one] = portal.list_clients()
            yield client, lambda timeout: portal.call_client(one["id"], "hold", {}, timeout=timeout)
            released.set()


ENDING = [
    (connection_module, "set_outcome"),
    (ServerConnection, "_dispatch"),
    (ServerConnection, "_handle"),
    (CallSession, "_end_own"),
    (Session, "fail_pending"),
]


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("injected"), SystemExit(1)])
@pytest.mark.parametrize(("where", "name"), ENDING)
def test_every_call_of_the_server_ends_with_its_connection_whatever_step_raises(
    calls_of_the_server: Any, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, error: BaseException
) -> None:
    client, call = calls_of_the_server
    futures = [call(None) for _ in range(3)]
    left = raising_once(monkeypatch, where, name, error, thread="portal-")
    for link in client._links.all():
        transport: Any = link._transport
        transport.abort("cut")
    for future in futures:
        assert isinstance(future.exception(WAIT), TransportError)
    assert left == []


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("injected"), SystemExit(1)])
@pytest.mark.parametrize(
    ("where", "name"),
    [(ServerConnection, "_settle"), (connection_module, "set_outcome"), (ServerTransport, "do_what_is_due")],
)
def test_a_call_of_the_server_ends_at_its_deadline_whatever_step_raises(
    calls_of_the_server: Any, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, error: BaseException
) -> None:
    _, call = calls_of_the_server
    left = raising_once(monkeypatch, where, name, error, thread="portal-")
    assert isinstance(call(0.01).exception(WAIT), CallTimeout)
    assert left == []


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("injected"), SystemExit(1)])
@pytest.mark.parametrize(
    ("where", "name"),
    [
        *[(CallSession, "abandon"), (ServerConnection, "_leave"), (ServerConnection, "_dispatch")],
        *[(ServerConnection, "_handle"), (connection_module, "cancel"), (RunningCall, "cancel")],
    ],
)
def test_the_calls_of_a_client_that_is_gone_are_cancelled_whatever_step_raises(
    functions: Functions, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, error: BaseException
) -> None:
    with WebSocketServer(*functions.all()) as server:
        with server.connect() as client:
            client.request("until_cancelled")
            assert functions.held.wait(WAIT)
            left = raising_once(monkeypatch, where, name, error, thread="portal-")
        assert functions.cancelled.wait(WAIT)
        eventually(lambda: server.listener.stats()["unfinished"] == 0)
    assert left == []


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("injected"), SystemExit(1)])
@pytest.mark.parametrize(
    ("where", "name"),
    [(StreamWork, "_end"), (ServerConnection, "run_in_worker"), (WorkerPool, "submit_with_keys")],
)
def test_a_stream_that_waits_ends_with_its_connection_whatever_step_raises(
    functions: Functions, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, error: BaseException
) -> None:
    closed = threading.Event()

    def numbers() -> Iterator[int]:
        try:
            yield from range(10)
        finally:
            closed.set()

    with WebSocketServer(numbers) as server:
        with server.connect() as client:
            client.request("numbers", id="s", meta={"credit": 2})
            assert [client.receive()["params"]["data"] for _ in range(2)] == [0, 1]
            eventually(lambda: server.listener.stats()["unfinished"] == 0)
            left = raising_once(monkeypatch, where, name, error, thread="portal-")
        assert closed.wait(WAIT)
        eventually(lambda: server.listener.stats()["unfinished"] == 0)
    assert left == []


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("injected"), SystemExit(1)])
@pytest.mark.parametrize("name", ["_send", "_flush"])
def test_a_client_waits_no_more_for_a_response_that_cannot_be_sent(
    functions: Functions, monkeypatch: pytest.MonkeyPatch, name: str, error: BaseException
) -> None:
    with WebSocketServer(*functions.all()) as server, server.connect() as client:
        client.request("hold", id="a")
        assert functions.held.wait(WAIT)
        left = raising_once(monkeypatch, ServerConnection, name, error, thread="portal-serve")
        functions.gate.set()
        assert isinstance(client.event(), Close)
    assert left == []
