"""JavaScript functions of an application: a discount calculator, an order validator, scripts that call functions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from portal import (
    CallTimeout,
    Consumer,
    FunctionError,
    HTTPPortal,
    JavaScriptError,
    JavaScriptPortal,
    JSFunction,
    LocalPortal,
    RateLimitError,
    ValidationError,
    WebSocketPortal,
)
from portal.javascript import Grant, HostAPI, Limits, Sandbox, Scratch

LIMITS = Limits(time=20.0)
DISCOUNT = """
const RATES = new Map([['bronze', 0.05], ['silver', 0.1], ['gold', 0.15], ['platinum', 0.2]]);

export default function discount({ amount, tier, code }) {
  let rate = RATES.get(tier) ?? 0;
  if (amount > 1000) rate += 0.05;
  let total = amount * (1 - rate);
  if (code === 'SAVE20') total -= amount * 0.2;
  return { total: Math.round(total * 100) / 100 };
}
"""
DISCOUNT_SCHEMA = {
    "input": {
        "type": "object",
        "properties": {"amount": {"type": "number"}, "tier": {"type": "string"}, "code": {"type": "string"}},
        "required": ["amount", "tier"],
        "additionalProperties": False,
    },
    "output": {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]},
}
VALIDATE = """
function validate({ items, customer }) {
  const errors = [];
  if (!customer?.email?.includes('@')) errors.push('the email is invalid');
  if (!items.length) errors.push('there are no items');
  items.forEach((item, i) => { if (item.quantity < 1) errors.push(`item ${i + 1}: the quantity is too small`) });
  const total = items.reduce((sum, { price, quantity }) => sum + price * quantity, 0);
  return { valid: errors.length === 0, errors, total: Math.round(total * 100) / 100 };
}
"""
ORDER = {
    "customer": {"email": "ann@shop.example"},
    "items": [{"price": 19.99, "quantity": 2}, {"price": 35.5, "quantity": 1}],
}
HOW = ("js", "http", "ws")


class Shop:
    """The functions at js://, and the same ones at http:// and ws://."""

    def __init__(self) -> None:
        self.js = JavaScriptPortal(sandbox=Sandbox(limits=LIMITS))
        self.http, self.ws = HTTPPortal(), WebSocketPortal()
        self.consumer = Consumer()
        self.addresses: dict[tuple[str, str], str] = {}
        self.publish(JSFunction(DISCOUNT, "discount", schema=DISCOUNT_SCHEMA))
        self.publish(JSFunction(VALIDATE, "validate"))
        self.publish(JSFunction("() => { for (;;) {} }", "loop"))
        self.publish(JSFunction("function fails() { throw new RangeError('far') }", "fails"))
        for portal in (self.js, self.http, self.ws):
            portal.start()

    def publish(self, function: JSFunction) -> None:
        address = self.js.apply(function)
        resolved = self.js.resolve_function(address)
        for how, where in (("js", address), ("http", self.http.apply(resolved)), ("ws", self.ws.apply(resolved))):
            self.addresses[function.name, how] = str(where)

    def call(self, name: str, how: str, params: dict[str, Any], **options: Any) -> Any:
        return self.consumer.call_at(self.addresses[name, how], params, **options)

    def close(self) -> None:
        for one in (self.consumer, self.http, self.ws, self.js):
            one.close()


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    made = Shop()
    yield made
    made.close()


@pytest.mark.parametrize("how", HOW)
class TestPlugIn:
    @pytest.mark.parametrize(
        ("params", "total"),
        [
            ({"tier": "bronze", "amount": 100}, 95),
            ({"tier": "gold", "amount": 1500}, 1200),
            ({"tier": "platinum", "amount": 2000, "code": "SAVE20"}, 1100),
            ({"tier": "none", "amount": 10}, 10),
        ],
    )
    def test_the_discount_calculator(self, shop: Shop, how: str, params: dict[str, Any], total: float) -> None:
        assert shop.call("discount", how, params) == {"total": total}

    def test_parameters_are_validated_first(self, shop: Shop, how: str) -> None:
        with pytest.raises(ValidationError):
            shop.call("discount", how, {"tier": 1, "amount": 1})

    def test_the_order_validator(self, shop: Shop, how: str) -> None:
        assert shop.call("validate", how, ORDER) == {"valid": True, "errors": [], "total": 75.48}
        bad = {"customer": {"email": "ann"}, "items": [{"price": 1, "quantity": 0}]}
        found = shop.call("validate", how, bad)
        assert found["valid"] is False
        assert found["errors"] == ["the email is invalid", "item 1: the quantity is too small"]

    def test_errors_and_timeouts_come_as_themselves(self, shop: Shop, how: str) -> None:
        with pytest.raises(JavaScriptError) as caught:
            shop.call("fails", how, {})
        assert caught.value.stage == "execute"
        assert "RangeError: far" in caught.value.message
        with pytest.raises(CallTimeout):
            shop.call("loop", how, {}, timeout=0.1)
        assert shop.call("discount", how, {"tier": "bronze", "amount": 100}) == {"total": 95}


def level(sku: str) -> int:
    if sku == "SLOW":
        raise RateLimitError("too many calls", retry_after=3)
    if sku == "BAD":
        raise ValueError("secret")
    return {"PEN": 3}[sku]


GATEWAY = """
async function order({ sku, quantity }) {
  const there = await portal.call('%s', { sku });
  await scratch.set('last', { sku, there });
  return { possible: there >= quantity, last: await scratch.get('last') };
}
"""


@pytest.mark.parametrize("trusted", [False, True])
def test_a_script_behind_a_gateway_calls_a_service_over_http(trusted: bool) -> None:
    with Consumer() as inner, Consumer() as client, HTTPPortal() as service, HTTPPortal() as gateway:
        stock = str(service.apply(level))
        host = HostAPI(grants=(Grant(stock, max_calls=1),), scratch=Scratch())
        sandbox = Sandbox("trusted", limits=LIMITS)
        with JavaScriptPortal(sandbox=sandbox, host=host, caller=inner.call_at) as js:
            script = js.apply(JSFunction(GATEWAY % stock, "order", trusted=trusted))
            address = gateway.apply(js.resolve_function(script))
            found = client.call_at(address, {"sku": "PEN", "quantity": 2})
            assert found == {"possible": True, "last": {"sku": "PEN", "there": 3}}
            with pytest.raises(RateLimitError) as caught:
                client.call_at(address, {"sku": "SLOW", "quantity": 1})
            assert caught.value.retry_after == 3
            with pytest.raises(FunctionError) as hidden:
                client.call_at(address, {"sku": "BAD", "quantity": 1})
            assert "secret" not in str(hidden.value)


@pytest.mark.parametrize("how", [HTTPPortal, WebSocketPortal])
def test_a_timeout_behind_a_gateway_comes_as_itself(how: Any) -> None:
    import threading

    release = threading.Event()

    def waits() -> int:
        release.wait(30.0)
        return 7

    with Consumer() as inner, Consumer() as client, HTTPPortal() as service, how() as gateway:
        slow = str(service.apply(waits))
        grants = (Grant(slow, timeout=0.2),)
        with JavaScriptPortal(sandbox=Sandbox(limits=LIMITS), host=HostAPI(grants=grants), caller=inner.call_at) as js:
            relay = gateway.apply(js.resolve_function(js.apply(JSFunction(f"() => portal.call('{slow}')", "relay"))))
            code = f"async () => {{ try {{ await portal.call('{slow}') }} catch (e) {{ return e.name }} }}"
            catches = gateway.apply(js.resolve_function(js.apply(JSFunction(code, "catches"))))
            try:
                with pytest.raises(CallTimeout):
                    client.call_at(relay, {}, timeout=30.0)
                assert client.call_at(catches, {}, timeout=30.0) == "CallTimeout"
            finally:
                release.set()


def test_the_deadline_of_the_caller_holds_for_what_a_script_calls() -> None:
    import threading

    release = threading.Event()

    def waits() -> int:
        release.wait(20.0)
        return 1

    with LocalPortal() as local, Consumer() as consumer:
        slow = str(local.apply(waits))
        host = HostAPI(grants=(Grant(slow),))
        with JavaScriptPortal(sandbox=Sandbox(limits=LIMITS), host=host, caller=consumer.call_at) as js:
            address = js.apply(JSFunction(f"() => portal.call('{slow}')", "relay"))
            with pytest.raises(CallTimeout):
                consumer.call_at(address, {}, timeout=0.2)
            release.set()
            assert consumer.call_at(address, {}) == 1


@pytest.mark.parametrize("trusted", [False, True])
def test_a_fixed_clock_and_seed_make_calls_equal(trusted: bool) -> None:
    code = (
        "() => [Date.now(), new Date().toISOString(), new Date(5).getTime(), new (new Date().constructor)().getTime(),"
        " Math.random(), crypto.randomUUID(), typeof performance]"
    )
    sandbox = Sandbox("trusted", limits=LIMITS)
    host = HostAPI(uuid=True, now=1.5, seed=7)
    with JavaScriptPortal(sandbox=sandbox, host=host) as js, Consumer([js]) as consumer:
        address = js.apply(JSFunction(code, "facts", trusted=trusted))
        first, second = (consumer.call_at(address, {}) for _ in range(2))
    assert first == second
    assert first[:4] == [1500, "1970-01-01T00:00:01.500Z", 5, 1500]
    assert first[6] == "undefined"
    with JavaScriptPortal(sandbox=sandbox, host=HostAPI(uuid=True)) as js, Consumer([js]) as consumer:
        address = js.apply(JSFunction("() => [crypto.randomUUID(), crypto.randomUUID()]", "ids", trusted=trusted))
        found = [one for _ in range(3) for one in consumer.call_at(address, {})]
    assert len(set(found)) == 6


def test_modules_of_the_host_are_for_the_functions_that_list_them() -> None:
    host = HostAPI(modules={"tax": "export const rate = 0.2; export default 7"})
    code = "import seven, { rate } from 'tax'; export default () => [seven, rate, require('tax').rate]"
    with JavaScriptPortal(sandbox=Sandbox(limits=LIMITS), host=host) as js, Consumer([js]) as consumer:
        address = js.apply(JSFunction(code, "uses", modules=["tax"]))
        assert consumer.call_at(address, {}) == [7, 0.2, 0.2]
        with pytest.raises(JavaScriptError, match="there is no module"):
            js.apply(JSFunction(code, "steals"))
