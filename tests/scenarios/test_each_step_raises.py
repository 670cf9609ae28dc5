"""Each step of a served call raises once: the client gets an error, and the server goes on with nothing claimed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import pytest

from portal import Consumer, HTTPPortal, PortalError, function
from portal._internal.executor import WorkerPool
from portal.errors import CallTimeout
from portal.serving import ServingConfig
from portal.serving.connections.connection import Connection
from portal.serving.connections.exchange import Exchange
from portal.serving.connections.table import ConnectionTable
from portal.serving.loop.acceptor import Acceptor
from portal.serving.loop.latency import LatencyTracker
from portal.serving.loop.leader import Leadership
from portal.serving.loop.reactor import Reactor
from portal.serving.loop.request_queue import RequestQueue
from portal.serving.loop.scheduler import RequestScheduler
from portal.serving.messages.held_keys import HeldKeys

WAIT = 20.0
STEPS: list[tuple[type, str]] = [
    (Reactor, "_on_event"),
    (Reactor, "_receive"),
    (Reactor, "_serve"),
    (Leadership, "begin"),
    (Leadership, "end"),
    (Acceptor, "accept"),
    (Acceptor, "_admit"),
    (ConnectionTable, "add"),
    (ConnectionTable, "park"),
    (ConnectionTable, "release_to_worker"),
    (RequestScheduler, "take"),
    (RequestScheduler, "_hand_over"),
    (RequestScheduler, "_serve"),
    (RequestScheduler, "_serve_on"),
    (RequestScheduler, "_respond"),
    (RequestScheduler, "_note_latency"),
    (RequestScheduler, "_give_back"),
    (RequestQueue, "add"),
    (RequestQueue, "keys_of"),
    (RequestQueue, "_submit"),
    (RequestQueue, "_run"),
    (WorkerPool, "_submit"),
    (WorkerPool, "_next_job"),
    (HeldKeys, "hold"),
    (LatencyTracker, "is_quick"),
    (Exchange, "claim"),
    (Exchange, "send"),
    (Exchange, "_encode_head"),
    (Connection, "send"),
    (Connection, "take_request"),
    (Connection, "next_request"),
    (Connection, "note_parked"),
]
ERRORS: list[BaseException] = [MemoryError(), OSError(28, "No space left on device"), SystemExit(1)]


class FailingHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise MemoryError


@function
def quick() -> int:
    return 1


@function
def slow() -> int:
    threading.Event().wait(0.005)
    return 1


@function
def items() -> Iterator[int]:
    yield from range(3)


@pytest.fixture(scope="module")
def portal() -> Iterator[HTTPPortal]:
    with HTTPPortal(config=ServingConfig(workers=3)) as portal:
        for one in (quick, slow, items):
            portal.apply(one)
        yield portal


def call(consumer: Consumer, portal: HTTPPortal, name: str) -> PortalError | None:
    address = f"{portal.base}/{name}"
    try:
        if name == "items":
            assert list(consumer.stream_at(address, {}, timeout=WAIT)) == [0, 1, 2]
        else:
            assert consumer.call_at(address, {}, timeout=WAIT) == 1
    except PortalError as error:
        return error
    return None


def claimed(portal: HTTPPortal) -> dict[str, int]:
    """Return what is claimed by calls that have ended, once it has been put back or a moment has passed."""
    end, pause = monotonic() + WAIT, threading.Event()
    while True:
        stats = portal.stats()
        listener = stats["listener"]
        names = ("active", "streams", "unfinished", "output_buffered", "input_buffered", "connections", "computing")
        found = {name: listener[name] for name in names} | {"running": stats["running"]}
        if not any(found.values()) or monotonic() > end:
            return found
        pause.wait(0.01)


@pytest.mark.parametrize(("where", "name"), STEPS, ids=[f"{where.__name__}.{name}" for where, name in STEPS])
@pytest.mark.parametrize("error", ERRORS, ids=[type(error).__name__ for error in ERRORS])
def test_a_step_that_raises_costs_one_call_at_most(
    portal: HTTPPortal, monkeypatch: pytest.MonkeyPatch, where: type, name: str, error: BaseException
) -> None:
    original: Callable[..., Any] = getattr(where, name)
    faults: list[BaseException] = []

    def failing(*args: Any, **options: Any) -> Any:
        if faults and threading.current_thread().name.startswith("portal-"):
            raise faults.pop()
        return original(*args, **options)

    handler = FailingHandler()
    monkeypatch.setattr(where, name, failing)
    logging.getLogger("portal").addHandler(handler)
    try:
        errors: list[PortalError] = []
        for one in ("quick", "slow", "items"):
            faults[:] = [error]
            with Consumer() as consumer:
                errors += [found for _ in range(3) if (found := call(consumer, portal, one)) is not None]
        assert len(errors) <= 3 * 2  # a client may send a call on a connection that has just ended
        assert not [found for found in errors if isinstance(found, CallTimeout)]
        faults.clear()
        assert claimed(portal) == dict.fromkeys(claimed(portal), 0)
        with Consumer() as consumer:
            assert [call(consumer, portal, one) for one in ("quick", "slow", "items") * 3] == [None] * 9
    finally:
        logging.getLogger("portal").removeHandler(handler)
    assert portal.listener.ready
    assert portal.health()["status"] == "up"
