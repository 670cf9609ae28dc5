from __future__ import annotations

import pytest

from portal import ConfigError
from portal.javascript import EngineError, Limits, PoolSettings, Program, Sandbox
from portal.javascript.engine import Host
from portal.javascript.pool.runner import Runner
from portal.javascript.runtime import Runtime, claimed, prove
from portal.javascript.sandbox import Place

QUICKJS = Place("quickjs", "process", False)


class FakeRunner(Runner):
    """Ends each program with the stage that `stages` has for a word in its source."""

    isolation = "process"
    closed = False

    def __init__(self, stages: dict[str, str]) -> None:
        self._stages = stages

    def run(self, program: Program, text: str, limits: Limits, host: Host, wait: float | None) -> str:
        stage = self._stages.get(program.name)
        if stage is None:
            return "null"
        raise EngineError(stage, "stopped")  # type: ignore[arg-type]

    def measures(self) -> list[str]:
        return []

    def stats(self) -> dict[str, int]:
        return {}

    def close(self) -> None: ...


def test_a_proof_says_how_each_program_was_stopped() -> None:
    stages = {"loop": "timeout", "hog": "memory", "recursion": "stack"}
    proof = prove("fake 1", FakeRunner(stages), claimed(QUICKJS))
    assert proof.stopped == stages
    assert proof.to_dict()["engine"] == "fake 1"


@pytest.mark.parametrize("lost", ["loop", "hog", "recursion"])
def test_a_limit_that_does_not_hold_is_no_proof(lost: str) -> None:
    stages = {"loop": "timeout", "hog": "memory", "recursion": "stack"}
    del stages[lost]
    with pytest.raises(ConfigError, match=f"must stop a {lost}"):
        prove("fake 1", FakeRunner(stages), claimed(QUICKJS))


def test_what_is_claimed() -> None:
    assert claimed(QUICKJS)["hog"] == claimed(Place("quickjs", "thread", True))["hog"] == ("memory",)
    assert claimed(Place("js2py", "process", False))["hog"] == ("memory", "timeout")
    assert set(claimed(Place("js2py", "thread", True))) == {"loop", "recursion"}


def test_a_runner_is_proved_once_and_closed_with_its_runtime() -> None:
    sandbox = Sandbox("trusted", pool=PoolSettings(max_size=2))
    runtime = Runtime(sandbox)
    place = sandbox.place("quickjs", True)
    runner = runtime.runner(place)
    assert runtime.runner(place) is runner
    (health,) = runtime.health()
    assert health["stopped"] == {"loop": "timeout", "hog": "memory", "recursion": "stack"}
    assert (health["isolation"], health["trust"], health["measures"]) == ("thread", "trusted", [])
    assert runtime.stats()["quickjs/thread"]["engines"] == 1
    runtime.stop()
    assert runtime.health() == []
    again = Runtime(sandbox)
    again.runner(place)
    assert again.health()[0]["at"] == health["at"]
    runtime.close()
    again.close()
    with pytest.raises(EngineError, match="closed"):
        runtime.runner(place)
