"""Scripts whose host calls lead back to scripts of the same portal, and scripts that are stopped amid host calls."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from decimal import Decimal
from time import monotonic

import pytest

from portal import (
    CallTimeout,
    Consumer,
    FunctionError,
    JavaScriptError,
    JavaScriptPortal,
    JSFunction,
    LocalPortal,
    OverloadedError,
    ValidationError,
)
from portal.javascript import Analysis, Grant, HostAPI, Limits, PoolSettings, Sandbox

LIMITS = Limits(time=60.0)
ANY = HostAPI(grants=(Grant("js://*"), Grant("local://*")))


class Scripts:
    """A portal whose scripts may call anything, and a consumer of it."""

    def __init__(self, limits: Limits = LIMITS, size: int = 2) -> None:
        self.consumer = Consumer()
        pool = PoolSettings(min_size=1, max_size=size)
        sandbox = Sandbox("trusted", limits=limits, pool=pool, analysis=Analysis("off"))
        self.portal = JavaScriptPortal(sandbox=sandbox, host=ANY, caller=self.consumer.call_at)

    def publish(self, code: str, name: str, *, trusted: bool) -> str:
        return str(self.portal.apply(JSFunction(code, name, trusted=trusted)))

    def close(self) -> None:
        self.portal.close()
        self.consumer.close()


@pytest.fixture
def scripts() -> Iterator[Scripts]:
    made = Scripts()
    yield made
    made.close()


@pytest.mark.parametrize("trusted", [False, True])
def test_a_script_calls_another_script_of_its_portal(scripts: Scripts, trusted: bool) -> None:
    inner = scripts.publish("p => p.a + 1", "inner", trusted=trusted)
    outer = scripts.publish(f"p => portal.call('{inner}', {{a: p.a}})", "outer", trusted=trusted)
    assert scripts.consumer.call_at(outer, {"a": 1}) == 2


@pytest.mark.parametrize("trusted", [False, True])
def test_a_host_function_calls_a_script_of_the_same_portal(scripts: Scripts, trusted: bool) -> None:
    inner = scripts.publish("p => p.a * 2", "inner", trusted=trusted)

    def relay(a: int) -> int:
        return int(scripts.consumer.call_at(inner, {"a": a})) + 1

    with LocalPortal() as local:
        code = f"async p => (await portal.call('{local.apply(relay)}', {{a: p.a}})) * 10"
        assert scripts.consumer.call_at(scripts.publish(code, "outer", trusted=trusted), {"a": 3}) == 70


@pytest.mark.parametrize("trusted", [False, True])
def test_a_call_that_runs_finishes_on_the_code_with_which_it_began(scripts: Scripts, trusted: bool) -> None:
    began, edited = threading.Event(), threading.Event()

    def pause() -> None:
        began.set()
        assert edited.wait(30.0)

    with LocalPortal() as local:
        code = f"async () => {{ await portal.call('{local.apply(pause)}', {{}}); return 'old' }}"
        address = scripts.publish(code, "work", trusted=trusted)
        running = scripts.consumer.submit_at(address, {}, timeout=60.0)
        assert began.wait(30.0)
        scripts.portal.replace("work", "() => 'new'")
        assert scripts.consumer.call_at(address, {}) == "new"
        edited.set()
        assert running.result(60.0) == "old"
        scripts.portal.rollback("work")
        assert scripts.consumer.call_at(address, {}) == "old"


@pytest.mark.parametrize("trusted", [False, True])
def test_the_deadline_holds_for_a_script_that_a_script_calls(scripts: Scripts, trusted: bool) -> None:
    loop = scripts.publish("() => { for (;;) {} }", "loop", trusted=trusted)
    outer = scripts.publish(f"() => portal.call('{loop}')", "outer", trusted=trusted)
    started = monotonic()
    with pytest.raises(CallTimeout):
        scripts.consumer.call_at(outer, {}, timeout=0.5)
    assert monotonic() - started < LIMITS.time / 2


@pytest.mark.parametrize("trusted", [False, True])
def test_a_script_that_calls_itself_for_ever_ends_and_blocks_nobody(scripts: Scripts, trusted: bool) -> None:
    address = scripts.publish("() => portal.call('js://forever')", "forever", trusted=trusted)
    good = scripts.publish("() => 1", "good", trusted=trusted)
    started = monotonic()
    with pytest.raises((CallTimeout, OverloadedError)):
        scripts.consumer.call_at(address, {}, timeout=1.0)
    assert monotonic() - started < LIMITS.time / 2
    assert scripts.consumer.call_at(good, {}) == 1


STOPPED = [
    "async () => { await portal.call('ADDRESS', {a: 1}); for (;;) {} }",
    "() => portal.call('ADDRESS', {a: 1}).then(a => portal.call('ADDRESS', {a})).then(() => { for (;;) {} })",
    "async () => { const all = [1, 2, 3].map(a => portal.call('ADDRESS', {a})); await all[0]; for (;;) {} }",
    "async () => { const f = async function* () { yield portal.call('ADDRESS', {a: 1}); for (;;) {} }; "
    "for await (const x of f()); }",
    "async () => { try { await portal.call('ADDRESS', {a: 1}); throw 1 } finally { for (;;) {} } }",
]


@pytest.mark.parametrize("code", STOPPED)
@pytest.mark.parametrize("trusted", [False, True])
def test_a_script_is_stopped_after_host_calls_and_the_portal_serves_on(code: str, trusted: bool) -> None:
    """The time limit holds for the whole call, host calls included."""

    def same(a: int) -> int:
        return a

    scripts = Scripts(Limits(time=0.5), size=1)
    try:
        with LocalPortal() as local:
            address = scripts.publish(code.replace("ADDRESS", str(local.apply(same))), "stopped", trusted=trusted)
            for _ in range(2):
                with pytest.raises(JavaScriptError) as caught:
                    scripts.consumer.call_at(address, {})
                assert caught.value.stage == "timeout"
    finally:
        scripts.close()


def test_a_decimal_crosses_as_exact_text() -> None:
    text = {"type": "string", "format": "decimal"}
    schema = {"input": {"type": "object", "properties": {"price": text}, "required": ["price"]}, "output": text}
    with JavaScriptPortal(sandbox=Sandbox(limits=LIMITS)) as portal, Consumer([portal]) as consumer:
        same = portal.apply(JSFunction("p => p.price", "same", schema=schema))
        assert consumer.call_at(same, {"price": "1.10"}) == "1.10"
        exact = "12345678901234567890.123456789"
        assert consumer.call_at(same, {"price": exact}, returns=Decimal) == Decimal(exact)
        for wrong in (1.1, "1,1", Decimal("1.1")):
            with pytest.raises(ValidationError):
                consumer.call_at(same, {"price": wrong})
        number = portal.apply(JSFunction("p => p.price * 1", "number", schema=schema))
        with pytest.raises(FunctionError, match="output schema"):
            consumer.call_at(number, {"price": "1.10"})
