"""Patterns on the linear engine. The texts here take a backtracking engine minutes or more."""

from __future__ import annotations

import threading
from random import Random
from time import monotonic
from typing import Any

import jsonschema_rs
import pytest

from portal import ConfigError
from portal.context import CallContext
from portal.schema import Schema, ValidationLimits, set_validation_limits, validation_stats
from portal.schema.bounds.patterns import linear_pattern, plan_patterns

#: Its compiled size is 4 KiB at most; 1 MiB of the worst text takes 3 s.
COSTLY = "((0|1)*1(0|1){25}[45])[yz]"
#: 256 KiB at most; 5,000 characters of the worst text take 0.5 s.
VERY_COSTLY = "((0|1)*1(0|1){1922}[45])[yz]"
#: The worst text for both: the engine meets a new set of states at each character.
BITS = "".join(Random(1).choices("01", k=1_000_000))


@pytest.mark.parametrize(
    "pattern",
    ["(?=.*x)(?=.*y)z", "(?!a)b", "(?<=a)b", "(?<!a)b", r"(a+)\1", r"(?<n>a+)\k<n>", "(?>a+)b", "(?:(?=a))*"],
)
@pytest.mark.parametrize("place", ["pattern", "patternProperties", "$defs"])
def test_lookaround_and_backreferences_are_rejected(pattern: str, place: str) -> None:
    schemas: dict[str, dict[str, Any]] = {
        "pattern": {"type": "string", "pattern": pattern},
        "patternProperties": {"type": "object", "patternProperties": {pattern: {}}},
        "$defs": {"$defs": {"a": {"pattern": pattern}}, "$ref": "#/$defs/a"},
    }
    with pytest.raises(ConfigError, match="the pattern"):
        Schema.of(schemas[place])


def test_the_error_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match="must not use lookaround or backreferences"):
        linear_pattern("(?=a)b")
    with pytest.raises(ConfigError, match="must be a regular expression of ECMA-262"):
        linear_pattern("(")
    with pytest.raises(ConfigError, match="at most 10 MiB when compiled"):
        linear_pattern("[0-9]{1,100000}")


@pytest.mark.parametrize(
    "pattern",
    ["^(a+)+$", "^(a|aa)+$", "(a*)*b", "^(.*a){20}$", r"^(([a-z])+.)+[A-Z]([a-z])+$", r"^(\w+\s?)*$", "(x+x+)+y"],
)
@pytest.mark.parametrize("keyword", ["patternProperties", "additionalProperties", "unevaluatedProperties", "pattern"])
def test_patterns_that_double_with_each_character_are_linear(pattern: str, keyword: str) -> None:
    text = "a" * 5_000 + "!"
    if keyword == "pattern":
        schema, value = Schema.of({"pattern": pattern}), text
    else:
        members = {"type": "object", "maxProperties": 0, keyword: False} | {"patternProperties": {pattern: False}}
        schema, value = Schema.of(members), {text: 1}
    assert not schema.accepts(value)
    assert schema.faults(value)


def test_a_costly_pattern_matches_as_any_other() -> None:
    schema = Schema.of({"type": "array", "items": {"type": "string", "pattern": f"^{VERY_COSTLY}$", "minLength": 2}})
    fits = "1" + "0" * 1922 + "4y"
    assert schema.accepts([fits])
    assert schema.faults([fits]) == []
    assert not schema.accepts([fits, fits[:-1]])
    assert [(fault.path, fault.rule) for fault in schema.faults([fits, fits[:-1], 5])] == [
        ("/1", "pattern"),
        ("/2", "type"),
    ]


@pytest.mark.parametrize(
    "schema",
    [
        {"pattern": VERY_COSTLY},
        {"pattern": VERY_COSTLY, "allOf": [{"maxLength": 10**9}]},
        {"$defs": {"a": {"pattern": VERY_COSTLY}}, "$ref": "#/$defs/a"},
        {"not": {"not": {"pattern": VERY_COSTLY}}},
        {"anyOf": [{"pattern": VERY_COSTLY}, {"type": "integer"}]},
    ],
)
def test_a_costly_pattern_is_not_matched_with_a_long_text(schema: dict[str, Any]) -> None:
    made, text = Schema.of(schema), BITS
    assert not made.accepts(text)
    assert made.faults(text)


def test_names_of_members_are_bounded_for_costly_patterns() -> None:
    schema = Schema.of({"type": "object", "patternProperties": {VERY_COSTLY: {"type": "integer"}}})
    assert schema.accepts({"1" + "0" * 1922 + "4y": 1, "other": "x"})
    assert not schema.accepts({"1" + "0" * 1922 + "4y": "x"})
    assert not schema.accepts({BITS: 1})
    assert not schema.accepts({"a": {f"{index:020}": {} for index in range(1000)}})
    cycle: list[Any] = []
    cycle.append(cycle)
    assert not schema.accepts(cycle)


def test_the_time_of_costly_patterns_ends() -> None:
    schema = Schema.of({"type": "array", "items": {"type": "string", "pattern": f"^{COSTLY}|^a"}})
    assert schema.accepts(["a"])
    before = validation_stats()["patterns_ended"]
    earlier = set_validation_limits(ValidationLimits(pattern_time=1e-9))
    try:
        assert not schema.accepts(["a"])
    finally:
        set_validation_limits(earlier)
    with CallContext(deadline=monotonic() - 1.0).active():
        assert not schema.accepts(["a"])
    assert validation_stats()["patterns_ended"] == before + 2
    assert schema.accepts(["a"])


def test_the_time_that_ended_is_not_turned_round_by_not() -> None:
    schema = Schema.of({"not": {"pattern": COSTLY}})
    earlier = set_validation_limits(ValidationLimits(pattern_time=1e-9))
    try:
        assert not schema.accepts("a")
    finally:
        set_validation_limits(earlier)
    assert schema.accepts("a")


def test_other_threads_run_while_costly_patterns_are_matched() -> None:
    schema = Schema.of({"type": "array", "items": {"type": "string", "not": {"pattern": VERY_COSTLY}}})
    turns, stop = [0], threading.Event()

    def take_turns() -> None:
        while not stop.is_set():
            turns[0] += 1

    other = threading.Thread(target=take_turns)
    other.start()
    try:
        before = turns[0]
        assert schema.accepts([BITS[start : start + 2_000] for start in range(0, 8_000, 2_000)])
        assert turns[0] > before
    finally:
        stop.set()
        other.join()


def test_many_small_patterns_are_costly_together() -> None:
    few = plan_patterns({"allOf": [{"pattern": f"^a{index}$"} for index in range(10)]})
    many = plan_patterns({"allOf": [{"pattern": f"^a{index}$"} for index in range(100)]})
    assert few.formats == {}
    assert len(many.formats) == 100


def test_the_compiled_size_of_all_patterns_is_bounded() -> None:
    before = validation_stats()["schemas_rejected"]
    patterns = [f"^[^/{letter}]{{1,1024}}$" for letter in "abcdefghijklmnopqrstuvwxyz0123456789"]
    with pytest.raises(ConfigError, match="at most 64 MiB when compiled"):
        Schema.of({"allOf": [{"pattern": pattern} for pattern in patterns]})
    assert validation_stats()["schemas_rejected"] == before + 1


def test_a_pattern_outside_of_known_keywords_is_not_costly() -> None:
    with pytest.raises(ConfigError):
        Schema.of({"x-parts": {"a": {"pattern": VERY_COSTLY}}, "$ref": "#/x-parts/a"})
    with pytest.raises(ConfigError):
        Schema.of({"x-parts": {"a": {"pattern": "(?=a)b"}}, "$ref": "#/x-parts/a"})


def test_a_plan_leaves_the_schema_unchanged() -> None:
    schema = {"pattern": COSTLY, "allOf": [{"pattern": "^0"}], "format": "date"}
    plan = plan_patterns(schema)
    assert schema == {"pattern": COSTLY, "allOf": [{"pattern": "^0"}], "format": "date"}
    assert plan.schema["allOf"][0] == {"pattern": "^0"}
    assert plan.schema["format"] == "date"
    assert "pattern" not in plan.schema


@pytest.mark.parametrize("formats", [False, True])
def test_other_formats_are_as_without_costly_patterns(formats: bool) -> None:
    schema = Schema.of({"pattern": f"^a|{COSTLY}", "format": "date"}, formats=formats)
    assert schema.accepts("a") is not formats
    assert Schema.of({"pattern": f"^a|{COSTLY}", "format": "email"}, formats=formats).accepts("a")


@pytest.mark.parametrize("value", [0, 0.01, 1.23, 1e300, -5, 7.5, 0.005, 1.234, -0.001, "x", None, {"a": 1}, [0.005]])
@pytest.mark.parametrize("fraction", [0.01, 2.5])
def test_multiples_of_a_fraction_are_as_those_of_the_library(value: Any, fraction: float) -> None:
    schema = {"multipleOf": fraction}
    expected = jsonschema_rs.Draft202012Validator(schema).is_valid(value)
    made = Schema.of(schema)
    assert made.accepts(value) is expected
    assert (made.faults(value) == []) is expected


def test_the_time_for_multiples_of_a_fraction_ends() -> None:
    schema = Schema.of({"type": "array", "items": {"type": "number", "multipleOf": 0.01}})
    values = [1e300] * 1_000
    assert schema.accepts(values)
    earlier = set_validation_limits(ValidationLimits(pattern_time=1e-9))
    try:
        assert not schema.accepts(values)
    finally:
        set_validation_limits(earlier)
    with CallContext(deadline=monotonic() - 1.0).active():
        assert not schema.accepts(values)
    turns, stop = [0], threading.Event()

    def take_turns() -> None:
        while not stop.is_set():
            turns[0] += 1

    other = threading.Thread(target=take_turns)
    other.start()
    try:
        before = turns[0]
        assert schema.accepts(values * 5)
        assert turns[0] > before
    finally:
        stop.set()
        other.join()
