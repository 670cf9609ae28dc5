"""Generated code that loads parameters."""

from __future__ import annotations

from collections import ChainMap
from decimal import Decimal
from typing import Any, NotRequired, TypedDict, Unpack

import pytest

from portal import Consumer, LocalPortal
from portal.errors import ConfigError, ValidationError
from portal.schema import Parameters, Schema
from portal.schema.codecs import generate
from portal.schema.loading import if_plain, plain_tests


class Options(TypedDict):
    limit: int
    price: NotRequired[Decimal]
    self: NotRequired[str]


def find(word: str, **options: Unpack[Options]) -> dict[str, Any]:
    return {"word": word, **options}


def test_members_of_unpacked_options_are_parameters_that_may_be_absent() -> None:
    parameters = Parameters.of(find)
    assert parameters.schema.json["required"] == ["word", "limit"]
    assert parameters.schema.json["additionalProperties"] is False
    assert parameters.load({"word": "a", "limit": 1}) == {"word": "a", "limit": 1}
    assert parameters.load({"word": "a", "limit": 1, "price": "1.5"})["price"] == Decimal("1.5")
    assert parameters.load(ChainMap({"word": "a"}, {"limit": 1})) == {"word": "a", "limit": 1}
    for wrong in ({"word": "a"}, {"word": "a", "limit": 1, "more": 1}, {"word": "a", "limit": 1, "price": 1}):
        with pytest.raises(ValidationError):
            parameters.load(wrong)


def test_unpacked_options_reach_the_function() -> None:
    with LocalPortal() as portal, Consumer([portal]) as consumer:
        address = portal.apply(find)
        assert consumer.call_at(address, {"word": "a", "limit": 1, "self": "b"}) == {
            "word": "a",
            "limit": 1,
            "self": "b",
        }
        assert consumer.resolve(address)(word="a", limit=2) == {"word": "a", "limit": 2}


def taken(limit: int, **options: Unpack[Options]) -> None: ...  # type: ignore[misc]


def of_ints(**options: Unpack[tuple[int]]) -> None: ...  # type: ignore[misc]


@pytest.mark.parametrize(("target", "reason"), [(taken, "limit is a parameter already"), (of_ints, "TypedDict")])
def test_options_that_cannot_be_unpacked_are_rejected(target: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        Parameters.of(target)


def test_the_fast_test_passes_plain_values_of_exactly_the_names() -> None:
    schema = Schema.of({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}})
    tests = plain_tests(schema, ("a", "b"))
    assert tests is not None
    fits = generate(f"def codec(params):\n{if_plain(tests, ('a', 'b'))}  return True\n return False", {})
    assert fits({"a": 1, "b": "x"})
    for other in ({"a": 1}, {"a": True, "b": "x"}, {"a": 1, "b": "x", "c": 1}, [1, 2], {"a": 1, "c": "x"}):
        assert not fits(other)
    assert plain_tests(Schema.of({"type": "object", "properties": {"a": {}}}), ("a",)) is None
