"""WebSocketPortal with real clients: publish, topics, clients, one port with HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.sync.client import connect

from portal import (
    BearerAuth,
    CallContext,
    Consumer,
    Event,
    Gap,
    HTTPPortal,
    Identity,
    Portal,
    RateLimit,
    Retain,
    Service,
    WebSocketPortal,
    function,
)
from portal.errors import (
    AuthenticationError,
    AuthorizationError,
    ConfigError,
    FunctionError,
    OverloadedError,
    PortalError,
    RateLimitError,
    RegistryError,
    TransportError,
)
from portal.http import AuthFailureLimit
from portal.websocket import WebSocketClient, WebSocketConfig
from tests.support.thread_list import new_threads
from tests.support.waiting import eventually
from tests.support.websocket_listener import Client

AUTH = BearerAuth({"ann-token": Identity("ann", frozenset({"read"})), "bob-token": Identity("bob")})


def add(a: float, b: float) -> float:
    return a + b


def who(context: CallContext) -> str | None:
    return None if context.identity is None else context.identity.name


@pytest.fixture
def consumer() -> Iterator[Consumer]:
    with Consumer() as made:
        yield made


def next_of(subscription: Any, count: int) -> list[Any]:
    return [subscription.next(timeout=20) for _ in range(count)]


def test_addresses_are_those_of_the_design() -> None:
    with WebSocketPortal() as portal:
        address = portal.apply(add)
        assert str(address) == f"ws://127.0.0.1:{portal.port}/ws/add/{function(add).schema.fingerprint}"
        assert str(portal.topic("ticks").address) == f"ws://127.0.0.1:{portal.port}/ws/ticks"
        assert portal.generate_address("add", {"version": "1"}) == portal.base.child("add@1")


def test_one_port_serves_http_and_websocket(consumer: Consumer) -> None:
    with HTTPPortal() as http, WebSocketPortal(listener=http.listener) as ws:
        over_http, over_ws = http.apply(add), ws.apply(add)
        assert over_http.port == over_ws.port
        assert consumer.call_at(over_http, {"a": 1, "b": 2}) == consumer.call_at(over_ws, {"a": 1, "b": 2}) == 3
        ws.close()
        with pytest.raises(PortalError):
            consumer.call_at(over_ws, {"a": 1, "b": 2}, timeout=2)
        assert consumer.call_at(over_http, {"a": 1, "b": 2}) == 3


def test_apply_opens_no_socket_before_the_start(consumer: Consumer) -> None:
    portal = WebSocketPortal()
    address = portal.apply(add)
    with pytest.raises(TransportError):
        consumer.call_at(address, {"a": 1, "b": 2})
    with portal:
        assert consumer.call_at(address, {"a": 1, "b": 2}) == 3


def test_constructors_connect_to_nothing_and_start_no_thread() -> None:
    threads = threading.enumerate()
    portal, client = WebSocketPortal(), WebSocketClient(functions=[add])
    portal.apply(add)
    portal.topic("ticks").publish(1)
    assert new_threads(threads) == []
    assert portal.stats()["listener"] == {"running": False, "ready": False}
    assert client.connections() == []
    client.close()
    portal.close()
    with pytest.raises(RegistryError, match="closed"):
        portal.apply(who)


def test_services_and_listings(consumer: Consumer) -> None:
    with WebSocketPortal() as portal:
        base = portal.apply_service(Service("shop", [add]))
        assert portal.resolve_service(base).functions["add"](a=1, b=2) == 3
        assert [row["name"] for row in consumer.list_at(portal.base)["functions"]] == ["add"]


# topics


def test_events_reach_every_subscriber_in_order(consumer: Consumer) -> None:
    with WebSocketPortal() as portal:
        topic = portal.topic("ticks", item=int)
        subscriptions = [consumer.subscribe(topic.address) for _ in range(3)]
        offsets = [topic.publish(number) for number in range(100)]
        for subscription in subscriptions:
            found = next_of(subscription, 100)
            assert [(one.data, one.epoch, one.offset) for one in found] == [
                (number, *offset) for number, offset in enumerate(offsets)
            ]
            subscription.close()


def test_a_client_resumes_after_the_connection_was_lost(consumer: Consumer) -> None:
    with WebSocketPortal() as portal:
        topic = portal.topic("ticks", item=int, retain=Retain(events=5))
        subscription = consumer.subscribe(topic.address)
        topic.publish(0)
        assert next_of(subscription, 1)[0].data == 0
        assert portal.disconnect(lambda _: True, code=1012) == 1
        for number in range(1, 9):
            topic.publish(number)
        found = next_of(subscription, 6)
        data = [one.data for one in found if isinstance(one, Event)]
        gaps = [one for one in found if isinstance(one, Gap)]
        assert data[-1:] != [0]
        assert len(data) + sum(gap.count or 0 for gap in gaps) >= 6
        assert data == sorted(data)


def test_a_topic_for_one_identity(consumer: Consumer) -> None:
    with WebSocketPortal(auth=AUTH) as portal, Consumer(auth="ann-token") as ann, Consumer(auth="bob-token") as bob:
        topic = portal.topic("inbox", scopes=["read"])
        with pytest.raises(AuthorizationError):
            bob.subscribe(topic.address)
        own = ann.subscribe(topic.address)
        topic.publish("for bob", to="identity:bob")
        topic.publish("for ann", to="identity:ann")
        assert next_of(own, 1)[0].data == "for ann"


def test_clients_publish_where_they_may(consumer: Consumer) -> None:
    with WebSocketPortal() as portal:
        chat = portal.topic("chat", item=str, publish_scopes=())
        closed = portal.topic("closed", item=str)
        subscription = consumer.subscribe(chat.address)
        consumer.publish(chat.address, "hello", key="k")
        event = next_of(subscription, 1)[0]
        assert (event.data, event.key) == ("hello", "k")
        with pytest.raises(AuthorizationError):
            consumer.publish(closed.address, "hello")


def test_functions_and_topics_share_one_name_space() -> None:
    portal = WebSocketPortal()
    portal.topic("ticks")
    portal.apply(add)
    portal.apply_service(Service("shop", [add]))

    def ticks() -> None: ...

    for clash in (
        lambda: portal.topic("ticks"),
        lambda: portal.topic("add"),
        lambda: portal.topic("shop"),
        lambda: portal.apply(ticks),
        lambda: portal.apply_service(Service("ticks", [add])),
    ):
        with pytest.raises(RegistryError) as caught:
            clash()
        assert caught.value.kind == "conflict"
    assert [topic.name for topic in portal.topics().values()] == ["ticks"]
    assert len(portal.functions()) == 2


def test_small_calls_of_a_map_are_made_together(consumer: Consumer) -> None:
    with WebSocketPortal() as portal:

        @function(idempotent=True)
        def half(n: int) -> int:
            if n % 2:
                raise ValueError("odd")
            return n // 2

        address = portal.apply(half)
        found = consumer.map_at(address, ({"n": n} for n in range(2000)), max_in_flight=64, return_exceptions=True)
        for number, outcome in enumerate(found):
            if number % 2:
                assert isinstance(outcome, FunctionError)
            else:
                assert outcome == number // 2
        with pytest.raises(FunctionError):
            list(consumer.map_at(address, ({"n": n} for n in (0, 2, 3, 4))))


def test_a_removed_topic_ends_its_subscriptions(consumer: Consumer) -> None:
    with WebSocketPortal() as portal:
        topic = portal.topic("ticks")
        subscription = consumer.subscribe(topic.address)
        portal.remove(topic.address)
        with pytest.raises(RegistryError):
            subscription.next(timeout=20)
        with pytest.raises(RegistryError):
            consumer.subscribe(topic.address)
        portal.topic("ticks")


def test_a_topic_that_ends_before_the_response_to_a_subscribe_ends_the_subscription(consumer: Consumer) -> None:
    with WebSocketPortal() as portal:
        topic = portal.topic("ticks", snapshot=lambda: portal.remove(topic.address))
        subscription = consumer.subscribe(topic.address)
        first = subscription.next(timeout=20)
        assert isinstance(first, Event)
        assert first.snapshot
        with pytest.raises(RegistryError):
            subscription.next(timeout=20)
        eventually(lambda: portal.stats()["subscriptions"]["open"] == 0)


def test_a_shared_store_needs_a_name() -> None:
    with pytest.raises(ConfigError, match="name="):
        WebSocketPortal().topic("ticks", store="redis://127.0.0.1:1")


# who connects


def test_the_identity_of_the_handshake(consumer: Consumer) -> None:
    with WebSocketPortal(auth=AUTH) as portal, Consumer(auth="ann-token") as ann:
        address = portal.apply(who)
        assert ann.call_at(address, {}) == "ann"
        with pytest.raises(AuthenticationError):
            consumer.call_at(address, {})
        assert [one["client"] for one in portal.list_clients()] == ["identity:ann"]


def test_failed_handshakes_count_for_the_limit() -> None:
    with WebSocketPortal(auth=AUTH, http_middleware=[AuthFailureLimit("2/hour")]) as portal:
        address = portal.apply(who)
        for _ in range(2):
            with Consumer(auth="wrong") as wrong, pytest.raises(AuthenticationError):
                wrong.call_at(address, {})
        with Consumer(auth="ann-token") as ann, pytest.raises(RateLimitError):
            ann.call_at(address, {})
        assert portal.stats()["auth"]["blocked_clients"] == 1


def test_middleware_runs_around_calls(consumer: Consumer) -> None:
    with WebSocketPortal(middleware=[RateLimit("2/hour", functions=["add"])]) as portal:
        address = portal.apply(add)
        for _ in range(2):
            consumer.call_at(address, {"a": 1, "b": 2})
        with pytest.raises(RateLimitError) as caught:
            consumer.call_at(address, {"a": 1, "b": 2})
        assert caught.value.retry_after


def test_hooks_see_connections_come_and_go(consumer: Consumer) -> None:
    seen: list[tuple[str, str]] = []
    gone = threading.Event()
    hooks: dict[str, Any] = {
        "on_connect": lambda one: seen.append(("connect", one["id"])),
        "on_disconnect": lambda one: (seen.append(("disconnect", one["id"])), gone.set()),
    }
    with WebSocketPortal(**hooks) as portal:
        consumer.call_at(portal.apply(add), {"a": 1, "b": 2})
        (client,) = portal.list_clients()
        assert portal.disconnect("nobody") == 0
        assert portal.disconnect(client["id"], reason="bye") == 1
        assert gone.wait(20)
    assert seen == [("connect", client["id"]), ("disconnect", client["id"])]


def test_connections_are_bounded() -> None:
    with (
        WebSocketPortal(config=WebSocketConfig(max_connections=1)) as portal,
        Consumer() as first,
        Consumer() as second,
    ):
        address = portal.apply(add)
        first.call_at(address, {"a": 1, "b": 2})
        with pytest.raises(OverloadedError):
            second.call_at(address, {"a": 1, "b": 2})
        assert portal.stats()["connections"]["rejected"] == 1


def test_subscriptions_of_a_client_are_bounded_on_all_its_connections() -> None:
    config = WebSocketConfig(max_subscriptions_per_client=2)
    with WebSocketPortal(config=config) as portal, Consumer() as first, Consumer() as second:
        address = portal.topic("ticks").address
        kept = [first.subscribe(address), second.subscribe(address)]
        for consumer in (first, second):
            with pytest.raises(RateLimitError, match="a client must have at most 2 subscriptions"):
                consumer.subscribe(address)
        assert portal.stats()["subscriptions"] == {"open": 2, "clients": 1, "rejected": 2}
        kept[0].close()
        eventually(lambda: portal.stats()["subscriptions"]["open"] == 1)
        second.subscribe(address).close()
        portal.remove(address)
        eventually(lambda: portal.stats()["subscriptions"]["open"] == 0)
        assert [one["subscriptions"] for one in portal.list_clients()] == [0, 0]


def test_a_connection_that_does_not_exist_is_not_called() -> None:
    with pytest.raises(RegistryError):
        WebSocketPortal().call_client("c99", "add")


def test_stats_and_health(consumer: Consumer) -> None:
    with WebSocketPortal() as portal:
        consumer.call_at(portal.apply(add), {"a": 1, "b": 2})
        portal.topic("ticks").publish(1)
        stats = portal.stats()
        assert (stats["functions"], stats["calls"], stats["connections"]["open"]) == (1, 1, 1)
        assert stats["topics"]["ticks"]["published"] == 1
        assert stats["listener"]["connections"] == 1
        assert portal.health()["status"] == "up"


def test_the_goodbye_names_the_session_of_the_client() -> None:
    with WebSocketPortal() as portal, Client(portal.base.port or 0) as client, Client(portal.base.port or 0) as other:
        session = client.call("rpc.resume", {})["session"]
        assert "session" not in other.call("rpc.discover")
        stopping = threading.Thread(target=portal.stop)
        stopping.start()
        assert client.receive()["params"] == {"reason": "the server stops", "delay": 5.0, "session": session}
        assert other.receive()["params"] == {"reason": "the server stops", "delay": 5.0}
        assert client.closed() == other.closed() == (1001, "the server stops")
        for one in (client, other):
            one.sock.close()
        stopping.join(20)
        assert not stopping.is_alive()


def test_a_stopped_portal_says_goodbye_and_may_start_again(consumer: Consumer) -> None:
    with WebSocketPortal() as portal:
        address = portal.apply(add)
        assert consumer.call_at(address, {"a": 1, "b": 2}) == 3
        portal.stop(grace=5)
        assert portal.list_clients() == []
        portal.start()
        assert consumer.call_at(address, {"a": 1, "b": 2}, timeout=20) == 3


@pytest.mark.parametrize("portal", [HTTPPortal, WebSocketPortal])
def test_a_server_that_has_ended_is_a_transport_error_at_once(portal: type[Portal], consumer: Consumer) -> None:
    """Not a timeout: nothing waits for the deadline of the call, which is 30 seconds."""
    with portal() as served:
        address = served.apply(add)
        assert consumer.call_at(address, {"a": 1, "b": 2}) == 3
    for _ in range(3):
        with pytest.raises(TransportError, match="cannot connect to") as caught:
            consumer.call_at(address, {"a": 1, "b": 2})
        assert (caught.value.delivery, caught.value.retryable) == ("not_sent", True)


def test_calls_finish_when_the_portal_leaves_a_shared_listener(consumer: Consumer) -> None:
    started, release = threading.Event(), threading.Event()

    def wait() -> str:
        started.set()
        return "done" if release.wait(30) else "late"

    with HTTPPortal() as http, WebSocketPortal(listener=http.listener) as ws:
        over_http, address = http.apply(add), ws.apply(wait)
        future = consumer.submit_at(address, {})
        assert started.wait(20)
        stopping = threading.Thread(target=ws.stop, args=(20,))
        stopping.start()
        release.set()
        assert future.result(20) == "done"
        stopping.join(20)
        assert not stopping.is_alive()
        assert ws.list_clients() == []
        assert consumer.call_at(over_http, {"a": 1, "b": 2}) == 3


def test_a_call_that_takes_longer_than_the_grace_is_cut_off(consumer: Consumer) -> None:
    started, release = threading.Event(), threading.Event()

    def wait() -> bool:
        started.set()
        return release.wait(30)

    with HTTPPortal() as http, WebSocketPortal(listener=http.listener, config=WebSocketConfig(session_keep=0)) as ws:
        http.apply(add)
        future = consumer.submit_at(ws.apply(wait), {}, timeout=20)
        assert started.wait(20)
        ws.stop(grace=0.05)
        with pytest.raises(TransportError) as caught:
            future.result(20)
        assert caught.value.may_have_executed
        release.set()


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        ({"path": "ws"}, "websocket.path"),
        ({"config": 5}, "websocket.config"),
        ({"serving": 5}, "websocket.serving"),
        ({"listener": 5}, "websocket.listener"),
        ({"origins": "https://x"}, "websocket.origins"),
        ({"origins": ["x"]}, "websocket.origins"),
        ({"on_connect": 5}, "websocket.on_connect"),
        ({"on_disconnect": 5}, "websocket.on_disconnect"),
        ({"late_credentials": 1}, "websocket.late_credentials"),
        ({"client": 5}, "client"),
        ({"auth": 5}, "auth"),
        ({"host": "ws://x:80"}, "websocket.host"),
    ],
)
def test_wrong_settings_are_rejected(options: Any, setting: str) -> None:
    with pytest.raises(ConfigError) as caught:
        WebSocketPortal(**options)
    assert caught.value.path == setting


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_a_client_of_another_library(compression: str | None) -> None:
    """The package websockets, with the texts of the page on WebSockets."""
    with WebSocketPortal() as portal:
        portal.apply(add)
        news = portal.topic("news")
        with connect(f"ws://127.0.0.1:{portal.base.port}/ws", compression=compression) as client:

            def ask(text: str) -> Any:
                client.send(text)
                return json.loads(client.recv(20))

            request = '{"jsonrpc": "2.0", "method": "add", "params": [1, 2], "id": "a"}'
            assert ask(request) == {"jsonrpc": "2.0", "result": 3, "id": "a"}
            assert len(ask(f"[{request}, 1]")) == 2
            assert ask("not JSON")["error"]["code"] == -32700
            ask('{"jsonrpc": "2.0", "method": "rpc.subscribe", "params": ["news"], "id": 1}')
            news.publish("x" * 5000)  # long enough to be compressed
            assert json.loads(client.recv(20))["params"]["data"] == "x" * 5000
            assert client.ping().wait(20)
        assert client.close_code == 1000


def test_the_portal_resolves_addresses_of_other_servers() -> None:
    with WebSocketPortal() as server, WebSocketPortal(client=WebSocketClient(timeout=20)) as other:
        address = server.apply(add)
        assert other.resolve_function(address)(a=1, b=2) == 3
        assert Consumer([other]).call_at(address, {"a": 1, "b": 2}) == 3
