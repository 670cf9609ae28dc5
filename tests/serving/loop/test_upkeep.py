"""The regular work of the reactor goes on after a step has failed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from portal._internal.background import LoopGuard
from portal.serving.loop import upkeep
from portal.serving.loop.upkeep import Upkeep


class Parts:
    """Stands for the parts that the steps belong to; each fails as long as its name is in `faults`."""

    def __init__(self) -> None:
        self.faults: dict[str, BaseException] = {}
        self.ran: list[str] = []
        self.ended: list[int] = []
        self.now = 0.0
        self.dropped: list[int] = []
        self.connections: dict[int, Any] = {}
        self.writing: dict[int, Any] = {}
        table = SimpleNamespace(
            parked=self.connections, writing=self.writing, drop=self.dropped.append, abort_output=self.step("abort")
        )
        self.upkeep = Upkeep(
            table,  # type: ignore[arg-type]
            SimpleNamespace(listen_again=self.step("listen_again")),  # type: ignore[arg-type]
            SimpleNamespace(reject_overdue=self.step("requests")),  # type: ignore[arg-type]
            SimpleNamespace(reject_overdue=self.step("work")),  # type: ignore[arg-type]
            SimpleNamespace(flush=self.step("flush")),  # type: ignore[arg-type]
            self.ended.append,
            lambda: self.now,
        )

    def run(self, now: float) -> None:
        self.upkeep.begin(now)
        self.upkeep.finish()

    def step(self, name: str) -> Any:
        def run(*args: object) -> None:
            self.ran.append(name)
            if name in self.faults:
                raise self.faults[name]

        return run


STEPS = ["requests", "work", "listen_again", "flush"]


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("wrong"), SystemExit(1)], ids=repr)
def test_the_other_steps_are_taken_after_one_has_failed(name: str, error: BaseException) -> None:
    parts = Parts()
    parts.faults[name] = error
    parts.run(0.0)
    assert parts.ran == STEPS
    assert parts.upkeep.guard.failures == 1
    del parts.faults[name]
    parts.run(0.0)
    assert parts.upkeep.guard.in_a_row == 0


def test_steps_that_fail_each_time_count_as_failing(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts()
    now = [100.0]
    parts.upkeep.guard = LoopGuard("upkeep", pause=lambda seconds: None, clock=lambda: now[0])
    parts.faults["flush"] = OSError(28, "No space left on device")
    for _ in range(3):
        parts.run(0.0)
        now[0] += 0.5
    assert parts.upkeep.guard.failing
    parts.faults.clear()
    parts.run(0.0)
    assert not parts.upkeep.guard.failing


def upgraded(overdue: Any, deadline: float) -> Any:
    channel = SimpleNamespace(handler=SimpleNamespace(overdue=overdue))
    return SimpleNamespace(channel=channel, draining=False, handshaking=False, inside_request=False, deadline=deadline)


def test_an_upgraded_protocol_whose_deadline_fails_ends_alone(caplog: pytest.LogCaptureFixture) -> None:
    parts, asked = Parts(), list[str]()

    def fail() -> bool:
        raise MemoryError

    def keep() -> bool:
        asked.append("kept")
        return True

    parts.connections.update({3: upgraded(fail, 1.0), 4: upgraded(keep, 1.0), 5: upgraded(keep, 99.0)})
    parts.connections[6] = SimpleNamespace(
        channel=None, draining=True, handshaking=False, inside_request=False, deadline=1.0
    )
    parts.run(2.0)
    assert parts.ended == [3]
    assert asked == ["kept"]
    assert parts.dropped == [6]
    assert parts.upkeep.guard.failures == 0
    assert "ending an overdue connection failed" in caplog.text


def test_lost_threads_are_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    parts, calls = Parts(), list[int]()
    monkeypatch.setattr(upkeep, "restart_lost_loops", lambda: calls.append(1))
    parts.run(0.0)
    assert calls == [1]


class Slow:
    """A connection whose output waits; to look at it takes 0.4 ms."""

    def __init__(self, parts: Parts, name: str, looked: list[str]) -> None:
        self._parts, self._name, self._looked = parts, name, looked
        self.output = self

    def complaint(self) -> None:
        self._parts.now += 0.0004
        self._looked.append(self._name)


def test_the_work_is_done_in_slices() -> None:
    parts, looked = Parts(), list[str]()
    parts.writing.update({number: Slow(parts, str(number), looked) for number in range(7)})
    assert not parts.upkeep.unfinished
    parts.upkeep.begin(0.0)
    assert parts.upkeep.unfinished
    counts = []
    while parts.upkeep.unfinished:
        parts.upkeep.go_on()
        counts.append(len(looked))
    assert counts == [3, 6, 7]
    assert parts.ran == STEPS


def test_a_new_time_waits_for_the_end_of_the_work() -> None:
    parts, looked = Parts(), list[str]()
    parts.writing.update({number: Slow(parts, str(number), looked) for number in range(4)})
    parts.upkeep.begin(0.0)
    parts.upkeep.go_on()
    parts.upkeep.begin(0.5)
    parts.upkeep.finish()
    assert looked == ["0", "1", "2", "3"]
    assert not parts.upkeep.unfinished
    parts.upkeep.begin(1.0)
    parts.upkeep.finish()
    assert len(looked) == 8


def test_a_connection_that_was_closed_meanwhile_is_left_alone() -> None:
    parts = Parts()
    one, other = (
        SimpleNamespace(channel=None, draining=True, handshaking=False, inside_request=False, deadline=1.0)
        for _ in range(2)
    )
    parts.connections.update({6: one, 7: one})
    parts.now = 1.0
    parts.upkeep.begin(2.0)
    next(parts.upkeep._rest)
    parts.connections[7] = other  # the next connection with its descriptor
    parts.upkeep.finish()
    assert parts.dropped == [6]
