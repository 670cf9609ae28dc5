"""ConnectionTable: connections that one thread closes while another one parks, watches or breaks them."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from portal.http11.head_cache import HeadCache
from portal.serving import ServingConfig
from portal.serving.bounds.budget import ByteBudget, Places
from portal.serving.bounds.input import InputBudgets
from portal.serving.connections.connection import Connection
from portal.serving.connections.open_connections import OpenConnections
from portal.serving.connections.table import ConnectionTable
from portal.serving.io.poller import open_poller
from portal.serving.io.stream import plain_stream
from tests.support.races import fast_switches, in_threads

CONFIG = ServingConfig()
WAIT = 30.0


class Tables:
    """A table, and connections to it by pairs of sockets."""

    def __init__(self, stack: ExitStack, portable: bool = False) -> None:
        self._stack, self.portable = stack, portable
        self.poller = open_poller(portable=portable)
        stack.callback(self.poller.close)
        self.open = OpenConnections()
        self.table = ConnectionTable(
            self.poller, self.open, ByteBudget(1 << 20), Places(4), InputBudgets(1 << 20, 1 << 20)
        )
        self.heads = HeadCache()
        stack.callback(self._close_all)

    def _close_all(self) -> None:
        for one in self.open.snapshot():
            self.table.close(one)

    def connect(self, client: str | None = None) -> tuple[Connection, socket.socket]:
        ours, theirs = socket.socketpair()
        self._stack.callback(theirs.close)
        made = Connection(plain_stream(ours, 0.01), "unix:", CONFIG, self.heads, self.table, client)
        self.table.add(made)
        return made, theirs

    def connect_as(self, fd: int) -> Connection:
        """Return a connection that gets the descriptor of one that was closed."""
        kept = []
        while True:
            made, theirs = self.connect()
            if made.stream.fileno() == fd:
                return made
            kept.append((made, theirs))
            assert len(kept) < 50, "another thread has the descriptor"


@pytest.fixture(params=[False, True], ids=["epoll", "selectors"])
def tables(request: pytest.FixtureRequest) -> Iterator[Tables]:
    with ExitStack() as stack:
        yield Tables(stack, request.param)


def late_calls(table: ConnectionTable, old: Connection) -> dict[str, Callable[[], Any]]:
    """What another thread may still do with a connection that was just closed."""
    return {
        "park": lambda: table.park(old),
        "close": lambda: table.close(old),
        "resume": lambda: table.resume(old),
        "on_hangup": lambda: table.on_hangup(old, lambda: None),
        "on_reset": lambda: table.on_reset(old, lambda: None),
        "forget_reset": lambda: table.forget_reset(old, lambda: None),
        "forget_hangup": lambda: table.forget_hangup(old),
        "watch_output": lambda: table.watch_output(old, True),
        "release_to_worker": lambda: table.release_to_worker(old),
        "abort": old.abort,
        "reset": old.reset,
        "send": lambda: old.send_nowait(b"stray"),
    }


LATE = ["park", "close", "resume", "on_hangup", "forget_hangup", "watch_output", "release_to_worker", "abort", "reset"]
LATE += ["on_reset", "forget_reset"]


@pytest.mark.parametrize("name", [*LATE, "send"])
def test_a_late_call_for_a_closed_connection_leaves_the_next_one_with_its_descriptor_alone(
    tables: Tables, name: str
) -> None:
    table = tables.table
    old, _ = tables.connect("ann")
    fd = old.stream.fileno()
    table.close(old)
    new = tables.connect_as(fd)
    late_calls(table, old)[name]()
    assert table.parked[fd] is new
    assert fd not in table.writing
    assert fd not in table._hangups
    assert fd not in table._resets
    assert (tables.open.connections_of("ann"), new in tables.open, old in tables.open) == (0, True, False)
    assert new.stream.read_now() is None  # not shut down


def test_a_closed_connection_is_in_no_table(tables: Tables) -> None:
    table = tables.table
    one, _ = tables.connect()
    fd = one.stream.fileno()
    table.on_hangup(one, lambda: None)
    table.on_reset(one, lambda: None)
    one.send(b"x" * 5_000_000)  # more than the kernel takes
    assert table.writing[fd] is one
    table.close(one)
    assert table._resets == {}
    assert (table.parked, table.writing, table._hangups, len(table.open)) == ({}, {}, {}, 0)
    assert table.output_budget.used == 0


def test_room_for_output_is_not_a_hangup(tables: Tables) -> None:
    """The serving thread sends what was gathered before the reactor does, which has the event already."""
    table, poller = tables.table, tables.poller
    one, theirs = tables.connect()
    fd = one.stream.fileno()
    del table.parked[fd]
    table.release_to_worker(one)
    hung_up: list[bool] = []
    table.on_hangup(one, lambda: hung_up.append(True))
    assert one.output.gather(b"a")
    assert poller.wait(WAIT) == [fd]
    one.send_part(b"b")
    assert fd not in table.writing
    assert table.take_hangup(fd) is None
    assert theirs.recv(10) == b"ab"
    theirs.close()
    if tables.portable:
        return  # it cannot report a hang-up
    assert poller.wait(WAIT) == [fd]
    callback = table.take_hangup(fd)
    assert callback is not None
    callback()
    assert hung_up == [True]
    assert table.take_hangup(fd) is None


def test_a_reset_is_reported_once_and_a_half_closed_connection_is_not(tables: Tables) -> None:
    table, poller = tables.table, tables.poller
    one, theirs = tables.connect()
    fd = one.stream.fileno()
    del table.parked[fd]
    table.release_to_worker(one)
    first, second = lambda: None, lambda: None
    table.on_reset(one, first)
    table.forget_reset(one, second)  # of another request
    theirs.shutdown(socket.SHUT_WR)
    assert table.take_reset(fd) is None
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    if not tables.portable:
        assert poller.wait(WAIT) == [fd]
    assert table.take_reset(fd) is first
    assert table.take_reset(fd) is None
    table.on_reset(one, first)
    table.forget_reset(one, first)
    assert table.take_reset(fd) is None


def test_a_hangup_beside_gathered_output_is_taken(tables: Tables) -> None:
    table = tables.table
    one, theirs = tables.connect()
    fd = one.stream.fileno()
    del table.parked[fd]
    table.release_to_worker(one)
    table.on_hangup(one, lambda: None)
    assert one.output.gather(b"a")
    theirs.close()
    assert tables.poller.wait(WAIT) == [fd]
    table.send_output(fd, one)
    assert table.take_hangup(fd) is not None


@pytest.mark.parametrize("other", ["park", "resume", "abort", "send", "close"])
def test_a_connection_is_closed_once_while_another_thread_uses_it(tables: Tables, other: str) -> None:
    table, lost = tables.table, threading.Lock()
    losses: list[Connection] = []
    monitored = type("Monitored", (Connection,), {"__slots__": (), "notify_lost": lambda one: note(one)})

    def note(one: Connection) -> None:
        with lost:
            losses.append(one)

    made = []
    for _ in range(150):
        ours, theirs = socket.socketpair()
        tables._stack.callback(theirs.close)
        one = monitored(plain_stream(ours, 0.01), "unix:", CONFIG, tables.heads, table)
        table.add(one)
        made.append(one)
    together = threading.Barrier(2)

    def work(thread: int) -> None:
        for one in made:
            together.wait(30)
            if thread == 0:
                table.parked.pop(one.stream.fileno(), None)
                table.close(one)
            else:
                late_calls(table, one)[other]()

    with fast_switches():
        in_threads(2, work)
    assert losses == made
    assert (table.parked, table.writing, table._hangups, len(table.open)) == ({}, {}, {}, 0)


def test_a_poller_that_closes_reaches_no_descriptor_that_another_thread_has_got(tables: Tables) -> None:
    """A ring or a change at that moment would go to whatever has the descriptor now."""
    for _ in range(100):
        poller, together = open_poller(), threading.Barrier(2)

        def work(thread: int, poller: Any = poller, together: threading.Barrier = together) -> None:
            together.wait(30)
            if thread == 0:
                poller.close()
                with ExitStack() as stack:
                    for ours, theirs in [socket.socketpair() for _ in range(4)]:
                        stack.callback(ours.close)
                        stack.callback(theirs.close)
                        theirs.setblocking(False)
                        with pytest.raises(BlockingIOError):
                            theirs.recv(1)
                return
            for _ in range(20):
                poller.wake()

        with fast_switches():
            in_threads(2, work)


ERRORS = [MemoryError(), OSError(12, "Cannot allocate memory"), RuntimeError("wrong")]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_a_connection_that_cannot_be_watched_is_closed(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Otherwise nothing would report its next request, and its client would wait for ever."""

    def fail(*args: object) -> None:
        raise error

    with ExitStack() as stack:
        tables = Tables(stack)
        parked, client = tables.connect("one")
        with monkeypatch.context() as patch:
            patch.setattr(tables.poller, "arm", fail)
            with pytest.raises(type(error)):
                tables.table.park(parked)
            patch.setattr(tables.poller, "add", fail)
            with pytest.raises(type(error)):
                tables.connect("one")
        assert parked.closed
        assert client.recv(1) == b""
        assert len(tables.open) == 0
        assert tables.open.connections_of("one") == 0
        assert tables.table.parked == {}


@pytest.mark.parametrize("step", ["forget", "output", "input", "stream"])
@pytest.mark.parametrize("error", [*ERRORS, SystemExit(1)], ids=repr)
def test_a_closed_connection_counts_no_more_whatever_step_raises(
    monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    def fail(*args: object) -> None:
        raise error

    with ExitStack() as stack:
        tables = Tables(stack)
        made, client = tables.connect("one")
        with monkeypatch.context() as patch:
            if step == "forget":
                patch.setattr(tables.poller, "forget", fail)
            elif step == "output":
                patch.setattr(type(made.output), "discard", fail)
            elif step == "input":
                patch.setattr(type(made.input), "release", fail)
            else:
                patch.setattr(type(made.stream), "close", fail)
            try:
                tables.table.close(made)
            except SystemExit:
                assert isinstance(error, SystemExit)
        assert made.closed
        assert len(tables.open) == 0
        assert tables.open.connections_of("one") == 0
        made.stream.close()
        assert client.recv(1) == b""
