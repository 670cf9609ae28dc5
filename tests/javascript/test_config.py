from __future__ import annotations

from typing import Any

import pytest

from portal import ConfigError, Consumer, JavaScriptError, JavaScriptPortal, JSFunction, RegistryError
from portal.javascript import FunctionConfig, Limits, Sandbox

LIMITS = Limits(time=20.0)


@pytest.mark.parametrize(
    "wrong",
    [{"time": 0}, {"memory": 1}, {"fuel": 0}, {"log": -1}, {"engine": "netscape"}, {"trusted": "yes"}],
)
def test_wrong_settings(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        FunctionConfig(**wrong)


@pytest.mark.parametrize("wrong", [{"f": Limits()}, {"a b": FunctionConfig()}, {1: FunctionConfig()}, "f"])
def test_config_is_by_name_of_the_function(wrong: Any) -> None:
    with pytest.raises((ConfigError, RegistryError)):
        JavaScriptPortal(config=wrong)


def test_a_function_gets_the_limits_of_its_configuration() -> None:
    config = {"short": FunctionConfig(output=10, log=3), "old": FunctionConfig(memory=2**24)}
    code = "p => 'x'.repeat(p.n)"
    with JavaScriptPortal(sandbox=Sandbox(limits=LIMITS), config=config) as js, Consumer([js]) as consumer:
        short, other = (js.apply(JSFunction(code, name)) for name in ("short", "other"))
        assert consumer.call_at(short, {"n": 8}) == "x" * 8
        assert consumer.call_at(other, {"n": 9}) == "x" * 9
        for source in (code, "p => 'y'.repeat(p.n)"):  # other code has the same limits
            js.replace("short", source)
            with pytest.raises(JavaScriptError, match="at most 10 characters") as caught:
                consumer.call_at(short, {"n": 9})
            assert caught.value.stage == "memory"


def test_it_goes_before_what_the_function_asks_for() -> None:
    sandbox = Sandbox("trusted", limits=LIMITS)
    config = {"mine": FunctionConfig(trusted=True), "theirs": FunctionConfig(trusted=False, time=5.0)}
    with JavaScriptPortal(sandbox=sandbox, config=config) as js:
        js.apply(JSFunction("() => 1", "mine"))
        js.apply(JSFunction("() => 1", "theirs", trusted=True, timeout=1.0))
        scripts = js.health()["scripts"]
    assert (scripts["mine"]["trust"], scripts["mine"]["isolation"]) == ("trusted", "thread")
    assert (scripts["theirs"]["trust"], scripts["theirs"]["isolation"]) == ("untrusted", "process")


def test_no_configuration_exceeds_the_sandbox() -> None:
    too_much = {
        "time": FunctionConfig(time=21.0),
        "trusted": FunctionConfig(trusted=True),
        "fuel": FunctionConfig(engine="quickjs", fuel=5),
    }
    portal = JavaScriptPortal(sandbox=Sandbox(limits=LIMITS), config=too_much)
    for name, words in (("time", "at most 20"), ("trusted", 'sandbox="trusted"'), ("fuel", "counts fuel, got quickjs")):
        with pytest.raises(ConfigError, match=words):
            portal.apply(JSFunction("() => 1", name))
    portal.close()
