"""Special forms of typing and typing_extensions, and type variables."""

from __future__ import annotations

import typing
from collections import abc
from typing import Annotated, Any, Generic, Literal, ParamSpec, TypeVar, TypeVarTuple

import pytest
import typing_extensions

from portal.errors import ConfigError
from portal.schema.hints.forms import (
    form_name,
    is_typed_dict,
    qualifiers_of,
    substitute,
    variable_default,
    variables_of,
)

T = TypeVar("T")
S = TypeVar("S")
D = typing_extensions.TypeVar("D", default=None)
P = ParamSpec("P")
Ts = TypeVarTuple("Ts")


class Pair(Generic[T, S]):
    pass


class Calls(Generic[P]):
    pass


class Many(Generic[*Ts]):
    pass


class Listed(Generic[T, D]):
    pass


@pytest.mark.parametrize(
    ("form", "name"),
    [
        (typing.Required, "Required"),
        (typing_extensions.ReadOnly, "ReadOnly"),
        (typing_extensions.Self, "Self"),
        (typing.get_origin(typing_extensions.Unpack[tuple[int]]), "Unpack"),
        (int, ""),
        (Pair, ""),
        (None, ""),
    ],
)
def test_a_form_is_known_by_its_name(form: Any, name: str) -> None:
    assert form_name(form) == name


def test_typed_dicts_of_both_modules_are_known() -> None:
    assert is_typed_dict(typing.TypedDict("A", {"a": int}))
    assert is_typed_dict(typing_extensions.TypedDict("B", {"a": int}))
    assert not is_typed_dict(dict)
    assert not is_typed_dict({"a": 1})


def test_qualifiers_may_stand_in_any_order() -> None:
    hint = typing.Required[Annotated[typing_extensions.ReadOnly[int], "note"]]
    assert qualifiers_of(hint) == {"Required", "ReadOnly"}
    assert qualifiers_of(list[int]) == frozenset()


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        (T, int),
        (list[T], list[int]),
        (dict[str, list[T]], dict[str, list[int]]),
        (tuple[T, ...], tuple[int, ...]),
        (T | None, typing.Union[int, None]),  # noqa: UP007
        (Annotated[list[T], "a"], Annotated[list[int], "a"]),
        (Pair[T, S], Pair[int, S]),  # type: ignore[valid-type]
        (typing.Required[T], typing.Required[int]),
        (typing_extensions.ReadOnly[T], typing_extensions.ReadOnly[int]),
        (abc.Sequence[T], abc.Sequence[int]),
        (typing.List[T], list[int]),  # noqa: UP006
        (Literal["T"], Literal["T"]),
        (typing_extensions.Self, Pair),
        (list[typing_extensions.Self], list[Pair]),  # type: ignore[misc]
        (str, str),
    ],
)
def test_variables_are_replaced_at_any_depth(hint: Any, expected: Any) -> None:
    assert substitute(hint, {T: int, "Self": Pair}) == expected


def test_arguments_belong_to_the_variables_in_order() -> None:
    assert variables_of(Pair, (int, str)) == {T: int, S: str}
    assert variables_of(Pair, ()) == {}
    assert variables_of(Listed, (int,)) == {T: int, D: type(None)}
    assert variables_of(int, ()) == {}
    assert variable_default(D) is type(None)
    assert variable_default(T) is None


@pytest.mark.parametrize("kind", [Calls, Many])
def test_a_variable_for_several_types_is_rejected(kind: Any) -> None:
    with pytest.raises(ConfigError, match="stands for several types"):
        variables_of(kind, (int,))
