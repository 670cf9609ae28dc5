from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from portal import (
    AddressError,
    CallTimeout,
    ConfigError,
    Consumer,
    FunctionError,
    HTTPPortal,
    JavaScriptError,
    JavaScriptPortal,
    JSFunction,
    ProtocolError,
    RegistryError,
    ValidationError,
)
from portal.javascript import Limits, Sandbox
from tests.support.javascript import open_files
from tests.support.thread_list import new_threads

LIMITS = Limits(time=10.0)
SUM = {
    "input": {
        "type": "object",
        "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
        "required": ["a", "b"],
        "additionalProperties": False,
    },
    "output": {"type": "number"},
}
ADD = JSFunction("function add(a, b) { return a + b }", "add", schema=SUM)
FAILS = "function fails(p) {\n  throw new TypeError('no ' + p.what);\n}"


@pytest.fixture(scope="module")
def js() -> Iterator[JavaScriptPortal]:
    files, threads = open_files(), threading.enumerate()
    with JavaScriptPortal(sandbox=Sandbox("trusted", limits=LIMITS)) as portal:
        yield portal
    portal.close()
    assert open_files() <= files  # other tests may leave files to the garbage collector
    assert new_threads(threads) == []


@pytest.fixture
def consumer(js: JavaScriptPortal) -> Iterator[Consumer]:
    with Consumer([js]) as found:
        yield found


@pytest.fixture(autouse=True)
def _remove_functions(js: JavaScriptPortal) -> Iterator[None]:
    yield
    for address in list(js.functions()):
        js.remove(address)


def test_a_function_has_an_address_with_its_engine(js: JavaScriptPortal, consumer: Consumer) -> None:
    address = js.apply(ADD)
    assert str(address) == f"js://quickjs/add/{ADD.schema.fingerprint}"
    for where in (address, "js://quickjs/add", "js://add", "js://add@1", f"js://add/{ADD.schema.fingerprint}"):
        assert consumer.call_at(where, {"a": 1, "b": 2}) == 3
    assert consumer.resolve(address)(1, b=0.5) == 1.5
    assert js.generate_address("later") == js.generate_address("later", {})
    assert str(js.generate_address("later")) == "js://later"


def test_engine_isolation_and_trust_are_in_the_schema_and_in_health(js: JavaScriptPortal) -> None:
    address = js.apply(ADD)
    tags = js.functions()[address].tags
    assert tags[:4] == ("javascript", "quickjs", "process", "untrusted")
    assert tags[4] == f"sha256:{ADD.code_hash[:16]}"
    health = js.health()
    assert health["scripts"]["add"] == {
        "engine": "quickjs",
        "isolation": "process",
        "trust": "untrusted",
        "code": ADD.code_hash,
    }
    (engine,) = [row for row in health["engines"] if row["isolation"] == "process"]
    assert engine["stopped"] == {"loop": "timeout", "hog": "memory", "recursion": "stack"}
    stats = js.stats()
    assert stats["engines"]["quickjs/process"]["children"] >= 1
    place = {"engine": "quickjs", "isolation": "process", "trust": "untrusted"}
    assert stats["scripts"] == {"add@1": place | {"calls": 0, "failed": {}, "fuel": 0}}


def test_trusted_code_keeps_its_state_and_untrusted_code_does_not(js: JavaScriptPortal, consumer: Consumer) -> None:
    code = "var n = 0; function count() { return ++n }"
    warm = js.apply(JSFunction(code, "count", trusted=True))
    fresh = js.apply(JSFunction(code, "count", version="2"))
    assert [consumer.call_at(warm, {}) for _ in range(3)] == [1, 2, 3]
    assert [consumer.call_at(fresh, {}) for _ in range(3)] == [1, 1, 1]


def test_errors(js: JavaScriptPortal, consumer: Consumer) -> None:
    fails = js.apply(JSFunction(FAILS, "fails"))
    with pytest.raises(JavaScriptError) as caught:
        consumer.call_at(fails, {"what": "way"})
    error = caught.value
    assert error.message == "fails: TypeError: no way"
    assert (error.stage, error.line, error.column) == ("execute", 2, 31)
    assert error.js_stack == "at fails (<input>:2:31)"
    assert error.__cause__ is None
    assert error.request_id
    with pytest.raises(ValidationError):
        consumer.call_at(js.apply(ADD), {"a": "1"})
    with pytest.raises(FunctionError):
        consumer.call_at(js.apply(JSFunction("() => 'x'", "text", schema=SUM)), {"a": 1, "b": 1})
    with pytest.raises(ProtocolError):
        consumer.stream_at(fails, {})


@pytest.mark.parametrize("trusted", [False, True])
def test_the_deadline_of_the_caller_and_of_the_function(
    js: JavaScriptPortal, consumer: Consumer, trusted: bool
) -> None:
    loop = "() => { for (;;) {} }"
    forever = js.apply(JSFunction(loop, "forever", trusted=trusted))
    with pytest.raises(CallTimeout):
        consumer.call_at(forever, {}, timeout=0.05)
    with pytest.raises(CallTimeout):
        consumer.call_at(js.apply(JSFunction(loop, "short", timeout=0.05, trusted=trusted)), {})


def test_many_calls_at_a_time(js: JavaScriptPortal, consumer: Consumer) -> None:
    address = js.apply(ADD)
    calls = [{"a": n, "b": n} for n in range(40)]
    assert list(consumer.map_at(address, calls, max_in_flight=4)) == [2 * n for n in range(40)]


def test_other_code_under_the_same_address(js: JavaScriptPortal, consumer: Consumer) -> None:
    address = js.apply(ADD)
    assert js.replace("add", "(a, b) => a - b") == address
    assert consumer.call_at(address, {"a": 5, "b": 2}) == 3
    assert f"sha256:{ADD.code_hash[:16]}" not in js.functions()[address].tags
    with pytest.raises(JavaScriptError) as caught:
        js.replace(str(address), "(a, b) => {")
    assert caught.value.stage == "syntax"
    with pytest.raises(JavaScriptError, match="there is no function"):
        js.replace("add", "let nothing = 1")
    assert consumer.call_at(address, {"a": 5, "b": 2}) == 3
    assert js.rollback("add") == address
    assert consumer.call_at(address, {"a": 5, "b": 2}) == 7
    for unknown in (lambda: js.rollback("add"), lambda: js.rollback("none"), lambda: js.replace("none", "x")):
        with pytest.raises(RegistryError):
            unknown()


def test_a_running_portal_loads_the_code_before_it_publishes(js: JavaScriptPortal) -> None:
    with pytest.raises(JavaScriptError) as caught:
        js.apply(JSFunction("function broken( {", "broken"))
    assert caught.value.stage == "syntax"
    assert js.functions() == {}


def test_over_http_it_is_a_function_like_any_other(js: JavaScriptPortal) -> None:
    add, fails = js.apply(ADD), js.apply(JSFunction(FAILS, "fails"))
    loop = js.apply(JSFunction("() => { for (;;) {} }", "loop"))
    with HTTPPortal() as http, Consumer() as consumer:
        there = http.apply(js.resolve_function(add))
        assert there.segments[1:] == add.segments[1:]
        assert consumer.call_at(there, {"a": 1, "b": 2}) == 3
        with pytest.raises(ValidationError):
            consumer.call_at(there, {"a": 1})
        with pytest.raises(JavaScriptError) as caught:
            consumer.call_at(http.apply(js.resolve_function(fails)), {"what": "way"})
        assert (caught.value.stage, caught.value.line, caught.value.column) == ("execute", 2, 31)
        assert "no way" in caught.value.message
        with pytest.raises(CallTimeout):
            consumer.call_at(http.apply(js.resolve_function(loop)), {}, timeout=0.1)
        js.replace("add", "(a, b) => 10 * a + b")
        assert consumer.call_at(there, {"a": 1, "b": 2}) == 12


def test_addresses_of_another_engine_or_scheme(js: JavaScriptPortal, monkeypatch: pytest.MonkeyPatch) -> None:
    address = js.apply(ADD)
    monkeypatch.setattr("portal.javascript.portal.engine_names", lambda: ["other", "quickjs"])
    with pytest.raises(RegistryError, match="runs on quickjs, got other"):
        js.resolve_function("js://other/add")
    with pytest.raises(AddressError):
        js.resolve_function("local://add")
    js.remove(address)
    with pytest.raises(RegistryError):
        js.resolve_function(address)


def test_what_is_rejected(js: JavaScriptPortal) -> None:
    with pytest.raises(ConfigError, match="must be a JSFunction"):
        js.apply(print)
    with pytest.raises(ConfigError, match="at most 10"):
        js.apply(JSFunction("() => 1", "f", timeout=11.0))
    with pytest.raises(ConfigError, match='trusted=True needs JavaScriptPortal\\(sandbox="trusted"\\)'):
        JavaScriptPortal().apply(JSFunction("() => 1", "f", trusted=True))
    for wrong in ("netscape", 3):
        with pytest.raises(ConfigError):
            JavaScriptPortal(engine=wrong)  # type: ignore[arg-type]


def test_applying_starts_nothing_and_stopping_ends_the_children() -> None:
    threads = threading.enumerate()
    portal = JavaScriptPortal()
    address = portal.apply(ADD)
    assert (new_threads(threads), portal.stats()["engines"]) == ([], {})
    with Consumer([portal]) as consumer:
        assert consumer.call_at(address, {"a": 1, "b": 1}) == 2
        portal.stop()
        assert portal.stats()["engines"] == {}
        assert consumer.call_at(address, {"a": 1, "b": 1}) == 2
        portal.close()
        with pytest.raises(JavaScriptError, match="closed"):
            consumer.call_at(address, {"a": 1, "b": 1})
    assert new_threads(threads) == []
