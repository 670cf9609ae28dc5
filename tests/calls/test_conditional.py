"""When: conditions on calls and on HTTP requests."""

from __future__ import annotations

from typing import Any

import pytest

from portal import LocalPortal, RateLimit, RequireScopes, When, function
from portal.calls.middleware import Call, CallNext, build_chain
from portal.context import CallContext
from portal.errors import ConfigError
from portal.http.middleware.base import build_http_chain
from portal.http.middleware.cors import CORS
from tests.support.http_messages import request_of, respond_with


@function
def add(a: int, b: int) -> int:
    return a + b


class Counting:
    def __init__(self) -> None:
        self.seen = 0
        self.closed = False

    def __call__(self, subject: Any, call_next: Any) -> Any:
        self.seen += 1
        return call_next(subject)

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("condition", "group", "applies"),
    [
        ({"functions": ["add"]}, "", True),
        ({"functions": "add"}, "", True),
        ({"functions": ["ad"]}, "", False),
        ({"functions": ["Add"]}, "", False),
        ({"functions": ["x", "a*"]}, "", True),
        ({"functions": ["a?d"]}, "billing", True),
        ({"functions": ["billing/add"]}, "billing", True),
        ({"functions": ["billing/*"]}, "billing", True),
        ({"functions": ["billing/*"]}, "", False),
        ({"functions": ["billing/*"]}, "users", False),
        ({"functions": ["b*add"]}, "billing", False),
        ({"if_": lambda call: call.params["a"] == 1}, "", True),
        ({"if_": lambda call: call.params["a"] == 2}, "", False),
        ({"functions": ["add"], "if_": lambda call: False}, "", False),
        ({"functions": ["sub"], "if_": lambda call: True}, "", False),
    ],
)
def test_conditions_on_calls(condition: dict[str, Any], group: str, applies: bool) -> None:
    counting = Counting()
    call = Call(add, {"a": 1, "b": 2}, CallContext(), group=group)
    chain = build_chain([When(counting, **condition)], lambda call: "result")
    assert chain(call) == "result"
    assert counting.seen == applies


@pytest.mark.parametrize(
    ("condition", "target", "applies"),
    [
        ({"paths": "/api/add"}, "/api/add", True),
        ({"paths": "/api/add"}, "/api/add?x=1", True),
        ({"paths": "/api/add"}, "/api/add/", True),
        ({"paths": "/api/add/"}, "/api/add", True),
        ({"paths": "/api/add"}, "/api/add/3f2a9c51", True),
        ({"paths": "/api/add"}, "/api/add@2", True),
        ({"paths": "/api/add"}, "/api/add%402", True),
        ({"paths": "/api/add"}, "/api//add", True),
        ({"paths": "/api/add"}, "//api/%61dd", True),
        ({"paths": "/api/add"}, "/api/adder", False),
        ({"paths": "/api/add"}, "/api/ADD", False),
        ({"paths": "/api/add"}, f"/api/add/{'x' * 300}", True),
        ({"paths": "/api/add"}, "/api/add/a%0Ab", True),
        ({"paths": "/api/a.d"}, "/api/add", False),
        ({"paths": "/"}, "/anything", True),
        ({"paths": "/"}, "/", True),
        ({"paths": "/api/a*"}, "/api/add", True),
        ({"paths": "/api/*d"}, "/api/add/3f2a9c51", True),
        ({"paths": "/api/*d"}, "/api/adds", False),
        ({"paths": "*/add"}, "/api/users/add@1", True),
        ({"paths": "/api/[ab]dd"}, "/api/cdd", False),
        ({"paths": ["/api/sub", "/api/add"]}, "/api/add", True),
        ({"paths": ["/api/sub", "/api/mul"]}, "/api/add", False),
        ({"functions": "add"}, "/api/add", True),
        ({"functions": "add"}, "/api/%61dd@1", True),
        ({"functions": "add"}, "/api/sums/add/3f2a9c51", True),
        ({"functions": "add"}, "/api/add/x/y", False),
        ({"functions": "add"}, "/api/adder", False),
        ({"functions": "add"}, "/", False),
        ({"functions": "a*"}, "/api/adder", True),
        ({"functions": "*"}, "/", False),
        ({"functions": "sums/add"}, "/api/sums/add", True),
        ({"functions": ["sub", "sums/*"]}, "/api/sums/add/3f2a9c51", True),
        ({"functions": "sums/add"}, "/api/add", False),
        ({"methods": "post"}, "/api/add", True),
        ({"methods": ["get", "post"]}, "/api/add", True),
        ({"methods": "GET"}, "/api/add", False),
        ({"if_": lambda request: request.peer == "192.0.2.7"}, "/", True),
        ({"paths": "/api", "if_": lambda request: False}, "/api", False),
        ({"paths": "/api", "methods": ["PUT"]}, "/api", False),
    ],
)
def test_conditions_on_requests(condition: dict[str, Any], target: str, applies: bool) -> None:
    counting = Counting()
    response = build_http_chain([When(counting, **condition)], respond_with())(request_of(target=target))
    assert response.status == 200
    assert counting.seen == applies


@pytest.mark.parametrize(
    ("middleware", "settings", "path"),
    [
        ("name", {"functions": ["add"]}, "when.middleware"),
        (Counting, {"functions": ["add"]}, "when.middleware"),
        (Counting(), {}, "when"),
        (Counting(), {"functions": []}, "when.functions"),
        (Counting(), {"functions": [""]}, "when.functions"),
        (Counting(), {"functions": 3}, "when.functions"),
        (Counting(), {"paths": "api"}, "when.paths"),
        (Counting(), {"paths": ["/api", ""]}, "when.paths"),
        (Counting(), {"methods": ""}, "when.methods"),
        (Counting(), {"if_": "no"}, "when.if_"),
        (RateLimit("5/minute"), {"paths": "/api"}, "when.paths"),
        (RateLimit("5/minute"), {"methods": "GET"}, "when.methods"),
        (When(RateLimit("5/minute"), functions="add"), {"paths": "/api"}, "when.paths"),
    ],
)
def test_wrong_settings_are_rejected(middleware: Any, settings: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        When(middleware, **settings)
    assert caught.value.path == path
    assert caught.value.expected


@pytest.mark.parametrize(
    ("middleware", "condition", "around"),
    [
        (Counting(), {"functions": "add"}, None),
        (Counting(), {"paths": "/api"}, "request"),
        (Counting(), {"methods": "GET"}, "request"),
        (CORS("*"), {"functions": "add"}, "request"),
        (RateLimit("5/minute"), {"functions": "add"}, "call"),
        (When(CORS("*"), paths="/api"), {"if_": callable}, "request"),
    ],
)
def test_around_says_which_list_it_belongs_to(middleware: Any, condition: dict[str, Any], around: str | None) -> None:
    assert When(middleware, **condition).around == around


def test_named_has_the_names_without_patterns() -> None:
    layer = When(RequireScopes(functions={"refund": ["orders"]}), functions=["login", "billing/charge", "a*", "x/*"])
    assert layer.named == {"login", "billing", "charge", "refund"}
    assert When(Counting(), if_=callable).named == frozenset()


def test_it_closes_its_middleware() -> None:
    counting = Counting()
    When(counting, functions="add").close()
    assert counting.closed
    When(lambda call, call_next: None, functions="add").close()


def test_the_first_middleware_of_a_portal_is_outermost() -> None:
    order: list[str] = []

    def tracing(word: str) -> Any:
        def middleware(call: Call, call_next: CallNext) -> Any:
            order.append(word)
            result = call_next(call)
            order.append(f"/{word}")
            return result

        return middleware

    inner = [When(tracing("b"), functions=["add"]), When(tracing("c"), functions=["other"])]
    with LocalPortal(middleware=[tracing("a"), *inner, tracing("d")]) as portal:
        assert portal.resolve_function(portal.apply(add))(a=1, b=2) == 3
    assert order == ["a", "b", "d", "/d", "/b", "/a"]
