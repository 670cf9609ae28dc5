from __future__ import annotations

import sys
from typing import Any

import pytest

from portal import ConfigError
from portal.javascript import Limits, Sandbox
from portal.javascript.sandbox import DENIED, Place, limits_for


def test_untrusted_code_runs_in_a_child_process() -> None:
    assert Sandbox().place("auto", False) == Place("quickjs", "process", False)
    assert Sandbox("trusted").place("quickjs", False) == Place("quickjs", "process", False)


def test_trusted_code_needs_a_sandbox_that_permits_it() -> None:
    assert Sandbox("trusted").place("auto", True) == Place("quickjs", "thread", True)
    with pytest.raises(ConfigError, match="trusted=True needs"):
        Sandbox().place("auto", True)


def test_a_platform_without_isolation_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(ConfigError, match="offers no isolation"):
        Sandbox().place("quickjs", False)


def test_engines_are_those_of_the_sandbox() -> None:
    assert Sandbox(engines=("quickjs",)).place("auto", False).engine == "quickjs"
    with pytest.raises(ConfigError, match="must be one of quickjs, got 'other'"):
        Sandbox(engines=("quickjs",)).place("other", False)


def test_an_isolation_that_the_engine_does_not_have() -> None:
    with pytest.raises(ConfigError, match="cannot run in wasm isolation"):
        Sandbox(isolation="wasm").place("quickjs", False)


def test_denied_globals() -> None:
    assert Sandbox().denied(False) == sorted(DENIED)
    assert Sandbox().denied(True) == []
    assert Sandbox(deny=("Date",), allow=("Atomics",)).denied(False) == ["Date", "SharedArrayBuffer"]


def test_a_function_asks_for_less() -> None:
    sandbox = Sandbox(limits=Limits(time=1.0))
    assert limits_for(sandbox, {"time": None, "memory": None}) is sandbox.limits
    assert limits_for(sandbox, {"time": 0.5, "memory": None}).time == 0.5
    with pytest.raises(ConfigError) as caught:
        limits_for(sandbox, {"time": 2.0})
    assert caught.value.path == "function.time"


@pytest.mark.parametrize(
    "wrong",
    [{"level": "safe"}, {"engines": "quickjs"}, {"engines": ("netscape",)}, {"isolation": "thread"}, {"limits": 1},
     {"pool": None}, {"deny": "Date"}, {"allow": [1]}],
)  # fmt: skip
def test_wrong_settings(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        Sandbox(**wrong)
    assert caught.value.path == f"sandbox.{next(iter(wrong))}"


def test_a_level_or_a_sandbox() -> None:
    sandbox = Sandbox("hostile")
    assert Sandbox.of(sandbox) is sandbox
    assert Sandbox.of("hostile") == sandbox
    with pytest.raises(ConfigError):
        Sandbox.of("none")
