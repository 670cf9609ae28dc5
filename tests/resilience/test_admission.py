from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from portal import Consumer, HTTPPortal, ServingConfig, WebSocketPortal, function
from portal.context import CallContext
from portal.errors import CallCancelled, CallTimeout, OverloadedError
from portal.resilience.admission import Admission, MeanDuration, Verdict, decide, predicted_wait
from tests.support.clocks import Clock
from tests.support.waiting import eventually

WAIT = 10.0


# (running, waiting, limit, max_waiting, patience, duration) -> verdict
@pytest.mark.parametrize(
    ("state", "verdict"),
    [
        ((0, 0, 1, 0, 0.0, 0.0), "run"),
        ((3, 0, 4, 0, 0.0, 9.0), "run"),
        ((4, 0, 4, 0, 9.0, 0.0), "full"),
        ((4, 0, 4, 1, 9.0, 0.0), "wait"),
        ((4, 1, 4, 1, 9.0, 0.0), "full"),
        ((3, 1, 4, 2, 9.0, 0.0), "wait"),  # it does not overtake the one that waits
        ((4, 0, 4, 9, 0.0, 0.0), "late"),  # no time to wait
        ((4, 0, 4, 9, 0.5, 2.0), "wait"),  # a place is free every 0.5 s
        ((4, 0, 4, 9, 0.4, 2.0), "late"),
        ((4, 1, 4, 9, 0.9, 2.0), "late"),
        ((4, 1, 4, 9, 1.0, 2.0), "wait"),
        ((9, 0, 0, 9, 1.0, 2.0), "late"),  # a limit that has shrunk
    ],
)
def test_verdicts(state: tuple[int, int, int, int, float, float], verdict: Verdict) -> None:
    assert decide(*state) == verdict


@pytest.mark.parametrize(
    ("ahead", "limit", "duration", "seconds"), [(0, 1, 2.0, 2.0), (0, 4, 2.0, 0.5), (3, 4, 2.0, 2.0), (5, 4, 0.0, 0.0)]
)
def test_predicted_wait(ahead: int, limit: int, duration: float, seconds: float) -> None:
    assert predicted_wait(ahead, limit, duration) == seconds


def test_the_newest_duration_counts_for_a_tenth() -> None:
    mean = MeanDuration()
    for duration in (1.0, 2.0, 2.0):
        mean.add(duration)
    assert mean.value == pytest.approx(1.19)


class Caller(threading.Thread):
    """Asks for a place, and keeps it until `go` is set."""

    def __init__(self, places: Admission, context: CallContext | None = None) -> None:
        super().__init__(daemon=True)
        self.context = context or CallContext()
        self.places = places
        self.go = threading.Event()
        self.entered = threading.Event()
        self.outcome: Any = None
        self.start()

    def run(self) -> None:
        try:
            place = self.places.enter(self.places.place(), self.context, WAIT, "shop")
        except Exception as error:
            self.outcome = error
            return
        self.entered.set()
        self.go.wait(WAIT)
        self.outcome = self.places.leave(place)


def until(places: Admission, **expected: float) -> None:
    """Wait until the numbers of an Admission are as expected."""
    pause = threading.Event()
    for _ in range(10_000):
        if places.stats() | expected == places.stats():
            return
        pause.wait(0.001)
    raise AssertionError(places.stats())


def test_waiting_calls_run_in_order() -> None:
    places = Admission(1, 5, Clock())
    first = Caller(places)
    assert first.entered.wait(WAIT)
    others = []
    for waiting in range(1, 4):
        others.append(Caller(places))
        until(places, waiting=waiting)
    running = first
    for caller in others:
        assert not caller.entered.is_set()
        running.go.set()
        assert caller.entered.wait(WAIT)
        running = caller
    running.go.set()
    running.join(WAIT)
    assert places.is_idle
    assert places.stats() == {"limit": 1, "running": 0, "waiting": 0, "rejected": 0, "predicted_wait": 0.0}


def test_a_call_that_would_be_late_is_rejected_at_once() -> None:
    clock = Clock()
    places = Admission(1, 5, clock)
    place = places.enter(places.place(), CallContext(), WAIT, "shop")
    assert place.running == 1
    clock.now += 3.0
    assert places.leave(place) == 3.0
    _held = places.enter(places.place(), CallContext(), WAIT, "shop")
    with pytest.raises(OverloadedError, match=r"a place is expected in 3 s, and the call can wait for 2 s") as caught:
        places.enter(places.place(), CallContext(), 2.0, "shop")
    assert caught.value.retry_after == 3.0
    assert caught.value.delivery == "not_sent"
    assert places.stats() == {"limit": 1, "running": 1, "waiting": 0, "rejected": 1, "predicted_wait": 3.0}


@pytest.mark.parametrize(
    ("end", "error"),
    [
        (lambda context: context.cancel(), CallCancelled),
        (lambda context: None, CallTimeout),
    ],
)
def test_a_call_that_stops_waiting_leaves_the_queue(end: Callable[[CallContext], object], error: type) -> None:
    places = Admission(1, 5, Clock())
    place = places.enter(places.place(), CallContext(), WAIT, "shop")
    context = CallContext() if error is CallCancelled else CallContext().child(timeout=0.3)
    caller = Caller(places, context)
    if error is CallCancelled:
        until(places, waiting=1)
    end(context)
    caller.join(WAIT)
    assert isinstance(caller.outcome, error)
    places.leave(place)
    assert places.is_idle


def test_a_place_granted_to_a_cancelled_call_goes_to_the_next() -> None:
    places = Admission(1, 5, Clock())
    place = places.enter(places.place(), CallContext(), WAIT, "shop")
    gone = Caller(places)
    until(places, waiting=1)
    following = Caller(places)
    until(places, waiting=2)
    gone.context.cancel()
    places.leave(place)
    assert following.entered.wait(WAIT)
    following.go.set()
    for caller in (gone, following):
        caller.join(WAIT)
    assert isinstance(gone.outcome, CallCancelled)
    assert places.is_idle


def test_a_larger_limit_admits_those_that_wait() -> None:
    places = Admission(1, 5, Clock())
    _held = places.enter(places.place(), CallContext(), WAIT, "shop")
    callers = []
    for waiting in (1, 2):
        callers.append(Caller(places))
        until(places, waiting=waiting)
    places.resize(3)
    for caller in callers:
        assert caller.entered.wait(WAIT)
        caller.go.set()
        caller.join(WAIT)
    places.resize(1)
    assert places.limit == 1
    assert places.stats()["running"] == 1


def test_a_child_process_starts_with_all_places_free() -> None:
    places = Admission(1, 0, Clock())
    place = places.enter(places.place(), CallContext(), WAIT, "shop")
    places.after_fork()
    again = places.enter(places.place(), CallContext(), WAIT, "shop")
    places.leave(again)
    places.leave(place)
    assert places.stats()["running"] == 0


@pytest.mark.parametrize("portal_class", [HTTPPortal, WebSocketPortal])
def test_a_server_rejects_a_call_that_would_get_its_turn_too_late(
    portal_class: type[HTTPPortal] | type[WebSocketPortal],
) -> None:
    """Its one worker takes 1.5 seconds for a call; two wait, and the deadline of the next is in 2.5 seconds."""
    gate, began = threading.Event(), threading.Semaphore(0)
    ran: list[str] = []

    @function
    def work(name: str) -> str:
        ran.append(name)
        began.release()
        gate.wait(1.5 if name == "first" else WAIT)
        return name

    config = ServingConfig(workers=1, queue=8)
    listener = HTTPPortal(config=config)
    portal = listener if portal_class is HTTPPortal else WebSocketPortal(listener=listener.listener)
    with listener, portal, Consumer() as consumer:
        address = portal.apply(work)
        assert consumer.call_at(address, {"name": "first"}) == "first"
        assert began.acquire(timeout=WAIT)
        running = consumer.submit_at(address, {"name": "running"}, timeout=WAIT)
        assert began.acquire(timeout=WAIT)
        waiting = [consumer.submit_at(address, {"name": f"waits {n}"}, timeout=WAIT) for n in range(2)]
        eventually(lambda: listener.stats()["listener"]["waiting"] == 2)
        with pytest.raises(OverloadedError, match="free only after the deadline") as caught:
            consumer.call_at(address, {"name": "late"}, timeout=2.5)
        assert caught.value.delivery == "not_sent"
        gate.set()
        assert [one.result(WAIT) for one in (running, *waiting)] == ["running", "waits 0", "waits 1"]
    assert "late" not in ran
