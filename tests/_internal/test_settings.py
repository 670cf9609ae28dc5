"""Validators of settings: what each takes, and what it says of the rest."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from portal._internal import settings
from portal.errors import ConfigError, PortalError

NAN, INFINITY = float("nan"), float("inf")
NOT_NUMBERS = [True, False, NAN, INFINITY, -INFINITY, "1", None, [], 1j, object()]
Validator = Callable[..., Any]
NUMBERS: list[tuple[Validator, list[Any], list[Any]]] = [
    (settings.number, [0, -1.5, 1 << 2000], []),
    (settings.whole_number, [0, -3, 1 << 2000], [1.0, 2.5]),
    (settings.count, [1, 7], [0, -1, 1.0]),
    (settings.size, [1, 1 << 40], [0, -1, 10.5]),
    (settings.port, [0, 80, 65_535], [-1, 65_536, 80.0]),
    (settings.seconds, [0, 0.0, 2, 1e300], [-0.001]),
    (settings.positive_seconds, [1e-9, 2], [0, 0.0, -1]),
]


@pytest.mark.parametrize(("validate", "good", "bad"), NUMBERS)
def test_numbers(validate: Validator, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert validate("a.b", value) is value
        assert validate("a.b", value, optional=True) is value
    for value in [*bad, *NOT_NUMBERS]:
        with pytest.raises(ConfigError) as info:
            validate("a.b", value)
        assert info.value.path == "a.b"
        assert info.value.expected
        assert str(info.value) == f"a.b must be {info.value.expected}, got {info.value.value}"
    for value in [*bad, *(value for value in NOT_NUMBERS if value is not None)]:
        with pytest.raises(ConfigError, match="or None, got"):
            validate("a.b", value, optional=True)
    assert validate("a.b", None, optional=True) is None


@pytest.mark.parametrize(
    ("bounds", "inside", "outside", "words"),
    [
        ({"above": 0, "maximum": 1}, [0.1, 1], [0, 1.1], "a number above 0 and at most 1"),
        ({"minimum": 0, "maximum": 1}, [0, 1], [-0.1, 1.1], "a number from 0 to 1"),
        ({"above": 0, "below": 86_400}, [1, 86_399.9], [0, 86_400], "a number above 0 and below 86,400"),
        ({"minimum": 2}, [2, 3], [1.9], "a number of at least 2"),
        ({"maximum": 2}, [2, -3], [2.1], "a number of at most 2"),
        ({}, [-5, 5], ["5"], "a number"),
    ],
)
def test_bounds(bounds: dict[str, Any], inside: list[float], outside: list[Any], words: str) -> None:
    for value in inside:
        assert settings.number("limit", value, **bounds) == value
    for value in outside:
        with pytest.raises(ConfigError, match=re.escape(f"limit must be {words}, got {value!r}")):
            settings.number("limit", value, **bounds)


@pytest.mark.parametrize(
    ("validate", "options", "good", "bad"),
    [
        (settings.flag, {}, [True, False], [0, 1, "yes", []]),
        (settings.choice, {"choices": ("auto", "off", 2)}, ["auto", "off", 2], ["on", 2.0, True, b"off", ["auto"]]),
        (settings.choice, {"choices": (True, 1)}, [True, 1], [1.0, False]),
        (settings.text, {}, ["a", " "], ["", b"a", 1]),
        (settings.text, {"max_length": 3}, ["abc"], ["abcd"]),
        (settings.text, {"pattern": "[a-z]+", "expected": "letters"}, ["abc"], ["abc\n", "A", ""]),
        (
            settings.host,
            {},
            ["localhost", "127.0.0.1", "::1", "[::1]", "straße.example", "a_b"],
            ["", "a:1", "[::1]:80", "a/b", "a b", "http://a", "::g", 1],
        ),
        (
            settings.url_path,
            {},
            ["", "/api", "/a/b~c", "/%20", "/ä"],
            ["api", "/", "/a/", "//a", "/a b", "/a?b", "/..", 1],
        ),
        (settings.file_path, {}, ["a", Path("a")], ["", "a\0b", 3, b"a"]),
        (settings.strings, {}, [[], ["a"], ("a", "b"), {"a"}], ["a", [""], [1], {"a": 1}, iter(["a"])]),
        (settings.instance, {"kinds": Path}, [Path()], ["a"]),
        (settings.instance, {"kinds": (Path, str)}, [Path(), "a"], [b"a"]),
        (settings.subclass, {"base": PortalError}, [PortalError, ConfigError], [ValueError, ConfigError("x"), "a"]),
        (settings.callback, {}, [print, lambda: None], [1, "print"]),
    ],
)
def test_other_values(validate: Validator, options: dict[str, Any], good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert validate("a.b", value, **options) is value
    for value in bad:
        with pytest.raises(ConfigError, match=r"^a\.b must be .*, got "):
            validate("a.b", value, **options)
        with pytest.raises(ConfigError, match=r"^a\.b must be .*, or None, got "):
            validate("a.b", value, optional=True, **options)
    with pytest.raises(ConfigError):
        validate("a.b", None, **options)
    assert validate("a.b", None, optional=True, **options) is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (lambda: settings.choice("mode", "x", ("on", "off")), "mode must be one of 'on', 'off', got 'x'"),
        (lambda: settings.choice("mode", "x", ("on",)), "mode must be 'on', got 'x'"),
        (lambda: settings.instance("at", 1, Path), "at must be a Path, got 1"),
        (lambda: settings.instance("at", 1, type("TLSConfig", (), {})), "at must be a TLSConfig, got 1"),
        (lambda: settings.instance("at", 1, type("HTTPClient", (), {})), "at must be an HTTPClient, got 1"),
        (lambda: settings.instance("at", 1, (ImportError, str)), "at must be an ImportError or str, got 1"),
        (lambda: settings.instance("at", 1, Path, expected="a folder"), "at must be a folder, got 1"),
        (lambda: settings.text("key", 3, secret=True), "key must be a string that is not empty"),
        (lambda: settings.instance("key", "hunter2", bytes, secret=True), "key must be a bytes"),
        (lambda: settings.port("port", 99_999), "port must be a whole number from 0 to 65,535, got 99999"),
        (lambda: settings.size("body", 0), "body must be a whole number of bytes of at least 1, got 0"),
        (lambda: settings.require(False, "a", 1, "b", optional=True), "a must be b, or None, got 1"),
    ],
)
def test_messages(given: Callable[[], object], words: str) -> None:
    with pytest.raises(ConfigError) as info:
        given()
    assert str(info.value) == words


def test_a_secret_is_nowhere_in_the_error() -> None:
    with pytest.raises(ConfigError) as info:
        settings.text("auth.key", "hunter2", pattern="[0-9]+", expected="digits", secret=True)
    assert "hunter2" not in f"{info.value}{info.value.to_dict()}"
    assert info.value.value == ""


def test_a_value_is_shortened_and_its_repr_may_fail() -> None:
    class Hostile:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    for value in ("x" * 10_000, [1] * 10_000, Hostile()):
        with pytest.raises(ConfigError) as info:
            settings.flag("a", value)
        assert len(str(info.value)) < 130
    assert str(info.value) == "a must be True or False, got <Hostile>"
