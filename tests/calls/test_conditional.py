from __future__ import annotations

from typing import Any

import pytest

from portal import LocalPortal, function
from portal.calls.conditional import OnlyFor
from portal.calls.middleware import Call, CallNext, build_chain
from portal.context import CallContext
from portal.errors import ConfigError


@function
def add(a: int, b: int) -> int:
    return a + b


class Mark:
    def __init__(self) -> None:
        self.seen = 0
        self.closed = False

    def __call__(self, call: Call, call_next: CallNext) -> Any:
        self.seen += 1
        return call_next(call)

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
        ({"predicate": lambda call: call.params["a"] == 1}, "", True),
        ({"predicate": lambda call: call.params["a"] == 2}, "", False),
        ({"functions": ["add"], "predicate": lambda call: False}, "", False),
        ({"functions": ["sub"], "predicate": lambda call: True}, "", False),
    ],
)
def test_conditions(condition: dict[str, Any], group: str, applies: bool) -> None:
    mark = Mark()
    call = Call(add, {"a": 1, "b": 2}, CallContext())
    call.group = group
    chain = build_chain([OnlyFor(mark, **condition)], lambda call: "answer")
    assert chain(call) == "answer"
    assert mark.seen == applies


@pytest.mark.parametrize(
    ("middleware", "settings", "path"),
    [
        ("name", {"functions": ["add"]}, "only_for.middleware"),
        (Mark(), {}, "only_for.condition"),
        (Mark(), {"functions": []}, "only_for.functions"),
        (Mark(), {"functions": [""]}, "only_for.functions"),
        (Mark(), {"functions": 3}, "only_for.functions"),
        (Mark(), {"predicate": "no"}, "only_for.predicate"),
    ],
)
def test_wrong_settings(middleware: Any, settings: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        OnlyFor(middleware, **settings)
    assert caught.value.path == path
    assert caught.value.expected


def test_it_closes_what_it_holds() -> None:
    mark = Mark()
    OnlyFor(mark, "add").close()
    assert mark.closed
    OnlyFor(lambda call, call_next: None, "add").close()


def test_in_a_portal_the_first_is_outermost() -> None:
    order: list[str] = []

    def noted(word: str) -> Any:
        def middleware(call: Call, call_next: CallNext) -> Any:
            order.append(word)
            result = call_next(call)
            order.append(f"/{word}")
            return result

        return middleware

    layers = [noted("a"), OnlyFor(noted("b"), ["add"]), OnlyFor(noted("c"), ["other"]), noted("d")]
    with LocalPortal(middleware=layers) as portal:
        assert portal.resolve_function(portal.apply(add))(a=1, b=2) == 3
    assert order == ["a", "b", "d", "/d", "/b", "/a"]
