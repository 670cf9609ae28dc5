"""InputBudgets: which connection gives up its message when too much is held."""

from __future__ import annotations

import pytest

from portal.serving.bounds.budget import ByteBudget
from portal.serving.bounds.input import InputBudgets, InputShare
from tests.support.races import fast_switches, in_threads

MIB = 1024 * 1024


class Connections:
    """Connections by name; the name begins with that of the client."""

    def __init__(self, total: int = 100, unknown: int = 100) -> None:
        self.budgets = InputBudgets(total, unknown)
        self.shares: dict[str, InputShare] = {}

    def hold(self, name: str, size: int) -> bool:
        share = self.shares.setdefault(name, self.budgets.share(name.rstrip("0123456789")))
        return share.hold(name, size)

    @property
    def used(self) -> tuple[int, int]:
        assert self.budgets.held == (self.budgets.total.used, self.budgets.unknown.used)
        return self.budgets.held


def test_what_fits_is_held_and_released() -> None:
    connections = Connections()
    assert connections.hold("ann1", 40)
    assert connections.hold("ann1", 60)
    assert connections.hold("bob1", 40)
    assert connections.used == (100, 100)
    connections.shares["ann1"].release()
    assert connections.used == (40, 40)
    assert connections.budgets.take_refused() == []


def test_the_client_that_holds_most_gives_up_its_largest_message() -> None:
    connections = Connections()
    assert [connections.hold(f"ann{number}", 10 + number) for number in range(6)] == [True] * 6
    assert connections.hold("bob1", 30)
    assert connections.budgets.take_refused() == ["ann5"]
    assert connections.budgets.take_refused() == []
    assert connections.used == (90, 90)
    assert not connections.hold("ann5", 16)  # it has not noticed yet
    assert connections.budgets.refused == 1


def test_a_connection_may_have_to_give_up_at_once() -> None:
    connections = Connections()
    assert connections.hold("ann1", 10)
    assert not connections.hold("bob1", 95)
    assert connections.used == (10, 10)
    assert connections.budgets.take_refused() == []


def test_the_figures_never_exceed_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for a thread that asks while another one drops a message."""
    connections, seen = Connections(), []

    def look(budget: ByteBudget) -> bool:
        seen.append(connections.budgets.held)
        return budget.used > budget.limit

    monkeypatch.setattr(ByteBudget, "is_exceeded", property(look))
    assert connections.hold("ann1", 90)
    assert connections.hold("bob1", 50)
    assert not connections.hold("bob1", 120)
    assert seen
    assert max(seen) == (90, 90)
    assert connections.used == (0, 0)


def test_a_complete_message_is_counted_and_not_dropped() -> None:
    connections = Connections()
    assert connections.hold("ann1", 90)
    connections.shares["ann1"].complete()
    assert not connections.hold("bob1", 20)
    assert connections.used == (90, 90)
    connections.shares["ann1"].release()
    assert connections.hold("bob2", 20)


def test_known_callers_have_room_that_unknown_ones_have_not() -> None:
    connections = Connections(total=100, unknown=30)
    assert connections.hold("ann1", 30)
    assert not connections.hold("ann2", 31)
    connections.shares["ann1"].admit()
    assert connections.used == (30, 0)
    assert connections.hold("ann1", 65)
    assert connections.hold("bob1", 30)
    assert connections.used == (95, 30)
    connections.shares["ann1"].release()
    assert connections.used == (30, 30)
    assert not connections.shares["ann1"].known  # the next message is authenticated again
    assert not connections.hold("eve1", 31)


def test_unknown_callers_do_not_drop_the_messages_of_known_ones() -> None:
    connections = Connections(total=100, unknown=30)
    assert connections.hold("ann1", 10)
    connections.shares["ann1"].admit()
    assert connections.hold("ann1", 90)
    for number in range(5):
        connections.hold("bob1", 10)
        connections.hold(f"eve{number}", 31)
    assert not connections.shares["ann1"].refused


def test_a_message_that_arrives_while_another_thread_refuses_it_is_dropped() -> None:
    """Otherwise it is served, and the next message of its connection is refused for it."""
    connections = Connections()
    assert connections.hold("ann1", 90)
    share = connections.shares["ann1"]
    assert connections.hold("bob1", 20)  # ann gives way, and has not been told
    assert share.receiving
    assert not share.complete()
    other = connections.shares["bob1"]
    assert other.complete()
    assert not other.receiving


def test_a_message_is_either_complete_or_refused() -> None:
    for _ in range(200):
        connections = Connections()
        connections.hold("ann1", 90)
        connections.hold("bob1", 5)
        ann = connections.shares["ann1"]

        def work(thread: int, connections: Connections = connections, ann: InputShare = ann) -> bool:
            return ann.complete() if thread else connections.hold("bob1", 20)

        with fast_switches():
            kept, is_complete = in_threads(2, work)
        assert is_complete is not ann.refused
        assert kept is not is_complete or connections.used[0] <= 110
        assert (connections.budgets.take_refused() == ["ann1"]) is ann.refused
