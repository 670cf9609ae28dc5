"""The calls of `test_every_portal.py` with the same functions in JavaScript: values and error classes are equal.

A function has the schema of its namesake in Python. It is published at js:// in each isolation, and from there over
HTTP and WebSocket.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from portal import (
    CallContext,
    CallTimeout,
    ConfigError,
    Consumer,
    FunctionError,
    HTTPPortal,
    JavaScriptError,
    JavaScriptPortal,
    JSFunction,
    Portal,
    RegistryError,
    Service,
    ValidationError,
    WebSocketPortal,
    function,
)
from portal.errors import PortalError
from portal.javascript import JSService, Limits, PoolSettings, Sandbox
from portal.javascript.engines.registry import find_engine

from . import test_every_portal as python

BASE64 = """
data => {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", bytes = [];
  let bits = 0, value = 0;
  for (const one of data.replace(/=/g, "")) {
    value = (value << 6) | alphabet.indexOf(one);
    if ((bits += 6) >= 8) bytes.push((value >> (bits -= 8)) & 255);
  }
  return new Uint8Array([...bytes, ...bytes]);
}
"""
CODE = {
    "add": "(a, b) => a + b",
    "count": "n => n",
    "same": "value => value",
    "greet": "(name, loud) => loud ? `hello ${name}`.toUpperCase() : `hello ${name}`",
    "total": "order => order.items.reduce((t, i) => t + (i.price ?? '1.50') * (i.quantity ?? 1), 0).toFixed(2)",
    "enlarge": "order => ({ customer: order.customer, items: [...order.items, { sku: 'gift' }].map(item => "
    "({ sku: item.sku, quantity: item.quantity ?? 1, price: item.price ?? '1.50' })), due: order.due ?? null })",
    "paint": "colour => colour === 'red' ? 'blue' : 'red'",
    "choose": "size => size",
    "later": "(moment, by) => new Date(Date.parse(moment) + 864e5)",
    "twice": BASE64,
    "ident": "key => key",
    "pair": "values => [values[1], values[0]]",
    "unique": "values => new Set(values).size",
    "maybe": "value => value",
    "short": "text => text",
    "nothing": "() => {}",
    "lookup": "(table, key) => table[key]",
    "fail": "text => { throw new Error('a private matter') }",
    "lies": "() => 'three'",
    "not_a_number": "() => NaN",
}
#: By id: engine, trust, isolation, and how it is reached.
PLACES = {
    "quickjs": ("quickjs", False, None, None),
    "quickjs-trusted": ("quickjs", True, None, None),
    "quickjs-wasm": ("quickjs-wasm", False, "wasm", None),
    "http": ("quickjs", True, None, HTTPPortal),
    "websocket": ("quickjs", True, None, WebSocketPortal),
}
#: A number of JavaScript cannot hold 10 ** 300. That bytes are base64 text is an annotation in JSON Schema, not a rule.
RESULTS = [row for row in python.RESULTS if row[0] in CODE and row[2] != 10**300]
REFUSALS = [row for row in python.REFUSALS if row[0] in CODE and row[0] != "twice"]


class Published:
    """The functions at one place."""

    def __init__(self, engine: str, trusted: bool, isolation: Any, remote: Any) -> None:
        if not find_engine(engine).is_available():
            pytest.skip(f"{engine} is not installed")
        pool = PoolSettings(min_size=1, max_size=4)
        sandbox = Sandbox("trusted", limits=Limits(time=60.0), pool=pool, isolation=isolation)
        self.js = JavaScriptPortal(engine=engine, sandbox=sandbox)
        self.trusted = trusted
        self.portal: Portal = self.js if remote is None else remote()
        self.portal.start()
        self.consumer = Consumer([self.portal])
        named = {one.__name__: one for one in python.FUNCTIONS}
        self.at = {name: self.publish(name, code, function(named[name]).schema) for name, code in CODE.items()}

    def publish(self, name: str, code: str, schema: Any = None) -> Any:
        address = self.js.apply(JSFunction(code, name, schema=schema, trusted=self.trusted))
        return address if self.portal is self.js else self.portal.apply(self.js.resolve_function(address))

    def close(self) -> None:
        for one in (self.consumer, self.portal, self.js):
            one.close()


@pytest.fixture(scope="module", params=PLACES.values(), ids=list(PLACES))
def published(request: pytest.FixtureRequest) -> Iterator[Published]:
    made = Published(*request.param)
    yield made
    made.close()


@pytest.mark.parametrize(("name", "params", "expected"), RESULTS)
def test_result(published: Published, name: str, params: dict[str, Any], expected: Any) -> None:
    result = published.consumer.call_at(published.at[name], params)
    assert result == expected
    assert isinstance(result, bool) is isinstance(expected, bool)


@pytest.mark.parametrize(("name", "params", "error", "path"), REFUSALS)
def test_an_error(published: Published, name: str, params: dict[str, Any], error: type[PortalError], path: str) -> None:
    with pytest.raises(PortalError) as caught:
        published.consumer.call_at(published.at[name], params)
    if error is ValidationError:
        assert type(caught.value) is error
        assert any(path in fault.path or path in fault.message for fault in caught.value.errors)
    else:
        assert isinstance(caught.value, JavaScriptError | FunctionError)


def test_several_faults_are_reported_together(published: Published) -> None:
    with pytest.raises(ValidationError) as caught:
        published.consumer.call_at(published.at["add"], {"a": "x", "c": 1})
    assert len(caught.value.errors) == 3


def test_the_parameters_of_the_caller_are_not_changed(published: Published) -> None:
    value = {"a": [1]}
    address = published.publish("spoils", "p => { p.value.a.push(2); p.value = 3; return p.value }")
    assert published.consumer.call_at(address, {"value": value}) == 3
    assert value == {"a": [1]}


def test_an_unknown_function_and_a_removed_one(published: Published) -> None:
    with pytest.raises(RegistryError) as caught:
        published.consumer.call_at(published.portal.generate_address("nobody"), {})
    assert caught.value.kind == "not_found"
    gone = published.publish("gone", "() => 1")
    assert published.consumer.call_at(gone, {}) == 1
    published.portal.remove(gone)
    with pytest.raises(RegistryError):
        published.consumer.call_at(gone, {})


def test_by_name_and_version(published: Published) -> None:
    for metadata in (None, {"version": "1"}):
        address = published.portal.generate_address("add", metadata)
        assert published.consumer.call_at(address, {"a": 1, "b": 2}) == 3
    with pytest.raises(RegistryError):
        published.consumer.call_at(published.portal.generate_address("add", {"version": "2"}), {"a": 1, "b": 2})


def test_a_deadline(published: Published) -> None:
    address = published.publish("loop", "() => { for (;;); }")
    with pytest.raises(CallTimeout):
        published.consumer.call_at(address, {}, timeout=0.1)
    with pytest.raises(CallTimeout):
        published.consumer.call_at(address, {}, timeout=60, context=CallContext.for_call(timeout=0.1))
    assert published.consumer.call_at(published.at["add"], {"a": 1, "b": 2}) == 3


def test_the_request_id_of_an_error(published: Published) -> None:
    with pytest.raises(JavaScriptError) as caught:
        published.consumer.call_at(published.at["fail"], {"text": "x"}, context=CallContext(request_id="req-7"))
    assert caught.value.request_id == "req-7"


def test_a_result_is_loaded_into_a_type(published: Published) -> None:
    order = published.consumer.call_at(published.at["enlarge"], {"order": python.ORDER}, returns=python.Order)
    assert order.items[-1] == python.Item("gift")


def test_concurrent_calls(published: Published) -> None:
    calls = [{"a": n, "b": n} for n in range(50)]
    assert list(published.consumer.map_at(published.at["add"], calls)) == [2 * n for n in range(50)]
    futures = [published.consumer.submit_at(published.at["count"], {"n": n}) for n in range(20)]
    assert [future.result(60) for future in futures] == list(range(20))


def test_a_duplicate_name_is_rejected(published: Published) -> None:
    with pytest.raises(RegistryError) as caught:
        published.publish("add", "p => 1", {"input": {"type": "object"}})
    assert caught.value.kind == "conflict"


def test_an_integer_that_a_number_cannot_hold(published: Published) -> None:
    with pytest.raises(ValidationError, match="cannot hold this integer exactly"):
        published.consumer.call_at(published.at["same"], {"value": 10**300})


def test_a_service(published: Published) -> None:
    rules = [JSFunction(CODE[name], name, trusted=published.trusted) for name in ("add", "same")]
    address = published.js.apply_service(JSService("rules", rules))
    assert address.segments[-1] == "rules"
    with Consumer([published.js]) as consumer:
        assert consumer.call_at(published.js.generate_address("add", {"service": "rules"}), {"a": 1, "b": 2}) == 3
        published.js.replace("rules/add", "(a, b) => a * b")
        assert consumer.call_at("js://rules/add", {"a": 3, "b": 4}) == 12
    published.js.remove(address)
    with pytest.raises(ConfigError, match="a JSService"):
        published.js.apply_service(Service("python", [python.add]))
