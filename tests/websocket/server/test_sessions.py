"""Sessions: what is kept, for whom, and for how long."""

from __future__ import annotations

import json
from typing import Any

import pytest

from portal.websocket.close_codes import CloseCode
from portal.websocket.events import IncomingCall
from portal.websocket.server.sessions import KeptSession, SessionStore


class Connection:
    def __init__(self, client: str = "network:1") -> None:
        self.client = client
        self.sent: list[bytes] = []
        self.closed: list[int] = []
        self.abandoned = False

    def send_text(self, text: bytes) -> None:
        self.sent.append(text)

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        self.closed.append(code)

    def abandon(self) -> None:
        self.abandoned = True


class Watch:
    """A DeadlineWatch whose entries fire when the test says so."""

    def __init__(self) -> None:
        self.entries: dict[object, tuple[float, Any]] = {}

    def add(self, deadline: float, callback: Any) -> object:
        token = object()
        self.entries[token] = (deadline, callback)
        return token

    def discard(self, token: object) -> bool:
        return self.entries.pop(token, None) is not None

    def fire(self) -> None:
        for token in list(self.entries):
            self.entries.pop(token)[1]()

    def close(self) -> None:
        self.entries.clear()


def store_of(**options: Any) -> tuple[SessionStore, Watch]:
    watch = Watch()
    return SessionStore(watch=watch, clock=lambda: 100.0, **options), watch  # type: ignore[arg-type]


def call(call_id: Any, pending: Any = None) -> IncomingCall:
    return IncomingCall(call_id, "add", {}, meta=None if pending is None else {"pending": pending})


def run(session: KeptSession, connection: Connection, *ids: Any) -> None:
    for one in ids:
        made = call(one)
        session.received(connection, made)
        session.ended(connection, made, f"r{one}".encode())


def test_a_lost_connection_is_resumed_by_another_one() -> None:
    store, watch = store_of(keep=30.0)
    old, new = Connection(), Connection()
    session = store.begin(old)
    run(session, old, 1, 2)
    session.received(old, call(3))  # it runs
    assert session.lost(old, abrupt=True)
    assert [moment for moment, _ in watch.entries.values()] == [130.0]
    found = store.resume(session.id, new)
    assert found is session
    assert watch.entries == {}
    assert session.missing([1, 2, 3, 4, 9]) == [4, 9]
    assert session.responses([2, 3, 4]) == [b"r2"]
    session.ended(old, call(3), b"r3")  # the call of the old connection ends now
    assert new.sent == [b"r3"]
    assert old.closed == [CloseCode.SESSION_TAKEN_OVER]
    assert store.stats() == {"open": 1, "lost": 0, "resumed": 1, "expired": 0, "trimmed": 0, "bytes": 0}


def test_a_response_that_is_not_kept_is_an_error_that_says_that_the_call_ran() -> None:
    store, _ = store_of(max_bytes=10)
    session = store.begin(Connection())
    run(session, Connection(), *range(1, 20))
    first, last = session.responses([1, 19])
    error = json.loads(first)
    assert error["id"] == 1
    assert error["error"]["data"]["delivery"] == "executed"
    assert last == b"r19"


def test_responses_that_the_client_has_are_not_kept() -> None:
    store, _ = store_of()
    connection = Connection()
    session = store.begin(connection)
    run(session, connection, *range(1, 11))
    session.received(connection, call(11, pending=9))
    assert len(session._responses) == 10, "a few small ones stay"
    session.ended(connection, call(11), b"x" * 5000)
    session.received(connection, call(12, pending=11))
    assert list(session._responses) == [11], "large ones do not"
    session.received(connection, call(13, pending=12))
    assert session._responses == {}
    assert session._bytes == 0
    for number in range(13, 101):
        session.received(connection, call(number, pending=13))
        session.ended(connection, call(number), b"x")
    session.received(connection, call(101, pending=20))  # many are kept: they are not searched for some
    assert len(session._responses) == 88
    session.received(connection, call(102, pending=100))
    assert list(session._responses) == [100]


@pytest.mark.parametrize("call_id", [None, "x", 1.5, True])
def test_other_ids_are_not_kept(call_id: Any) -> None:
    store, _ = store_of()
    session = store.begin(Connection())
    run(session, Connection(), call_id)
    assert session._responses == {}
    session.received(Connection(), call(1, pending="x"))
    assert session.missing([1, 2]) == [2]


def test_a_connection_that_was_closed_is_not_waited_for() -> None:
    store, watch = store_of()
    connection = Connection()
    session = store.begin(connection)
    assert not session.lost(connection, abrupt=False)
    assert store.resume(session.id, Connection()) is None
    assert watch.entries == {}


def test_a_session_expires_and_its_calls_are_cancelled() -> None:
    store, watch = store_of()
    connection = Connection()
    session = store.begin(connection)
    earlier = Connection()
    session.received(earlier, call(1))  # a call of an earlier connection runs on
    session.lost(connection, abrupt=True)
    assert not connection.abandoned
    watch.fire()
    assert connection.abandoned
    assert earlier.abandoned
    assert store.resume(session.id, Connection()) is None
    assert store.stats()["expired"] == 1


def test_a_session_is_of_one_client() -> None:
    store, _ = store_of()
    session = store.begin(Connection("identity:ann"))
    assert store.resume(session.id, Connection("identity:bob")) is None
    assert store.resume("unknown", Connection("identity:ann")) is None
    assert store.resume(session.id, Connection("identity:ann")) is not None


def test_a_connection_that_is_still_open_is_fenced() -> None:
    store, watch = store_of()
    old, new = Connection(), Connection()
    session = store.begin(old)
    assert store.resume(session.id, new) is not None
    assert old.closed == [CloseCode.SESSION_TAKEN_OVER]
    assert session.lost(old, abrupt=False)  # its calls go on: the session is that of the new connection
    assert watch.entries == {}
    assert session.lost(new, abrupt=True)


def test_lost_sessions_are_bounded() -> None:
    store, watch = store_of(max_lost=2)
    connections = [Connection() for _ in range(3)]
    sessions = [store.begin(one) for one in connections]
    for session, connection in zip(sessions, connections, strict=True):
        session.lost(connection, abrupt=True)
    assert [one.abandoned for one in connections] == [True, False, False]
    assert len(watch.entries) == 2
    store.close()
    assert all(one.abandoned for one in connections)


def test_a_client_with_many_lost_sessions_takes_none_of_another() -> None:
    store, _ = store_of(max_lost=3)
    ann, mallory = Connection("identity:ann"), [Connection("identity:mallory") for _ in range(10)]
    kept = store.begin(ann)
    kept.lost(ann, abrupt=True)
    for one in mallory:
        store.begin(one).lost(one, abrupt=True)
    assert [one.abandoned for one in mallory] == [True] * 8 + [False] * 2
    assert store.resume(kept.id, Connection("identity:ann")) is kept


def test_the_responses_of_all_sessions_are_bounded() -> None:
    """The largest sessions lose theirs. The calls of those were executed, and their clients are told so."""
    store, _ = store_of(max_all_bytes=100_000)
    connection = Connection()
    small, *large = [store.begin(connection) for _ in range(6)]
    for session, length in [(small, 5000), *((one, 20_000 + index) for index, one in enumerate(large))]:
        made = call(1)
        session.received(connection, made)
        session.ended(connection, made, b"x" * length)
    assert [len(one._responses) for one in (small, *large)] == [1, 1, 1, 1, 0, 0]
    assert store.stats()["trimmed"] == 2
    assert store.stats()["bytes"] == 65_003
    assert json.loads(large[4].responses([1])[0])["error"]["data"]["delivery"] == "executed"
    for one in (small, *large[:3]):
        store.discard(one)
    assert store.stats()["bytes"] == 0


def test_bytes_that_are_not_kept_any_more_are_not_counted() -> None:
    store, watch = store_of()
    connections = [Connection() for _ in range(3)]
    acknowledged, closed, expired = sessions = [store.begin(one) for one in connections]
    for session, connection in zip(sessions, connections, strict=True):
        session.received(connection, call(1))
        session.received(connection, call(2))
        session.ended(connection, call(1), b"x" * 10_000)
    assert store.stats()["bytes"] == 30_000
    acknowledged.received(connections[0], call(3, pending=2))
    closed.lost(connections[1], abrupt=False)
    expired.lost(connections[2], abrupt=True)
    assert store.stats()["bytes"] == 10_000
    watch.fire()
    assert store.stats()["bytes"] == 0
    for session, connection in zip(sessions[1:], connections[1:], strict=True):
        session.ended(connection, call(2), b"x" * 10_000)  # a call that ends after its session
    assert store.stats()["bytes"] == 0
