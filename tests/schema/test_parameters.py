"""Parameters: made from a signature or schema, loaded, dumped and bound."""

from __future__ import annotations

import functools
from datetime import date
from typing import Any

import pytest

from portal.context import CallContext
from portal.errors import ConfigError, ValidationError
from portal.schema import Parameters, Schema

_NOT_JSON = object()


def add(a: float, b: float) -> float:
    return a + b


def book(when: date, /, nights: int) -> None: ...


def order(name: str, count: int = 1, *, due: date | None = None, extra=None, marks: Any = _NOT_JSON) -> str:  # type: ignore[no-untyped-def]
    return name


def traced(context: CallContext | None, a: int) -> int:
    return a


def traced_twice(context: CallContext, a: int, other: CallContext | None = None) -> int:
    return a


class Shop:
    def sell(self, what: str) -> str:
        return what

    def __call__(self, count: int) -> int:
        return count


def takes_any_arguments(*args: int) -> None: ...


def takes_any_names(**kwargs: int) -> None: ...


def has_complex_hint(a: complex) -> None: ...


def has_unknown_hint(a: Absent) -> None: ...  # type: ignore[name-defined]  # noqa: F821


def test_the_schema_follows_the_signature() -> None:
    parameters = Parameters.of(order)
    assert parameters.names == ("name", "count", "due", "extra", "marks")
    json = parameters.schema.json
    assert list(json["properties"]) == list(parameters.names)
    assert json["required"] == ["name"]
    assert json["additionalProperties"] is False
    assert json["properties"]["count"] == {"type": "integer", "default": 1}
    assert json["properties"]["extra"] == {"default": None}
    assert "default" not in json["properties"]["marks"]
    assert parameters.defaults["count"] == 1
    assert repr(parameters) == "Parameters(name, count, due, extra, marks)"


def test_load_decodes_and_fills_defaults() -> None:
    parameters = Parameters.of(order)
    loaded = parameters.load({"name": "a", "due": "2024-01-31"})
    assert loaded == {**parameters.defaults, "name": "a", "due": date(2024, 1, 31)}
    assert Parameters.of(add).load({"a": 1, "b": 2.5}) == {"a": 1.0, "b": 2.5}
    assert repr(Parameters.of(add).load({"a": 1, "b": 2})["a"]) == "1.0"


@pytest.mark.parametrize(
    ("params", "faults"),
    [
        ({}, {"/a": "required", "/b": "required"}),
        ({"a": "1", "b": True}, {"/a": "type", "/b": "type"}),
        ({"a": 1, "b": 2, "c": 3}, {"/c": "additionalProperties"}),
        ({"a": 1, "b": float("nan")}, {"/b": "finite"}),
        ([1, 2], {"": "type"}),
        (None, {"": "type"}),
        ({"a": 1, "b": 10**400}, {"/b": "decode"}),
    ],
)
def test_load_rejects_wrong_parameters(params: Any, faults: dict[str, str]) -> None:
    with pytest.raises(ValidationError) as caught:
        Parameters.of(add).load(params)
    assert {fault.path: fault.rule for fault in caught.value.errors} == faults


def test_load_accepts_any_mapping() -> None:
    class Other(dict[str, Any]):
        pass

    from collections import ChainMap

    assert Parameters.of(add).load(ChainMap({"a": 1}, {"b": 2})) == {"a": 1.0, "b": 2.0}
    assert Parameters.of(add).load(Other(a=1, b=2)) == {"a": 1.0, "b": 2.0}
    with pytest.raises(ValidationError):
        Parameters.of(add).load(ChainMap({"a": 1}))


def test_dump_encodes_native_parameters() -> None:
    parameters = Parameters.of(order)
    assert parameters.dump({"name": "a", "due": date(2024, 1, 31)}) == {"name": "a", "due": "2024-01-31"}
    with pytest.raises(ValidationError) as caught:
        parameters.dump({"name": 1, "x": 2})
    assert {fault.path for fault in caught.value.errors} == {"/name", "/x"}


def test_bind_returns_arguments_by_name() -> None:
    parameters = Parameters.of(order)
    assert parameters.bind(("a",), {"due": None}) == {"name": "a", "due": None}
    assert parameters.bind((), {"name": "a"}) == {"name": "a"}
    assert Parameters.of(add).bind((1, 2), {}) == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("args", "kwargs", "faults"),
    [
        ((), {}, {"/name": "required"}),
        (("a",), {"name": "b"}, {"/name": "additionalProperties"}),
        (("a", 1, None), {}, {"": "additionalProperties"}),
        ((), {"x": 1}, {"/name": "required", "/x": "additionalProperties"}),
    ],
)
def test_bind_rejects_wrong_arguments(args: tuple[Any, ...], kwargs: dict[str, Any], faults: dict[str, str]) -> None:
    with pytest.raises(ValidationError) as caught:
        Parameters.of(order).bind(args, kwargs)
    assert {fault.path: fault.rule for fault in caught.value.errors} == faults


def test_a_context_parameter_is_not_in_the_schema() -> None:
    parameters = Parameters.of(traced)
    assert parameters.names == ("a",)
    assert parameters.inject == "context"
    assert parameters.bind((3,), {}) == {"a": 3}


def test_methods_partials_and_objects_have_parameters() -> None:
    assert Parameters.of(Shop().sell).names == ("what",)
    assert Parameters.of(Shop()).schema.json["properties"] == {"count": {"type": "integer"}}
    assert Parameters.of(functools.partial(add, b=1.0)).defaults == {"b": 1.0}

    @functools.wraps(add)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return add(*args, **kwargs)

    assert Parameters.of(wrapper).names == ("a", "b")


@pytest.mark.parametrize(
    ("target", "word"),
    [
        (book, "positional-only"),
        (takes_any_arguments, r"\*args"),
        (takes_any_names, r"\*\*kwargs"),
        (has_complex_hint, r"has_complex_hint\(a\).*complex"),
        (has_unknown_hint, "Absent"),
        (traced_twice, "both"),
    ],
)
def test_a_signature_without_schema_is_rejected(target: Any, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        Parameters.of(target)


def test_the_properties_of_a_json_schema_are_parameters() -> None:
    parameters = Parameters.from_schema(
        Schema.of(
            {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"default": [1]}}, "required": ["a"]}
        )
    )
    assert parameters.names == ("a", "b")
    loaded = parameters.load({"a": 1})
    assert loaded == {"a": 1, "b": [1]}
    assert loaded["b"] is not parameters.defaults["b"]
    assert parameters.load({"a": 1, "more": 2})["more"] == 2
    assert parameters.bind((1,), {"more": 2}) == {"a": 1, "more": 2}
    with pytest.raises(ValidationError):
        parameters.load({"b": 1})
    with pytest.raises(ValidationError):
        parameters.load([])  # type: ignore[arg-type]


def test_parameters_must_be_an_object() -> None:
    with pytest.raises(ConfigError, match="object"):
        Parameters.from_schema(Schema.of(int))
