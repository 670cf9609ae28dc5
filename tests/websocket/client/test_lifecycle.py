"""Lifecycle: every transition, with a time that the tests pass."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.websocket.client.backoff import Backoff, Reconnect
from portal.websocket.client.lifecycle import ConnectionState, Lifecycle

S = ConnectionState
SETTINGS = Reconnect(initial_backoff=1.0, max_backoff=8.0, stable_after=5.0, patience=5.0)


def made(seen: list[tuple[S, S]] | None = None) -> Lifecycle:
    observe = None if seen is None else lambda old, new: seen.append((old, new))
    return Lifecycle(SETTINGS, backoff=Backoff(SETTINGS, lambda: 0.5), observe=observe)


def test_a_connection_opens_is_lost_and_comes_back_after_a_backoff() -> None:
    seen: list[tuple[S, S]] = []
    life = made(seen)
    assert life.connect(0.0)
    assert not life.connect(0.0)  # one attempt at a time
    assert life.opened(1.0)
    life.lost(2.0, wanted=True)
    assert (life.state, life.retry_at) == (S.WAITING, 2.5)
    assert not life.connect(2.4)
    assert life.connect(2.5)
    assert life.opened(3.0)
    assert seen == [
        (S.IDLE, S.CONNECTING),
        (S.CONNECTING, S.OPEN),
        (S.OPEN, S.WAITING),
        (S.WAITING, S.CONNECTING),
        (S.CONNECTING, S.OPEN),
    ]


def test_each_failure_doubles_the_bound() -> None:
    life = made()
    waits = []
    now = 0.0
    for _ in range(5):
        now = max(now, life.retry_at)
        assert life.connect(now)
        life.failed(now, wanted=True)
        waits.append(life.retry_at - now)
    assert waits == [0.5, 1.0, 2.0, 4.0, 4.0]
    assert life.attempts == 5
    assert not life.was_open


@pytest.mark.parametrize(("open_for", "wait"), [(4.9, 1.0), (5.0, 0.5)])
def test_only_a_stable_connection_starts_the_backoff_anew(open_for: float, wait: float) -> None:
    life = made()
    life.connect(0.0)
    life.failed(0.0, wanted=True)
    life.connect(life.retry_at)
    life.opened(10.0)
    life.lost(10.0 + open_for, wanted=True)
    assert life.retry_at - (10.0 + open_for) == pytest.approx(wait)
    assert life.attempts == (1 if wait == 0.5 else 2)


def test_a_connection_that_nobody_wants_is_idle_and_connects_at_once() -> None:
    life = made()
    life.connect(0.0)
    life.opened(0.0)
    life.lost(1.0, wanted=False)
    assert life.state is S.IDLE
    assert life.connect(1.0)
    life.failed(1.0, wanted=True)
    life.unwanted()
    assert life.state is S.IDLE


def test_a_closing_connection_waits_for_a_part_of_the_delay() -> None:
    life = made()
    life.connect(0.0)
    life.opened(0.0)
    life.closing()
    assert life.state is S.CLOSING
    life.lost(10.0, wanted=True, delay=6.0)
    assert life.retry_at == 10.0 + 3.0 + 0.5


def test_no_server_sends_its_clients_away_for_long() -> None:
    life = made()
    life.connect(0.0)
    life.opened(0.0)
    life.lost(10.0, wanted=True, delay=1e18)
    assert life.retry_at == 10.0 + SETTINGS.max_backoff / 2 + 0.5


def test_a_new_call_does_not_wait_for_a_long_backoff_unless_the_server_was_lost_a_moment_ago() -> None:
    life = made()
    life.connect(0.0)
    life.opened(0.0)
    assert not life.hurry(0.0)
    life.lost(100.0, wanted=True)
    assert life.is_patient(104.9)
    assert not life.hurry(104.9)
    assert not life.is_patient(105.0)
    life.connect(105.0)
    life.failed(105.0, wanted=True)
    assert life.retry_at == 106.0, "half of the second bound"
    assert not life.hurry(105.1), "attempts are 1 s apart"
    life.connect(106.0)
    life.failed(106.0, wanted=True)
    assert life.retry_at == 108.0
    assert life.hurry(106.5)
    assert life.retry_at == 107.0


def test_a_server_that_was_never_reached_gets_no_patience() -> None:
    life = made()
    life.connect(0.0)
    assert not life.is_patient(0.0)


def test_closed_is_final() -> None:
    life = made()
    life.connect(0.0)
    assert life.close()
    assert not life.close()
    assert not life.opened(1.0)  # the attempt ends after the close: its socket must be closed
    life.failed(1.0, wanted=True)
    life.lost(1.0, wanted=True)
    life.closing()
    life.unwanted()
    assert life.state is S.CLOSED
    assert not life.connect(1e9)


NEXT = {
    S.IDLE: {S.CONNECTING, S.CLOSED},
    S.CONNECTING: {S.OPEN, S.WAITING, S.IDLE, S.CLOSED},
    S.OPEN: {S.CLOSING, S.WAITING, S.IDLE, S.CLOSED},
    S.CLOSING: {S.WAITING, S.IDLE, S.CLOSED},
    S.WAITING: {S.CONNECTING, S.IDLE, S.CLOSED},
    S.CLOSED: set(),
}
STEPS = st.sampled_from(["connect", "opened", "failed", "lost", "closing", "unwanted", "close"])


@given(st.lists(st.tuples(STEPS, st.floats(0, 20), st.booleans()), max_size=60))
def test_no_order_of_steps_makes_another_transition(steps: list[tuple[str, float, bool]]) -> None:
    seen: list[tuple[S, S]] = []
    life = Lifecycle(SETTINGS, observe=lambda old, new: seen.append((old, new)))
    now = 0.0
    for name, passed, wanted in steps:
        now += passed
        if name in ("failed", "lost"):
            getattr(life, name)(now, wanted=wanted)
        elif name in ("connect", "opened"):
            getattr(life, name)(now)
        else:
            getattr(life, name)()
        assert life.retry_at <= now + SETTINGS.max_backoff
    assert all(new in NEXT[old] for old, new in seen)
