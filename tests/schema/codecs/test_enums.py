"""Codecs of Enum classes and Literal."""

from __future__ import annotations

import enum
from typing import Any, Literal

import pytest

from portal.errors import ConfigError, ValidationError
from portal.schema import Schema


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Pair(enum.Enum):
    A = (1, 2)


class Empty(enum.Enum):
    pass


def test_members_are_written_as_their_values() -> None:
    schema = Schema.of(Colour)
    choices = {"type": "string", "enum": ["red", "blue"]}
    assert schema.json == {"title": "Colour", **choices, "x-enum-varnames": ["RED", "BLUE"]}
    assert schema.load("red") is Colour.RED
    assert schema.dump(Colour.BLUE) == "blue"
    with pytest.raises(ValidationError):
        schema.dump("blue")


def test_a_literal_may_mix_members_and_scalars() -> None:
    schema = Schema.of(Literal[Colour.RED, 1, None])
    assert schema.json == {"type": ["string", "integer", "null"], "enum": ["red", 1, None]}
    assert [schema.load(value) for value in ("red", 1, None)] == [Colour.RED, 1, None]
    assert [schema.dump(value) for value in (Colour.RED, 1, None)] == ["red", 1, None]
    with pytest.raises(ValidationError):
        schema.dump(Colour.BLUE)


def test_true_and_one_are_different_choices() -> None:
    assert Schema.of(Literal[1, True]).json == {"type": ["integer", "boolean"], "enum": [1, True]}


@pytest.mark.parametrize(
    ("hint", "message"),
    [
        (Pair, r"Pair: the value of <Pair.A: \(1, 2\)> must be a string, number, boolean or None"),
        (Literal[Pair.A], r"the value of <Pair.A: \(1, 2\)> must be"),
        (Empty, "Empty must have at least one choice"),
        (Literal[[1]], r"Literal\[\[1\]\] must have"),  # type: ignore[valid-type]
        (Literal[b"a"], "must have at least one choice, and each must be a JSON scalar"),
    ],
)
def test_choices_must_be_json_scalars(hint: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Schema.of(hint)
