"""Channel: what it does with its connection. `messages/test_upgraded.py` tests it with a listener."""

from __future__ import annotations

from typing import Any

import pytest

from portal.serving.bounds.input import InputBudgets
from portal.serving.connections.channel import Channel


class Output:
    held, sent = 7, 11

    def __init__(self) -> None:
        self.waits = False
        self.replaced: list[bytes] = []

    def replace(self, last: bytes) -> bool:
        if self.waits:
            self.replaced.append(last)
        return self.waits


class Connection:
    """Notes what is done with it."""

    peer, secure, identity, bytes_in = "192.0.2.1", True, None, 5

    def __init__(self, budgets: InputBudgets) -> None:
        self.output = Output()
        self.input = budgets.share("192.0.2.1/32")
        self.done: list[Any] = []
        self.is_gone = False

    def send_part(self, data: bytes) -> None:
        if self.is_gone:
            raise BrokenPipeError
        self.done.append(data)

    def shut_writing(self) -> None:
        self.done.append("shut")

    def abort(self) -> None:
        self.done.append("abort")

    def downgrade(self, rest: bytes) -> None:
        self.done.append(("http", rest))


class Handler:
    def __init__(self, channel: Channel) -> None:
        self.stops = 0

    def stopping(self) -> None:
        self.stops += 1


@pytest.fixture
def budgets() -> InputBudgets:
    return InputBudgets(100, 50)


@pytest.fixture
def connection(budgets: InputBudgets) -> Connection:
    return Connection(budgets)


@pytest.fixture
def channel(connection: Connection) -> Channel:
    return Channel(connection, lambda kind, keys, work: None, Handler)  # type: ignore[arg-type]


def test_bytes_are_taken_in_order(channel: Channel) -> None:
    assert (channel.take(), channel.has_arrived) == (b"", False)
    channel.put(b"a")
    channel.put(b"b")
    assert channel.has_arrived
    assert channel.take() == b"ab"
    assert channel.take() == b""


def test_it_tells_what_the_connection_knows(channel: Channel) -> None:
    assert (channel.peer, channel.secure, channel.identity) == ("192.0.2.1", True, None)
    assert (channel.queued, channel.bytes_in, channel.bytes_out) == (7, 5, 11)


def test_finish_sends_the_last_bytes_and_ends_the_output(channel: Channel, connection: Connection) -> None:
    channel.finish(b"bye")
    assert connection.done == [b"bye", "shut"]


def test_finish_breaks_a_connection_whose_client_is_gone(channel: Channel, connection: Connection) -> None:
    connection.is_gone = True
    channel.finish(b"bye")
    assert connection.done == ["abort"]


def test_cut_replaces_what_waits(channel: Channel, connection: Connection) -> None:
    connection.output.waits = True
    channel.cut(b"slow")
    assert (connection.output.replaced, connection.done) == ([b"slow"], ["shut"])


def test_cut_sends_if_nothing_waits(channel: Channel, connection: Connection) -> None:
    channel.cut(b"slow")
    assert connection.done == [b"slow", "shut"]


def test_input_is_of_an_unknown_caller_until_it_is_admitted(channel: Channel, budgets: InputBudgets) -> None:
    assert channel.hold_input(40)
    assert (budgets.unknown.used, budgets.total.used) == (40, 40)
    channel.admit()
    assert channel.hold_input(60)
    assert (budgets.unknown.used, budgets.total.used) == (0, 60)
    assert channel.hold_input(0)
    assert channel.hold_input(70)  # the caller stays known
    assert (budgets.unknown.used, budgets.total.used) == (0, 70)
    assert not channel.hold_input(101)


def test_the_stop_is_told_once(channel: Channel) -> None:
    channel.notify_stopping()
    channel.notify_stopping()
    assert channel.handler.stops == 1  # type: ignore[attr-defined]


def test_http_is_not_told_of_the_stop(channel: Channel, connection: Connection) -> None:
    channel.resume_http(b"GET ")
    channel.notify_stopping()
    assert connection.done == [("http", b"GET ")]
    assert channel.handler.stops == 0  # type: ignore[attr-defined]
