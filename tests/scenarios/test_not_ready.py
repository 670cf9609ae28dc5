"""A server whose loop fails says so within a second, and is ready again as soon as the loop runs again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest

from portal import Consumer, HTTPPortal, OverloadedError, WebSocketPortal
from portal._internal import background
from portal._internal.background import BackgroundLoop, LoopGuard
from portal._internal.log import get_logger
from portal.cli import watch
from portal.cli.watch import wait_and_watch
from portal.serving.loop import leader as leader_module
from tests.support.clocks import Clock
from tests.support.waiting import WAIT, eventually

SECOND = 1.0
AnyPortal = HTTPPortal | WebSocketPortal


def add(a: float, b: float) -> float:
    return a + b


class Raising:
    """A function of the loop that raises until `repair`.

    Attributes:
        since: the moment of its first exception.
        times: how often it has raised.
    """

    def __init__(self, original: Callable[..., Any], error: BaseException) -> None:
        self.since: float | None = None
        self.times = 0
        self._original = original
        self._error: BaseException | None = error

    def __call__(self, *args: Any, **options: Any) -> Any:
        if self._error is None:
            return self._original(*args, **options)
        self.since = self.since or monotonic()
        self.times += 1
        raise self._error

    def repair(self) -> None:
        self._error = None


def fail_to_wait(portal: AnyPortal, patch: pytest.MonkeyPatch) -> Raising:
    """Each step of the loop raises."""
    poller = engine_of(portal).reactor._poller
    fault = Raising(poller.wait, MemoryError())
    patch.setattr(poller, "wait", fault)
    return fault


def fail_to_exit(portal: AnyPortal, patch: pytest.MonkeyPatch) -> Raising:
    """Each step of the loop raises what would end the process in its main thread."""
    poller = engine_of(portal).reactor._poller
    fault = Raising(poller.wait, SystemExit(1))
    patch.setattr(poller, "wait", fault)
    return fault


def fail_in_upkeep(portal: AnyPortal, patch: pytest.MonkeyPatch) -> Raising:
    """The regular work raises, though the connections are watched."""
    upkeep = engine_of(portal).reactor._upkeep
    first, *others = upkeep._steps
    fault = Raising(first, OSError(28, "No space left on device"))
    patch.setattr(upkeep, "_steps", (fault, *others))
    return fault


def fail_without_thread(portal: AnyPortal, patch: pytest.MonkeyPatch) -> Raising:
    """The thread of the loop ends, since what guards it raises as well, and the system has no other thread for it."""
    engine = engine_of(portal)
    start = leader_module.start_thread
    fault = Raising(start, OverloadedError("no thread can be started"))

    def note(guard: LoopGuard, error: BaseException) -> None:
        if guard not in (engine.reactor._guard, engine.leader._guard):
            note_failure(guard, error)
            return
        fault.since = fault.since or monotonic()
        raise error

    def wait(*args: Any) -> Any:
        if fault.since is None:
            raise MemoryError
        return original(*args)

    original, note_failure = engine.reactor._poller.wait, LoopGuard.note
    patch.setattr(leader_module, "start_thread", fault)
    patch.setattr(LoopGuard, "note", note)
    patch.setattr(engine.reactor._poller, "wait", wait)
    return fault


def engine_of(portal: AnyPortal) -> Any:
    assert portal.listener._engine is not None
    return portal.listener._engine


def check_looks(portal: AnyPortal, fault: Raising) -> None:
    """Check that each look says "not ready" that begins a second after the first exception, or later.

    Only the beginning of a look counts, and only after a second exception, as one alone is no failure. So a machine
    that holds up a thread does not fail the test.
    """
    eventually(lambda: fault.since is not None)
    assert fault.since is not None
    found: list[tuple[bool, bool]] = []
    pause = threading.Event()
    while len(found) < 50:
        failed_twice, began = fault.times > 1, monotonic()
        look = portal.listener.running, portal.listener.ready
        if failed_twice and began >= fault.since + SECOND:
            found.append(look)
        pause.wait(0.005)
    assert set(found) == {(False, False)}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("make", [HTTPPortal, WebSocketPortal], ids=["http", "websocket"])
@pytest.mark.parametrize("fail", [fail_to_wait, fail_to_exit, fail_in_upkeep, fail_without_thread])
def test_a_listener_whose_loop_fails_is_not_ready_within_a_second(
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[], AnyPortal],
    fail: Callable[[AnyPortal, pytest.MonkeyPatch], Raising],
) -> None:
    with make() as portal, Consumer() as consumer:
        address = portal.apply(add)
        assert consumer.call_at(address, {"a": 1, "b": 2}) == 3.0
        assert (portal.listener.running, portal.listener.ready) == (True, True)
        fault = fail(portal, monkeypatch)
        check_looks(portal, fault)
        assert portal.listener.failing == ["portal-listener"]
        assert portal.listener.stats()["ready"] is False
        assert portal.health()["status"] == "down"
        fault.repair()
        eventually(lambda: portal.listener.ready)
        assert portal.listener.running
        assert portal.health()["status"] == "up"
        with Consumer() as another:
            assert another.call_at(address, {"a": 1, "b": 2}, timeout=WAIT) == 3.0


def test_a_listener_is_not_ready_while_another_loop_of_the_process_fails() -> None:
    """It serves all the same, so its page of health says so."""
    fault = Raising(threading.Event().wait, ValueError("wrong"))
    loop = BackgroundLoop("test-renewal", lambda: fault(0.01))
    with HTTPPortal() as portal, Consumer() as consumer:
        address = portal.apply(add)
        loop.start()
        try:
            eventually(lambda: not portal.listener.ready)
            assert portal.listener.running
            assert portal.listener.failing == ["test-renewal"]
            assert portal.health() == portal.health() | {"status": "down", "failing": ["test-renewal"]}
            assert consumer.call_at(address, {"a": 1, "b": 2}) == 3.0
            fault.repair()
            eventually(lambda: portal.listener.ready)
        finally:
            loop.stop()


class Main:
    """The main thread of `portal serve`, and a portal whose loop fails from a moment on, by one clock.

    Attributes:
        said: the moment of the first log line.
    """

    def __init__(self, fails_at: float, log: pytest.LogCaptureFixture, looks: int) -> None:
        self.clock = Clock(fails_at)
        self.said: float | None = None
        self._fails_at = fails_at
        self._log = log
        self._looks = looks
        self._guard = LoopGuard("test-loop", pause=lambda _: None, clock=self.clock)
        self.clock.now = 1000.0
        self.listener = self

    @property
    def failing(self) -> list[str]:
        return ["test-loop"] if self._guard.failing else []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        if self._log.messages and self.said is None:
            self.said = self.clock.now
        end = self.clock.now + timeout
        while self.clock.now < end:
            self.clock.now = min(end, self.clock.now + 0.01)
            if self.clock.now >= self._fails_at:
                self._guard.note(ValueError("wrong"))
        self._looks -= 1
        return self._looks < 0


@pytest.mark.parametrize("offset", [0.0, 0.01, 0.1, 0.2, 0.24, 0.25, 0.49])
def test_portal_serve_logs_within_a_second_that_it_is_not_ready(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, offset: float
) -> None:
    """Whenever the loop begins to fail between two looks; all of it by one clock."""
    caplog.set_level(logging.ERROR, logger="portal.serving")
    main = Main(1010.0 + offset, caplog, looks=80)
    monkeypatch.setattr(watch, "monotonic", main.clock)
    monkeypatch.setattr(watch, "restart_lost_loops", lambda: None)
    monkeypatch.setattr(background, "_log", get_logger("test.loops"))
    logging.getLogger("test.loops").setLevel(logging.CRITICAL)
    wait_and_watch([main], main)  # type: ignore[list-item]
    assert caplog.messages == ["not ready: failing=test-loop"]
    assert main.said is not None
    assert 1010.0 + offset < main.said <= 1010.0 + offset + SECOND
