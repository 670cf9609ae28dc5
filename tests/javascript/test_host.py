from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from portal import CallContext, ConfigError, RateLimitError
from portal.javascript import EngineError, Grant, HostAPI, Scratch
from portal.javascript.host import CallHost


class Caller:
    """Records calls; returns or raises what it was given."""

    def __init__(self, outcome: Any = None) -> None:
        self.outcome = outcome
        self.calls: list[tuple[str, Any, CallContext]] = []

    def __call__(self, address: str, params: Any, *, context: CallContext) -> Any:
        self.calls.append((address, params, context))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def host_of(api: HostAPI, caller: Caller | None = None, context: CallContext | None = None) -> CallHost:
    return api.for_function(caller, "discount")(context or CallContext(request_id="r-1"))


def fails(action: Callable[[], object], words: str) -> None:
    with pytest.raises(EngineError, match=words) as caught:
        action()
    assert caught.value.stage == "host"


def test_a_line_of_the_console_is_logged_with_its_facts(caplog: pytest.LogCaptureFixture) -> None:
    host = host_of(HostAPI())
    with caplog.at_level(logging.DEBUG, "portal.javascript.console"):
        for level in ("debug", "log", "warn", "error"):
            assert host("log", json.dumps([level, "%s hi"])) == "null"
    assert [record.levelname for record in caplog.records] == ["DEBUG", "INFO", "WARNING", "ERROR"]
    assert {record.getMessage() for record in caplog.records} == {"discount: request_id=r-1: %s hi"}


@pytest.mark.parametrize("kind", ["call", "get", "set", "delete", "file", ""])
def test_nothing_else_is_granted_by_default(kind: str) -> None:
    fails(lambda: host_of(HostAPI(), Caller())(kind, '["a", {}]'), "not granted")
    assert HostAPI().options() == {}


def test_a_granted_call_inherits_the_context() -> None:
    caller = Caller({"level": 3})
    context = CallContext.for_call(60.0)
    context.watched = True
    host = host_of(HostAPI(grants=(Grant("local://stock", timeout=5.0),)), caller, context)
    assert json.loads(host("call", '["local://stock", {"sku": "PEN"}]')) == {"level": 3}
    ((address, params, nested),) = caller.calls
    assert (address, params, nested.parent, nested.watched) == ("local://stock", {"sku": "PEN"}, context, False)
    assert nested.remaining() is not None
    assert 0 < nested.remaining() <= 5.0  # type: ignore[operator]


def test_each_grant_has_a_quota_and_a_schema() -> None:
    caller = Caller(1)
    grants = (
        Grant("local://stock", max_calls=2, params={"type": "object", "required": ["sku"]}),
        Grant("http://shop.example/api/*", max_calls=1),
    )
    host = host_of(HostAPI(grants=grants), caller)
    fails(lambda: host("call", '["local://stock", {}]'), "sku")
    assert host("call", '["local://stock", {"sku": 1}]') == "1"
    fails(lambda: host("call", '["local://stock", {"sku": 1}]'), "at most 2 calls of local://stock")
    assert host("call", '["http://shop.example/api/add", {}]') == "1"
    fails(lambda: host("call", '["http://shop.example/api/add", {}]'), "at most 1 calls")
    fails(lambda: host("call", '["http://shop.example/other", {}]'), "not granted")
    fails(lambda: host("call", '["http://shop.example.evil/api/", {}]'), "not granted")
    assert len(caller.calls) == 2


@pytest.mark.parametrize("body", ["[]", "[1, {}]", '["local://stock", 3]', '["local://stock", {}, 1]', "{", '"x"'])
def test_wrong_arguments(body: str) -> None:
    fails(lambda: host_of(HostAPI(grants=(Grant("local://stock"),)), Caller())("call", body), ".")


def test_an_error_keeps_its_class_and_hides_what_is_private() -> None:
    from portal import FunctionError

    host = host_of(HostAPI(grants=(Grant("local://a"),)), Caller(RateLimitError("slow", retry_after=1)))
    fails(lambda: host("call", '["local://a", {}]'), "slow")
    assert isinstance((host.errors or {})["slow"], RateLimitError)
    host = host_of(HostAPI(grants=(Grant("local://a"),)), Caller(FunctionError("secret", private=True)))
    with pytest.raises(EngineError) as caught:
        host("call", '["local://a", {}]')
    assert "secret" not in caught.value.message
    fails(lambda: host_of(HostAPI(grants=(Grant("local://a"),)))("call", '["local://a", {}]'), "caller=")


def test_scratch_is_by_function_and_bounded() -> None:
    scratch = Scratch(max_entries=2, max_bytes=20)
    api = HostAPI(scratch=scratch)
    host, other = host_of(api), api.for_function(None, "other")(CallContext())
    assert host("get", '["a"]') == "null"
    host("set", '["a", {"b": 1}]')
    assert host("get", '["a"]') == '{"b":1}'
    assert other("get", '["a"]') == "null"
    host("set", '["c", 1]')
    fails(lambda: host("set", '["d", 1]'), "at most 2 keys")
    fails(lambda: host("set", '["a", "012345678901234567890"]'), "at most 20 characters")
    fails(lambda: host("get", "[1]"), "must be a string")
    host("delete", '["a"]')
    assert host("get", '["a"]') == "null"


def test_options_of_the_prelude() -> None:
    api = HostAPI(grants=(Grant("local://a"),), scratch=Scratch(), uuid=True, now=1.5, seed=7)
    assert api.options() == {"setup": True, "call": True, "scratch": True, "uuid": True, "now": 1500, "seed": 7}


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda: HostAPI(grants=("local://a",)), "host.grants"),  # type: ignore[arg-type]
        (lambda: HostAPI(grants=[Grant("local://a")]), "host.grants"),  # type: ignore[arg-type]
        (lambda: HostAPI(scratch={}), "host.scratch"),  # type: ignore[arg-type]
        (lambda: HostAPI(uuid=1), "host.uuid"),  # type: ignore[arg-type]
        (lambda: HostAPI(now="x"), "host.now"),  # type: ignore[arg-type]
        (lambda: HostAPI(seed=1.5), "host.seed"),  # type: ignore[arg-type]
        (lambda: HostAPI(modules=["m"]), "host.modules"),  # type: ignore[arg-type]
        (lambda: Grant(""), "grant.address"),
        (lambda: Grant("a", max_calls=0), "grant.max_calls"),
        (lambda: Grant("a", timeout=0), "grant.timeout"),
        (lambda: Scratch(max_entries=0), "scratch.max_entries"),
        (lambda: Scratch(max_bytes=0), "scratch.max_bytes"),
    ],
)
def test_wrong_settings(make: Callable[[], object], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert caught.value.path == path
