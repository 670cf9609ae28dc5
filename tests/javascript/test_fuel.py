from __future__ import annotations

from typing import Any

import pytest

from portal import (
    BearerAuth,
    CallContext,
    ConfigError,
    Consumer,
    HTTPPortal,
    Identity,
    JavaScriptError,
    JavaScriptPortal,
    JSFunction,
    RateLimitError,
    WebSocketPortal,
)
from portal.javascript import FuelQuota, Limits, Sandbox
from portal.javascript.engines.wasm.guest import guest_version
from portal.metrics import CallMetrics, Observe
from tests.support.clocks import Clock

needs_wasm = pytest.mark.skipif(guest_version() == "", reason="wasmtime or quickjs-rs is not installed")
SUM = "p => { let t = 0; for (let i = 0; i < p.n; i++) t += i; return t }"


def context(name: str | None) -> CallContext:
    return CallContext(identity=None if name is None else Identity(name))


def test_a_tenant_has_its_own_supply_which_recovers() -> None:
    clock = Clock()
    quota = FuelQuota(1000, per=10.0, clock=clock)
    ann, bob = context("ann"), context("bob")
    assert quota.available(ann) == 1000
    quota.charge(ann, 1500)
    with pytest.raises(RateLimitError, match="1,000 in 10 s") as caught:
        quota.available(ann)
    assert caught.value.retry_after == pytest.approx(5.01)
    assert quota.available(bob) == 1000
    clock.now += 6.0
    assert quota.available(ann) == 100
    clock.now += 100.0
    assert quota.available(ann) == 1000


def test_the_key_names_the_tenant() -> None:
    quota = FuelQuota(10, key=lambda context: "all", clock=Clock())
    quota.charge(context("ann"), 10)
    with pytest.raises(RateLimitError):
        quota.available(context(None))


@pytest.mark.parametrize("options", [{"fuel": 0}, {"fuel": 1, "per": 0}, {"fuel": 1, "key": 5}])
def test_wrong_settings(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        FuelQuota(**options)  # type: ignore[arg-type]


def test_an_engine_that_counts_no_fuel_is_rejected() -> None:
    with (
        JavaScriptPortal(engine="quickjs", fuel_quota=FuelQuota(1)) as portal,
        pytest.raises(ConfigError, match="fuel_quota needs an engine that counts fuel, got quickjs"),
    ):
        portal.apply(JSFunction(SUM, "sum"))


@needs_wasm
@pytest.mark.parametrize("isolation", ["wasm", "wasm-process"])
def test_a_tenant_that_has_used_its_fuel_is_rejected_and_others_are_served(isolation: str) -> None:
    clock = Clock()
    sandbox = Sandbox(limits=Limits(time=30.0), isolation=isolation)  # type: ignore[arg-type]
    quota = FuelQuota(3_000_000, per=60.0, clock=clock)
    with JavaScriptPortal(engine="quickjs-wasm", sandbox=sandbox, fuel_quota=quota) as portal, Consumer() as consumer:
        address = portal.apply(JSFunction(SUM, "sum"))
        ann, bob = context("ann"), context("bob")
        assert consumer.call_at(address, {"n": 100}, context=ann) == 4950
        with pytest.raises(JavaScriptError) as caught:
            consumer.call_at(address, {"n": 10_000_000}, context=ann)
        assert caught.value.stage == "fuel"
        with pytest.raises(RateLimitError) as rejected:
            consumer.call_at(address, {"n": 100}, context=ann)
        assert rejected.value.retry_after > 0
        assert consumer.call_at(address, {"n": 100}, context=bob) == 4950
        clock.now += 60.0
        assert consumer.call_at(address, {"n": 100}, context=ann) == 4950


@needs_wasm
def test_the_bill_of_a_call_is_in_its_context_and_equal_for_equal_calls() -> None:
    sandbox = Sandbox(limits=Limits(time=30.0), isolation="wasm")
    with JavaScriptPortal(engine="quickjs-wasm", sandbox=sandbox) as portal, Consumer() as consumer:
        address = portal.apply(JSFunction(SUM, "sum"))
        bills = []
        for number in (1000, 1000, 2000):
            found = context(None)
            consumer.call_at(address, {"n": number}, context=found)
            bills.append(found.usage["fuel"])
        assert bills[0] == bills[1] < bills[2]
        assert portal.stats()["fuel"] == {"sum": sum(bills)}


@needs_wasm
@pytest.mark.parametrize("kind", [HTTPPortal, WebSocketPortal])
def test_over_a_transport_fuel_is_an_error_of_the_caller_and_a_metric_of_the_function(kind: Any) -> None:
    metrics, everything = CallMetrics(), [Identity("ann"), Identity("bob")]
    auth = BearerAuth({identity.name * 8: identity for identity in everything})
    sandbox = Sandbox(limits=Limits(time=30.0), isolation="wasm")
    quota = FuelQuota(3_000_000, per=60.0, clock=Clock())
    with (
        JavaScriptPortal(engine="quickjs-wasm", sandbox=sandbox, fuel_quota=quota) as js,
        kind(auth=auth, middleware=[Observe(metrics)]) as served,
        Consumer(auth="ann" * 8) as ann,
        Consumer(auth="bob" * 8) as bob,
    ):
        address = served.apply(js.resolve_function(js.apply(JSFunction(SUM, "sum"))))
        assert ann.call_at(address, {"n": 100}) == 4950
        with pytest.raises(JavaScriptError) as caught:
            ann.call_at(address, {"n": 10_000_000})
        assert caught.value.stage == "fuel"
        with pytest.raises(RateLimitError) as rejected:
            ann.call_at(address, {"n": 100})
        assert rejected.value.retry_after is not None
        assert bob.call_at(address, {"n": 100}) == 4950
        counted, (script,) = metrics.snapshot()["sum"], js.stats()["scripts"].values()
        assert counted.codes == {"ok": 2, "javascript_error": 1, "rate_limited": 1}
        assert counted.usage == {"fuel": js.stats()["fuel"]["sum"]}
        assert (script["calls"], script["failed"], script["fuel"]) == (4, {"fuel": 1}, counted.usage["fuel"])
        assert (script["engine"], script["isolation"], script["trust"]) == ("quickjs-wasm", "wasm", "untrusted")
