"""SingleFlight: threads that ask for the same key at the same time share one call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from portal.calls import singleflight
from portal.calls.singleflight import SingleFlight
from portal.context import CallContext
from portal.errors import CallCancelled, CallTimeout, TransportError

WAIT = 10.0


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as executor:
        yield executor


class Maker:
    """Returns or raises its outcome once `go` is set."""

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome
        self.made = 0
        self.inside = threading.Event()
        self.go = threading.Event()

    def __call__(self) -> Any:
        self.made += 1
        self.inside.set()
        assert self.go.wait(WAIT)
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


class Joining(CallContext):
    """A context that sets `joined` when a call waits with it."""

    __slots__ = ("joined",)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.joined = threading.Event()

    def on_cancel(self, callback: Callable[[], object]) -> None:
        super().on_cancel(callback)
        self.joined.set()


def lead_and_follow(
    pool: ThreadPoolExecutor,
    flights: SingleFlight[str],
    maker: Maker,
    followers: int,
    follow: Callable[[], Any] | None = None,
) -> tuple[Any, list[Any], list[Joining]]:
    """Start a call and others that wait for it; return both and the contexts of the waiters."""
    leader = pool.submit(flights.run, "key", CallContext(), "f", maker)
    assert maker.inside.wait(WAIT)
    contexts = [Joining() for _ in range(followers)]
    others = [pool.submit(flights.run, "key", context, "f", follow or maker) for context in contexts]
    for context in contexts:
        assert context.joined.wait(WAIT)
    return leader, others, contexts


def test_concurrent_calls_share_one_call(pool: ThreadPoolExecutor) -> None:
    flights: SingleFlight[str] = SingleFlight()
    maker = Maker({"rows": [1]})
    leader, others, _ = lead_and_follow(pool, flights, maker, 8)
    assert (len(flights), flights.busy) == (1, True)
    maker.go.set()
    values = [one.result(WAIT) for one in [leader, *others]]
    assert values == [{"rows": [1]}] * 9
    assert len({id(value["rows"]) for value in values}) == 9
    assert maker.made == 1
    assert (len(flights), flights.busy) == (0, False)
    assert flights.run("key", CallContext(), "f", maker) == {"rows": [1]}
    assert maker.made == 2  # the result of a flight is not kept


def test_waiters_share_a_failure_and_later_calls_do_not(pool: ThreadPoolExecutor) -> None:
    flights: SingleFlight[str] = SingleFlight()
    error = TransportError("gone", delivery="not_sent", context={"request_id": "leader"})
    maker = Maker(error)
    leader, others, contexts = lead_and_follow(pool, flights, maker, 3)
    maker.go.set()
    assert leader.exception(WAIT) is error
    for one, context in zip(others, contexts, strict=True):
        shared = one.exception(WAIT)
        assert isinstance(shared, TransportError)
        assert shared is not error
        assert str(shared) == "gone"
        assert not shared.may_have_executed
        assert shared.request_id == context.request_id
    assert error.request_id == "leader"
    assert maker.made == 1
    assert flights.run("key", CallContext(), "f", lambda: "works again") == "works again"


@pytest.mark.parametrize("error", [CallTimeout("mine"), CallCancelled("mine"), KeyError("a defect"), SystemExit()])
def test_waiters_do_not_share_the_leaders_timeout_cancellation_or_defect(
    pool: ThreadPoolExecutor, error: BaseException
) -> None:
    flights: SingleFlight[str] = SingleFlight()
    maker = Maker(error)
    second = Maker("second")
    second.go.set()
    leader, others, _ = lead_and_follow(pool, flights, maker, 4, second)
    maker.go.set()
    assert leader.exception(WAIT) is error
    assert [one.result(WAIT) for one in others] == ["second"] * 4
    assert maker.made == 1
    assert 1 <= second.made <= 4


def test_a_waiter_stops_at_its_deadline(pool: ThreadPoolExecutor) -> None:
    flights: SingleFlight[str] = SingleFlight()
    maker = Maker(1)
    leader, _, _ = lead_and_follow(pool, flights, maker, 0)
    context = CallContext.for_call(0.02)
    with pytest.raises(CallTimeout, match="f did not respond") as caught:
        flights.run("key", context, "f", maker)
    assert caught.value.request_id == context.request_id
    assert context.cancelled
    maker.go.set()
    assert leader.result(WAIT) == 1


def test_a_waiter_can_be_cancelled(pool: ThreadPoolExecutor) -> None:
    flights: SingleFlight[str] = SingleFlight()
    maker = Maker(1)
    leader, others, contexts = lead_and_follow(pool, flights, maker, 2)
    contexts[0].cancel()
    assert isinstance(others[0].exception(WAIT), CallCancelled)
    maker.go.set()
    assert leader.result(WAIT) == others[1].result(WAIT) == 1


def test_a_nested_call_with_the_same_key_does_not_wait_for_its_caller() -> None:
    flights: SingleFlight[str] = SingleFlight()
    made: list[str] = []

    def outer() -> Any:
        made.append("outer")
        return [flights.run("key", CallContext(), "f", lambda: "inner")]

    assert flights.run("key", CallContext(), "f", outer) == ["inner"]
    assert made == ["outer"]


def test_a_new_call_does_not_join_a_detached_one(pool: ThreadPoolExecutor) -> None:
    flights: SingleFlight[str] = SingleFlight()
    old, new = Maker("old"), Maker("new")
    leader, others, _ = lead_and_follow(pool, flights, old, 1)
    flights.detach(lambda key: key == "other")
    assert len(flights) == 1
    flights.detach(lambda key: key == "key")
    assert len(flights) == 0
    later = pool.submit(flights.run, "key", CallContext.for_call(WAIT), "f", new)
    assert new.inside.wait(WAIT)
    old.go.set()
    assert leader.result(WAIT) == others[0].result(WAIT) == "old"
    assert len(flights) == 1  # the end of the old flight did not remove the new one
    new.go.set()
    assert later.result(WAIT) == "new"
    assert len(flights) == 0


def test_calls_with_other_keys_do_not_wait(pool: ThreadPoolExecutor) -> None:
    flights: SingleFlight[str] = SingleFlight()
    maker = Maker(1)
    leader = pool.submit(flights.run, "a", CallContext(), "f", maker)
    assert maker.inside.wait(WAIT)
    assert flights.run("b", CallContext(), "f", lambda: 2) == 2
    maker.go.set()
    assert leader.result(WAIT) == 1
    assert len(flights) == 0


STEPS = ["copy_json", "_remove"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("error", [MemoryError(), RecursionError(), RuntimeError("wrong"), KeyboardInterrupt()])
def test_followers_go_on_whatever_step_of_the_end_raises(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    flights: SingleFlight[str] = SingleFlight()
    maker, faults = Maker("value"), [error]
    where: Any = singleflight if step == "copy_json" else SingleFlight
    original = getattr(where, step)

    def failing(*args: Any) -> Any:
        if faults:
            raise faults.pop()
        return original(*args)

    monkeypatch.setattr(where, step, failing)
    leader, others, _ = lead_and_follow(pool, flights, maker, 3)
    maker.go.set()
    assert [one.result(WAIT) for one in others] == ["value"] * 3
    if isinstance(error, Exception):
        assert leader.result(WAIT) == "value"
    else:
        assert leader.exception(WAIT) is error
    assert len(flights) == 0


@pytest.mark.parametrize("moment", ["before", "after"])
def test_followers_go_on_if_a_signal_ends_the_leader_outside_of_the_call(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    flights: SingleFlight[str] = SingleFlight()
    joined, go, lead = threading.Event(), threading.Event(), singleflight._lead

    def interrupted(*args: Any) -> Any:
        joined.set()
        assert go.wait(WAIT)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if moment == "before":
            patch.setattr(singleflight, "_lead", interrupted)
        else:
            patch.setattr(singleflight._Flight, "finish", interrupted)
        leader = pool.submit(flights.run, "key", CallContext(), "f", lambda: "unused")
        assert joined.wait(WAIT)
    assert singleflight._lead is lead
    contexts = [Joining() for _ in range(3)]
    others = [pool.submit(flights.run, "key", context, "f", lambda: "made") for context in contexts]
    for context in contexts:
        assert context.joined.wait(WAIT)
    go.set()
    error = leader.exception(WAIT)
    assert isinstance(error, KeyboardInterrupt)
    error.__traceback__ = None  # its frames hold the lead
    del error, leader
    assert [one.result(WAIT) for one in others] == ["made"] * 3
    assert len(flights) == 0
