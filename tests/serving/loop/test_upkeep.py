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
        self.dropped: list[int] = []
        self.connections: dict[int, Any] = {}
        table = SimpleNamespace(
            parked=self.connections, writing={}, drop=self.dropped.append, abort_output=self.step("abort")
        )
        self.upkeep = Upkeep(
            table,  # type: ignore[arg-type]
            SimpleNamespace(listen_again=self.step("listen_again")),  # type: ignore[arg-type]
            SimpleNamespace(reject_overdue=self.step("requests")),  # type: ignore[arg-type]
            SimpleNamespace(reject_overdue=self.step("work")),  # type: ignore[arg-type]
            SimpleNamespace(flush=self.step("flush")),  # type: ignore[arg-type]
            self.ended.append,
        )

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
    parts.upkeep.run(0.0)
    assert parts.ran == STEPS
    assert parts.upkeep.guard.failures == 1
    del parts.faults[name]
    parts.upkeep.run(0.0)
    assert parts.upkeep.guard.in_a_row == 0


def test_steps_that_fail_each_time_count_as_failing(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts()
    now = [100.0]
    parts.upkeep.guard = LoopGuard("upkeep", pause=lambda seconds: None, clock=lambda: now[0])
    parts.faults["flush"] = OSError(28, "No space left on device")
    for _ in range(3):
        parts.upkeep.run(0.0)
        now[0] += 0.5
    assert parts.upkeep.guard.failing
    parts.faults.clear()
    parts.upkeep.run(0.0)
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
    parts.upkeep.run(2.0)
    assert parts.ended == [3]
    assert asked == ["kept"]
    assert parts.dropped == [6]
    assert parts.upkeep.guard.failures == 0
    assert "ending an overdue connection failed" in caplog.text


def test_lost_threads_are_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    parts, calls = Parts(), list[int]()
    monkeypatch.setattr(upkeep, "restart_lost_loops", lambda: calls.append(1))
    parts.upkeep.run(0.0)
    assert calls == [1]
