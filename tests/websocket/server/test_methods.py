"""The reserved methods of a server."""

from __future__ import annotations

from typing import Any

import pytest

from portal import BearerAuth, Identity, RateLimit, function
from portal.errors import (
    AuthenticationError,
    AuthorizationError,
    ConfigError,
    OverloadedError,
    PortalError,
    RateLimitError,
    RegistryError,
    SerializationError,
    ValidationError,
)
from portal.errors.fault import MAX_FAULTS
from portal.websocket.topics.event import Retain
from portal.websocket.topics.topic import Topic
from tests.support.websocket_server import LocalPeer, Server


def add(a: float, b: float) -> float:
    return a + b


AUTH = BearerAuth(
    {
        "ann": Identity("ann", frozenset({"read", "write"})),
        "ann-less": Identity("ann"),
        "bob": Identity("bob", frozenset({"read", "write"})),
    }
)
TOKEN = b"Authorization: Bearer %b\r\n"


def subscribe(peer: LocalPeer, topic: str = "ticks", **params: Any) -> Any:
    return peer.result("rpc.subscribe", {"topic": topic, **params})


def test_describe_tells_what_is_at_a_path() -> None:
    server = Server([add], [Topic("ticks", item=int, params={"type": "object"}, description="prices")])
    peer = server.connect()
    everything = peer.result("rpc.describe", {"path": ""})
    assert [row["name"] for row in everything["functions"]] == ["add"]
    assert peer.result("rpc.describe", ["add"]) == function(add).schema.to_dict()
    assert peer.result("rpc.describe", {"path": f"add/{function(add).schema.fingerprint}"})["name"] == "add"
    assert peer.result("rpc.describe", {"path": "add@1"})["name"] == "add"
    topic = peer.result("rpc.describe", {"path": "ticks"})
    assert (topic["topic"], topic["item"], topic["description"]) == ("ticks", {"type": "integer"}, "prices")


@pytest.mark.parametrize("method", ["rpc.describe", "rpc.subscribe", "rpc.publish", "rpc.authenticate"])
def test_the_error_for_unknown_parameters_is_short(method: str) -> None:
    peer = Server([add]).connect()
    with pytest.raises(ValidationError) as caught:
        peer.result(method, {str(number): 1 for number in range(20_000)})
    assert len(caught.value.errors) <= MAX_FAULTS + 1
    assert caught.value.errors[-1].rule == "faults"


@pytest.mark.parametrize(
    ("method", "params", "error"),
    [
        ("rpc.describe", {"path": 5}, ValidationError),
        ("rpc.describe", {"path": "nothing"}, RegistryError),
        ("rpc.describe", {"path": "add@x"}, RegistryError),
        ("rpc.describe", {"other": 5}, ValidationError),
        ("rpc.describe", ["", 1], ValidationError),
        ("rpc.subscribe", {}, ValidationError),
        ("rpc.subscribe", {"topic": 5}, ValidationError),
        ("rpc.subscribe", {"topic": "nothing"}, RegistryError),
        ("rpc.subscribe", {"topic": "ticks", "from": 5}, ValidationError),
        ("rpc.subscribe", {"topic": "ticks", "from": {"epoch": 1, "offset": 1}}, ValidationError),
        ("rpc.subscribe", {"topic": "ticks", "from": {"epoch": "e", "offset": True}}, ValidationError),
        ("rpc.subscribe", {"topic": "ticks", "from": {"epoch": "e"}}, ValidationError),
        ("rpc.subscribe", {"topic": "ticks", "credit": -1}, ValidationError),
        ("rpc.subscribe", {"topic": "ticks", "credit": True}, ValidationError),
        ("rpc.subscribe", {"topic": "ticks", "params": {"x": 1}}, ValidationError),
        ("rpc.subscribe", {"topic": "floors", "params": {"floor": "1"}}, ValidationError),
        ("rpc.subscribe", {"topic": "floors"}, ValidationError),
        ("rpc.subscribe", {"topic": "broken"}, SerializationError),
        ("rpc.unsubscribe", {}, ValidationError),
        ("rpc.unsubscribe", {"subscription": 5}, ValidationError),
        ("rpc.publish", {"topic": "ticks", "data": 1}, AuthorizationError),
        ("rpc.publish", {"topic": "chat", "data": 5}, ValidationError),
        ("rpc.publish", {"topic": "chat"}, ValidationError),
        ("rpc.publish", {"topic": "chat", "data": "x", "key": 5}, ValidationError),
        ("rpc.authenticate", {}, ValidationError),
        ("rpc.authenticate", {"authorization": 5}, ValidationError),
        ("rpc.authenticate", {"authorization": "Bearer ann"}, AuthenticationError),
    ],
)
def test_wrong_parameters_are_rejected(method: str, params: Any, error: type[PortalError]) -> None:
    floors = {"type": "object", "properties": {"floor": {"type": "integer"}}, "required": ["floor"]}
    topics = [
        Topic("ticks"),
        Topic("floors", params=floors),
        Topic("chat", item=str, publish_scopes=()),
        Topic("broken", snapshot=lambda: object()),
    ]
    server = Server([add], topics)
    peer = server.connect()
    with pytest.raises(error):
        peer.result(method, params)
    assert len(peer.subscriptions) == 0
    assert all(topic.subscriptions == () for topic in topics)


def test_discover_returns_the_document_if_there_is_one() -> None:
    assert Server([add], discover=lambda: {"openrpc": "1"}).connect().result("rpc.discover") == {"openrpc": "1"}


def test_subscribe_and_unsubscribe() -> None:
    topic = Topic("ticks")
    peer = Server([], [topic]).connect()
    topic.publish(0)
    found = subscribe(peer)
    epoch = topic.position.epoch
    assert found == {"subscription": "ticks", "epoch": epoch, "offset": 1, "recovered": False}
    topic.publish(1)
    assert peer.messages == [("rpc.event", {"subscription": "ticks", "epoch": epoch, "offset": 2, "data": 1})]
    assert peer.result("rpc.unsubscribe", {"subscription": "ticks"}) is True
    assert peer.result("rpc.unsubscribe", {"subscription": "ticks"}) is False
    topic.publish(2)
    assert len(peer.messages) == 1


def test_a_second_subscription_to_a_topic_has_another_id() -> None:
    topic = Topic("ticks", params={"type": "object"})
    peer = Server([], [topic]).connect()
    assert [subscribe(peer, params={"n": n})["subscription"] for n in range(3)] == ["ticks", "ticks#2", "ticks#3"]
    topic.publish(1, to=lambda one: one.params["n"] > 0)
    assert [params["subscription"] for _, params in peer.messages] == ["ticks#2", "ticks#3"]
    peer.result("rpc.unsubscribe", ["ticks#2"])
    assert subscribe(peer)["subscription"] == "ticks#2"


def test_a_client_resumes() -> None:
    topic = Topic("ticks", retain=Retain(events=2))
    peer = Server([], [topic]).connect()
    found = subscribe(peer)
    peer.lose()
    assert topic.subscriptions == ()
    for number in range(3):
        topic.publish(number)
    again = peer.server.connect()
    position = {"epoch": found["epoch"], "offset": found["offset"]}
    assert subscribe(again, **{"from": position})["recovered"] is False
    assert [(method, params.get("data")) for method, params in again.messages] == [
        ("rpc.gap", None),
        ("rpc.event", 1),
        ("rpc.event", 2),
    ]


def test_the_response_comes_before_the_events() -> None:
    topic: Topic
    topic = Topic("ticks", snapshot=lambda: topic.publish("meanwhile") and "state")
    peer = Server([], [topic]).connect()
    assert subscribe(peer)["snapshot"] == "state"
    assert [sorted(one)[-1] for one in peer.sent] == ["result", "params"]


def test_credit_bounds_the_events() -> None:
    topic = Topic("ticks")
    peer = Server([], [topic]).connect()
    subscribe(peer, credit=1)
    for number in range(3):
        topic.publish(number)
    assert len(peer.messages) == 1
    peer.receive(peer.caller.notify("rpc.credit", {"subscription": "ticks", "items": 1}))
    assert len(peer.messages) == 2
    peer.receive(peer.caller.notify("rpc.credit", {"subscription": "nothing", "items": 1}))


def test_subscriptions_of_a_connection_are_bounded() -> None:
    peer = Server([], [Topic("ticks")]).connect(limit=2)
    subscribe(peer)
    subscribe(peer)
    with pytest.raises(OverloadedError):
        subscribe(peer)
    peer.result("rpc.unsubscribe", ["ticks"])
    subscribe(peer)


def test_a_topic_that_ends_is_told() -> None:
    topic = Topic("ticks")
    peer = Server([], [topic]).connect()
    subscribe(peer)
    topic.close(RegistryError("removed"))
    assert peer.messages[0][0] == "rpc.complete"
    assert peer.messages[0][1]["error"]["code"] == RegistryError.rpc_code


# rights


def test_a_topic_requires_its_scopes() -> None:
    server = Server([], [Topic("ticks", scopes=["read"])], auth=AUTH)
    assert subscribe(server.connect(TOKEN % b"ann"))["subscription"] == "ticks"
    with pytest.raises(AuthorizationError):
        subscribe(server.connect(TOKEN % b"ann-less"))


def test_a_client_publishes_where_it_may() -> None:
    topic = Topic("chat", item=str, publish_scopes=["write"], key=None)
    server = Server([], [topic], auth=AUTH)
    reader = server.connect(TOKEN % b"bob")
    subscribe(reader, "chat")
    offset = server.connect(TOKEN % b"ann").result("rpc.publish", {"topic": "chat", "data": "hi", "key": "k"})
    assert offset == {"epoch": topic.position.epoch, "offset": 1}
    assert reader.messages[0][1]["data"] == "hi"
    with pytest.raises(AuthorizationError):
        server.connect(TOKEN % b"ann-less").result("rpc.publish", {"topic": "chat", "data": "hi"})


@pytest.mark.parametrize("key", ["symbol", lambda data: data["symbol"]])
def test_an_event_of_a_client_has_the_key_of_the_topic(key: Any) -> None:
    topic = Topic("ticks", item=dict[str, str], publish_scopes=[], key=key)
    peer = Server([], [topic]).connect()
    subscribe(peer)
    peer.result("rpc.publish", {"topic": "ticks", "data": {"symbol": "X"}})
    peer.result("rpc.publish", {"topic": "ticks", "data": {"symbol": "X"}, "key": "own"})
    keys = [params["key"] for method, params in peer.messages if method == "rpc.event"]
    assert keys == ["X", "own"]


def test_a_key_of_a_client_event_must_be_a_string() -> None:
    topic = Topic("ticks", publish_scopes=[], key=lambda data: 5)
    with pytest.raises(ConfigError, match=r"topic\.key must be a string"):
        Server([], [topic]).connect().result("rpc.publish", {"topic": "ticks", "data": 1})
    assert topic.position.offset == 0


@pytest.mark.parametrize(
    ("name", "hint"),
    [("tick", "did you mean ticks?"), ("add", "there is a function; call it"), ("zzz", ""), ("add@1", ""), ("", "")],
)
def test_an_unknown_topic_is_told_with_what_was_perhaps_meant(name: str, hint: str) -> None:
    peer = Server([add], [Topic("ticks", publish_scopes=[])]).connect()
    for method, params in (("rpc.subscribe", {}), ("rpc.publish", {"data": 1})):
        with pytest.raises(RegistryError) as raised:
            peer.result(method, {"topic": name, **params})
        assert raised.value.hint == hint


def test_the_list_of_everything_has_the_topics() -> None:
    topics = [Topic("ticks", description="prices"), Topic("floors")]
    rows = Server([add], topics).connect().result("rpc.describe", {"path": ""})["topics"]
    assert [(row["name"], row["description"]) for row in rows] == [("ticks", "prices"), ("floors", "")]
    assert [row["address"].rpartition("/ws/")[2] for row in rows] == ["ticks", "floors"]


def test_publishing_passes_the_middleware() -> None:
    seen: list[str] = []

    def note(call: Any, call_next: Any) -> Any:
        seen.append(call.function.name)
        return call_next(call)

    server = Server([], [Topic("chat", publish_scopes=())], middleware=[note, RateLimit("2/hour")])
    peer = server.connect()
    for _ in range(2):
        peer.result("rpc.publish", {"topic": "chat", "data": 1})
    assert seen == ["rpc.publish"] * 2
    with pytest.raises(RateLimitError):
        peer.result("rpc.publish", {"topic": "chat", "data": 1})


@pytest.mark.parametrize(
    ("method", "params", "counts"),
    [
        ("rpc.describe", ["add"], False),
        ("rpc.describe", ["ticks"], False),
        ("rpc.unsubscribe", ["ticks"], False),
        ("rpc.describe", [""], True),
        ("rpc.describe", ["nothing"], True),
        ("rpc.subscribe", ["ticks"], True),
        ("rpc.nothing", [], True),
    ],
)
def test_what_runs_no_function_counts_as_over_http(method: str, params: Any, counts: bool) -> None:
    peer = Server([add], [Topic("ticks")], middleware=[RateLimit("1/hour")]).connect()
    first, second = peer.call(method, params), peer.call(method, params)
    assert not isinstance(first.error, RateLimitError)
    assert isinstance(second.error, RateLimitError) == counts


def test_a_credential_is_renewed_for_the_same_identity_only() -> None:
    server = Server([], [], auth=AUTH)
    peer = server.connect(TOKEN % b"ann")
    assert peer.result("rpc.authenticate", {"authorization": "Bearer ann-less"}) == {
        "identity": "ann",
        "expires": None,
    }
    assert peer.identity is not None
    assert peer.identity.scopes == frozenset()
    with pytest.raises(AuthorizationError):
        peer.result("rpc.authenticate", {"authorization": "Bearer bob"})
    with pytest.raises(AuthenticationError):
        peer.result("rpc.authenticate", {"authorization": "Bearer wrong"})
    assert peer.identity.name == "ann"


def test_a_renewed_credential_without_a_right_ends_the_subscription() -> None:
    topics = [Topic("ticks", scopes=["read"]), Topic("free")]
    peer = Server([], topics, auth=AUTH).connect(TOKEN % b"ann")
    subscribe(peer)
    subscribe(peer, "free")
    peer.result("rpc.authenticate", {"headers": {"Authorization": "Bearer ann-less"}})
    assert [method for method, _ in peer.messages] == ["rpc.complete"]
    assert peer.messages[0][1]["error"]["code"] == AuthorizationError.rpc_code
    for topic in topics:
        topic.publish(1)
    assert [params["subscription"] for _, params in peer.messages] == ["ticks", "free"]
