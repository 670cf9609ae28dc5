from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from portal import Identity, LocalPortal
from portal import function as make
from portal.auth.scopes import RequireScopes
from portal.calls.middleware import Call, build_chain
from portal.context import CallContext
from portal.errors import AuthenticationError, AuthorizationError, ConfigError


@make
def refund(n: int = 0) -> int:
    return n


@make(version="2")
def look(n: int = 0) -> int:
    return n


class Grouped(Call):
    """A call that knows its group."""

    __slots__ = ("group",)

    def __init__(self, group: str, *args: Any) -> None:
        super().__init__(*args)
        self.group = group


def call_of(function: Any, scopes: Iterable[str] | None, group: str | None = None) -> Call:
    identity = None if scopes is None else Identity("ann", frozenset(scopes))
    context = CallContext(identity=identity)
    return Call(function, {}, context) if group is None else Grouped(group, function, {}, context)


def run(rule: RequireScopes, call: Call) -> Any:
    return build_chain([rule], lambda call: "done")(call)


RULE = RequireScopes(
    "portal", functions={"refund": ["orders:write", "money"]}, groups={"billing": ["billing"], "open": []}
)
ONE = RequireScopes(functions={"refund": ["money"]})

# rule, function, scopes (None: no identity), group, missing scopes (None: none)
CASES: list[tuple[RequireScopes, Any, list[str] | None, str | None, list[str] | None]] = [
    (RULE, look, ["portal"], None, None),
    (RULE, look, ["portal", "more"], "", None),
    (RULE, look, [], None, ["portal"]),
    (RULE, look, ["Portal"], None, ["portal"]),
    (RULE, refund, ["portal", "orders:write", "money"], None, None),
    (RULE, refund, ["portal", "orders:write"], None, ["money"]),
    (RULE, refund, ["orders"], None, ["money", "orders:write", "portal"]),
    (RULE, look, ["portal", "billing"], "billing", None),
    (RULE, look, ["portal"], "billing", ["billing"]),
    (RULE, look, ["portal"], "open", None),
    (RULE, look, ["portal"], "unknown", None),
    (RULE, refund, ["billing"], "billing", ["money", "orders:write", "portal"]),
    (ONE, refund, ["money"], None, None),
    (ONE, refund, [], None, ["money"]),
    (ONE, look, [], None, None),
    (ONE, look, None, None, None),
    (RequireScopes(), refund, None, None, None),
]


@pytest.mark.parametrize(("rule", "function", "scopes", "group", "missing"), CASES)
def test_who_may_call(
    rule: RequireScopes, function: Any, scopes: list[str] | None, group: str | None, missing: list[str] | None
) -> None:
    call = call_of(function, scopes, group)
    if missing is None:
        assert run(rule, call) == "done"
        return
    with pytest.raises(AuthorizationError) as refusal:
        run(rule, call)
    assert refusal.value.status == 403
    assert refusal.value.context["missing_scopes"] == missing
    assert refusal.value.request_id == call.context.request_id
    assert str(refusal.value).endswith(", ".join(missing))


@pytest.mark.parametrize(("rule", "function"), [(RULE, look), (RULE, refund), (ONE, refund)])
def test_a_call_without_an_identity(rule: RequireScopes, function: Any) -> None:
    with pytest.raises(AuthenticationError, match="requires a credential") as refusal:
        run(rule, call_of(function, None))
    assert refusal.value.context["operation"] == function.name


def test_a_scope_that_is_not_text_is_no_match() -> None:
    with pytest.raises(AuthorizationError):
        run(RULE, call_of(look, ["por", "tal"]))


def test_in_a_portal() -> None:
    with LocalPortal(middleware=[RequireScopes(functions={"refund": ["money"]})]) as portal:
        address = portal.apply(refund)
        called = portal.resolve_function(address)
        with pytest.raises(AuthenticationError):
            called(n=1)
        with CallContext(identity=Identity("ann", frozenset({"money"}))).active():
            assert called(n=2) == 2
        with CallContext(identity=Identity("bob")).active(), pytest.raises(AuthorizationError):
            called(n=3)


@pytest.mark.parametrize(
    ("construct", "path"),
    [
        (lambda: RequireScopes("two words"), "scopes"),
        (lambda: RequireScopes(""), "scopes"),
        (lambda: RequireScopes('"'), "scopes"),
        (lambda: RequireScopes(1), "scopes"),  # type: ignore[arg-type]
        (lambda: RequireScopes(["a"]), "scopes"),  # type: ignore[arg-type]
        (lambda: RequireScopes(functions={"refund": "money"}), "scopes.functions.refund"),
        (lambda: RequireScopes(functions={"refund": None}), "scopes.functions.refund"),  # type: ignore[dict-item]
        (lambda: RequireScopes(functions=["refund"]), "scopes.functions"),  # type: ignore[arg-type]
        (lambda: RequireScopes(functions={1: ["a"]}), "scopes.functions"),  # type: ignore[dict-item]
        (lambda: RequireScopes(groups={"": ["a"]}), "scopes.groups"),
        (lambda: RequireScopes(groups={"a": {"b": 1}}), "scopes.groups.a"),
    ],
)
def test_wrong_settings(construct: Callable[[], Any], path: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        construct()
    assert refusal.value.path == path
    assert refusal.value.expected


def test_a_name_with_a_slash_is_rejected() -> None:
    with pytest.raises(ConfigError, match='names without "/"'):
        RequireScopes(functions={"shop/place": ["orders"]})
    with pytest.raises(ConfigError, match='names without "/"'):
        RequireScopes(groups={"shop/place": ["orders"]})
