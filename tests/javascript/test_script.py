from __future__ import annotations

import sys

import pytest

from portal import (
    CallContext,
    CallTimeout,
    FunctionError,
    JavaScriptError,
    JavaScriptPortal,
    JSFunction,
    RegistryError,
    ValidationError,
)
from portal.javascript import EngineError, HostAPI, Limits, Program
from portal.javascript.engine import Host
from portal.javascript.sandbox import Place
from portal.javascript.script import Script, ScriptFunction, javascript_error
from tests.support.races import fast_switches, in_threads

from .test_runtime import FakeRunner

ADD = JSFunction(
    "p => p.a + p.b",
    "add",
    schema={
        "input": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer", "default": 5}},
            "required": ["a"],
        },
        "output": {"type": "integer"},
    },
)


class Replies(FakeRunner):
    """Replies with a text, or raises an error."""

    def __init__(self, reply: str | EngineError) -> None:
        super().__init__({})
        self.reply = reply
        self.calls: list[tuple[str, Limits, float | None]] = []

    def run(self, program: Program, text: str, limits: Limits, host: Host, wait: float | None) -> str:
        self.calls.append((text, limits, wait))
        if isinstance(self.reply, EngineError):
            raise self.reply
        return self.reply


def published(reply: str | EngineError) -> tuple[ScriptFunction, Replies]:
    runner = Replies(reply)
    script = Script(ADD, ADD.program("{}", {}), ADD.schema)
    place = Place("quickjs", "process", False)
    made = ScriptFunction(
        script,
        place=place,
        limits=Limits(time=1.0),
        runner=lambda place: runner,
        host=HostAPI().for_function(None, "add"),
    )
    return made, runner


def test_defaults_are_filled_in_and_the_result_is_validated() -> None:
    function, runner = published("6")
    assert function.invoke({"a": 1}, CallContext()) == 6
    assert function(a=1) == 6
    assert runner.calls[0] == ('{"b":5,"a":1}', Limits(time=1.0), None)
    runner.reply = '"six"'
    with pytest.raises(FunctionError, match="does not fit its output schema"):
        function.invoke({"a": 1}, CallContext())


def test_parameters_are_validated_before_anything_runs() -> None:
    function, runner = published("6")
    for wrong in ({"a": "1"}, {}, {"a": 2**60 + 1}):
        with pytest.raises(ValidationError):
            function.invoke(wrong, CallContext())
    assert runner.calls == []


def test_the_deadline_of_the_caller_bounds_the_time() -> None:
    function, runner = published(EngineError("timeout", "the time limit has passed"))
    with pytest.raises(JavaScriptError) as caught:
        function.invoke({"a": 1}, CallContext.for_call(60.0))
    assert caught.value.stage == "timeout"
    assert runner.calls[-1][1].time == 1.0
    with pytest.raises(CallTimeout) as late:
        function.invoke({"a": 1}, CallContext(deadline=0.0))
    assert late.value.delivery == "executed"
    assert runner.calls[-1][1].time == pytest.approx(0.001)


def test_code_is_swapped_and_rolled_back() -> None:
    function, _ = published("6")
    first, other = function.script, JSFunction("p => 7", "add").with_code("p => 8")
    function.replace(Script(other, other.program("{}", {}), other.schema))
    assert function.script.declaration is other
    function.rollback()
    assert function.script is first
    with pytest.raises(RegistryError, match="no earlier code"):
        function.rollback()
    for _ in range(30):
        function.replace(first)
    assert len(function._versions) == 20


def test_an_error_of_an_engine_becomes_a_portal_error() -> None:
    error = javascript_error(EngineError("execute", "no x", name="TypeError", line=2, column=3, stack="at f"), "add")
    assert (str(error), error.stage, error.line, error.column, error.js_stack) == (
        "add: TypeError: no x",
        "execute",
        2,
        3,
        "at f",
    )
    assert error.delivery == "executed"
    assert str(javascript_error(EngineError("compile", "x", name="Error"), "add")) == "add: x"


def test_no_version_is_lost_by_threads_that_replace_the_code_at_once() -> None:
    """A call of `replace` beside an edit in a folder."""
    with fast_switches():
        for _ in range(100):
            function, _ = published("6")
            script = function.script
            in_threads(4, lambda _, function=function, script=script: [function.replace(script) for _ in range(4)])
            for _ in range(16):
                function.rollback()
            with pytest.raises(RegistryError, match="no earlier code"):
                function.rollback()


def test_a_trusted_call_passes_few_frames() -> None:
    """Each frame costs about a hundredth of such a call."""
    with JavaScriptPortal(engine="quickjs", sandbox="trusted") as portal:
        address = portal.apply(JSFunction("p => ({ sum: p.a })", "add", trusted=True))
        function = portal.resolve_function(address)
        assert function.invoke({"a": 1}, CallContext()) == {"sum": 1}
        frames: list[str] = []
        sys.setprofile(lambda frame, event, _: frames.append(frame.f_code.co_qualname) if event == "call" else None)
        try:
            function.invoke({"a": 1}, CallContext())
        finally:
            sys.setprofile(None)
    frames = frames[1:]  # the context
    assert frames[:2] == ["PublishedScript.invoke", "ScriptFunction.invoke"]
    assert len(frames) <= 9, frames


def test_a_function_asks_for_another_runner_once_its_own_is_closed() -> None:
    first, second = Replies("6"), Replies("7")
    runners = [second, first]
    script = Script(ADD, ADD.program("{}", {}), ADD.schema)
    place, host = Place("quickjs", "process", False), HostAPI().for_function(None, "add")
    function = ScriptFunction(script, place=place, limits=Limits(), runner=lambda place: runners.pop(), host=host)
    assert [function.invoke({"a": 1}, CallContext()) for _ in range(2)] == [6, 6]
    first.closed = True
    assert [function.invoke({"a": 1}, CallContext()) for _ in range(2)] == [7, 7]
