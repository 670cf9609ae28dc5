"""Members from a peer: a value of the right type is kept; any other value becomes the default."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import pytest

from portal.errors import (
    AddressError,
    CallTimeout,
    ConsumerError,
    FunctionError,
    JavaScriptError,
    PortalError,
    RateLimitError,
    RegistryError,
)
from portal.errors.members import member_from_json

NAMES = ("text", "whole", "ratio", "flag", "none", "items", "pair", "names", "table", "rows", "either", "free", "when")


class Typed:
    def __init__(
        self,
        text: str = "t",
        whole: int = 1,
        ratio: float = 0.5,
        flag: bool = False,
        none: None = None,
        items: list[int] | None = None,
        pair: tuple[int, ...] = (0,),
        names: frozenset[str] = frozenset(),
        table: Mapping[str, int] | None = None,
        rows: Iterable[Mapping[str, Any]] = (),
        either: int | str | None = None,
        free: Any = None,
        when: date | None = None,
        *rest: Sequence[int],
    ) -> None: ...


class Unresolved:
    def __init__(self, item: NotDefined = 3) -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("name", "sent", "kept"),
    [
        *[("text", value, value) for value in ("", "a")],
        *[("text", value, "t") for value in (1, None, True, ["a"], {})],
        *[("whole", value, 1) for value in (1.0, True, "1", None)],
        ("whole", 7, 7),
        *[("ratio", value, value) for value in (2, 2.5)],
        *[("ratio", value, 0.5) for value in (True, float("nan"), float("inf"), "2")],
        ("flag", True, True),
        ("flag", 1, False),
        ("none", 5, None),
        ("items", [1], [1]),
        ("items", "ab", None),
        ("pair", [1, 2], (1, 2)),
        ("pair", 3, (0,)),
        ("names", ["a", "a"], frozenset(("a",))),
        ("names", [["a"]], frozenset()),
        ("table", {"a": 1}, {"a": 1}),
        ("table", [1], None),
        ("rows", [{}], [{}]),
        ("rows", {}, ()),
        ("either", "a", "a"),
        ("either", 1, 1),
        ("either", 1.5, None),
        ("free", object, object),
        ("when", "2026-01-01", "2026-01-01"),
        ("unknown", 5, 5),
    ],
)
def test_a_member_from_a_peer(name: str, sent: object, kept: object) -> None:
    found = member_from_json(Typed, name, {name: sent})
    assert found == kept
    assert type(found) is type(kept)


@pytest.mark.parametrize("name", NAMES)
def test_an_absent_member_is_the_default(name: str) -> None:
    defaults = dict(zip(NAMES, Typed.__init__.__defaults__ or (), strict=True))
    assert member_from_json(Typed, name, {}) == defaults[name]
    assert member_from_json(Typed, "unknown", {}) is None


def test_hints_that_cannot_be_resolved_are_not_checked() -> None:
    assert member_from_json(Unresolved, "item", {"item": ["x"]}) == ["x"]
    assert member_from_json(Unresolved, "item", {}) == 3


def test_common_members_of_the_wrong_type_become_defaults() -> None:
    data: dict[str, Any] = {
        "code": "address_error",
        "message": ["m"],
        "position": "3",
        "reason": 4,
        "scheme": 5,
        "address": {},
        "retryable": "yes",
        "delivery": "maybe",
        "hint": 1,
        "stack": 2,
        "status": True,
        "context": 3,
    }
    error = PortalError.from_dict(data)
    assert isinstance(error, AddressError)
    assert (error.position, error.reason, error.message, error.scheme, error.address) == (None, "", "", None, None)
    assert (error.retryable, error.delivery, error.hint, error.stack, error.status) == (False, None, "", None, 400)
    assert error.context == {}
    assert type(PortalError.from_dict({"code": ["a"]})) is PortalError
    assert PortalError.from_dict({"code": ["a"]}).code == "portal_error"


@pytest.mark.parametrize(
    ("code", "member", "sent", "kept"),
    [
        ("registry_error", "kind", None, "not_found"),
        ("function_error", "type", 5, ""),
        ("function_error", "errors", "abc", ()),
        ("rate_limited", "retry_after", -1, None),
        ("rate_limited", "retry_after", 1e300, None),
        ("rate_limited", "retry_after", True, None),
        ("rate_limited", "retry_after", 2, 2),
        ("timeout", "timeout", "2", None),
        ("javascript_error", "line", "2", None),
        ("consumer_error", "attempts", [{"a": 1}, 2], [{"a": 1}]),
        ("consumer_error", "attempts", 5, []),
    ],
)
def test_members_of_the_public_classes(code: str, member: str, sent: object, kept: object) -> None:
    error = PortalError.from_dict({"code": code, member: sent})
    assert isinstance(
        error, RegistryError | FunctionError | RateLimitError | CallTimeout | JavaScriptError | ConsumerError
    )
    assert getattr(error, member) == kept
