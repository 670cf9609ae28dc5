"""Validate settings: every constructor rejects a wrong value in the same way.

Each validator takes the dotted path of the setting and the value, returns the value unchanged, or raises
`ConfigError.invalid(setting, value, expected)`: "serving.workers must be a whole number of at least 1, got True".
With `optional=True` None is valid, too.

    number           a finite int or float within bounds (`above`, `minimum`, `below`, `maximum`)
    whole_number     an int within bounds
    count            a whole number of at least 1
    size             a number of bytes, at least 1 unless `minimum` says otherwise
    port             a whole number from 0 to 65535
    seconds          a duration within bounds, 0 included
    positive_seconds a duration above 0
    flag             True or False
    choice           one of a set of values
    text             a string that is not empty; `pattern` restricts it
    host             a host name or an address without a port
    namespace        the name of a portal or namespace
    url_path         "" or a path such as "/api"
    file_path        the path of a file or folder
    strings          several strings: a list, tuple or set, but not one string
    instance         an instance of one of several classes
    subclass         a class derived from another
    callback         a callable
    require          anything else: the caller made the test

True and False are not numbers here, and NaN and infinity are not values of any setting. Pass `secret=True` where the
value must not appear in a message. For a setting with a grammar of its own, call `require(ok, ...)`.

Use: `self._timeout = positive_seconds("consumer.timeout", timeout, optional=True)`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection
from typing import TypeVar

from ..errors import ConfigError

__all__ = [
    "callback",
    "choice",
    "count",
    "file_path",
    "flag",
    "host",
    "instance",
    "namespace",
    "number",
    "port",
    "positive_seconds",
    "require",
    "seconds",
    "size",
    "strings",
    "subclass",
    "text",
    "url_path",
    "whole_number",
]

T = TypeVar("T")

_INFINITY = float("inf")
_URL_PATH = re.compile(r"(?:/[^/?#\s\x00-\x1f\x7f]+)*")
_NAMESPACE = re.compile(r"[\x20-\x7e\xa0-\ud7ff\ue000-\U0010ffff]{1,64}")
_HOST = re.compile(r"[^\s:/?#@\[\]\x00-\x1f\x7f]+")


def require(
    ok: object, setting: str, value: object, expected: str, *, optional: bool = False, secret: bool = False
) -> None:
    """Raise ConfigError unless `ok` is true.

    Args:
        ok: the result of the test.
        setting: dotted path of the setting, such as "serving.workers".
        value: the value that was given.
        expected: what the setting must be, worded to follow "must be".
        optional: whether None is valid, too; the caller's test allows it.
        secret: whether to keep the value out of the error.
    """
    if not ok:
        raise ConfigError.invalid(setting, value, f"{expected}, or None" if optional else expected, secret=secret)


def number(
    setting: str,
    value: T,
    *,
    above: float | None = None,
    minimum: float | None = None,
    below: float | None = None,
    maximum: float | None = None,
    optional: bool = False,
    unit: str = "a number",
) -> T:
    """Require a finite int or float within bounds.

    Args:
        above, minimum: the lower bound, without or with itself.
        below, maximum: the upper bound, without or with itself.
        unit: the noun of the message, such as "seconds".
    """
    ok = _is_number(value) and _within(value, above, minimum, below, maximum)
    if not ok and not (optional and value is None):
        require(False, setting, value, unit + _words(above, minimum, below, maximum), optional=optional)
    return value


def whole_number(
    setting: str,
    value: T,
    *,
    minimum: int | None = None,
    maximum: int | None = None,
    optional: bool = False,
    unit: str = "a whole number",
) -> T:
    """Require an int within bounds; a float such as 2.0 is rejected."""
    ok = isinstance(value, int) and not isinstance(value, bool) and _within(value, None, minimum, None, maximum)
    if not ok and not (optional and value is None):
        require(False, setting, value, unit + _words(None, minimum, None, maximum), optional=optional)
    return value


def count(setting: str, value: T, *, maximum: int | None = None, optional: bool = False) -> T:
    """Require a whole number of at least 1."""
    return whole_number(setting, value, minimum=1, maximum=maximum, optional=optional)


def size(setting: str, value: T, *, minimum: int = 1, maximum: int | None = None, optional: bool = False) -> T:
    """Require a number of bytes."""
    unit = "a whole number of bytes"
    return whole_number(setting, value, minimum=minimum, maximum=maximum, optional=optional, unit=unit)


def port(setting: str, value: T, *, optional: bool = False) -> T:
    """Require a TCP port; 0 lets the system choose."""
    return whole_number(setting, value, minimum=0, maximum=65_535, optional=optional)


def seconds(
    setting: str,
    value: T,
    *,
    minimum: float = 0,
    below: float | None = None,
    maximum: float | None = None,
    optional: bool = False,
) -> T:
    """Require a finite duration in seconds; 0 is valid unless `minimum` is above it."""
    return number(setting, value, minimum=minimum, below=below, maximum=maximum, optional=optional, unit="seconds")


def positive_seconds(
    setting: str, value: T, *, below: float | None = None, maximum: float | None = None, optional: bool = False
) -> T:
    """Require a finite duration above 0 seconds."""
    return number(setting, value, above=0, below=below, maximum=maximum, optional=optional, unit="seconds")


def flag(setting: str, value: T, *, optional: bool = False) -> T:
    """Require True or False."""
    ok = isinstance(value, bool) or (optional and value is None)
    require(ok, setting, value, "True or False", optional=optional)
    return value


def choice(setting: str, value: T, choices: Collection[object], *, optional: bool = False) -> T:
    """Require one of the choices; 1 is not True here."""
    ok = any(value is one or (type(value) is type(one) and value == one) for one in choices)
    if not ok and not (optional and value is None):
        words = ", ".join(repr(one) for one in choices)
        require(False, setting, value, f"one of {words}" if len(choices) > 1 else words, optional=optional)
    return value


def text(
    setting: str,
    value: T,
    *,
    pattern: str | re.Pattern[str] | None = None,
    max_length: int | None = None,
    expected: str | None = None,
    optional: bool = False,
    secret: bool = False,
) -> T:
    """Require a string that is not empty.

    Args:
        pattern: regular expression that the whole string must match.
        max_length: characters at most.
        expected: the words of the message; needed with `pattern`.
        secret: whether to keep the value out of the message.
    """
    ok = isinstance(value, str) and value != "" and (max_length is None or len(value) <= max_length)
    if ok and pattern is not None:
        ok = re.fullmatch(pattern, str(value)) is not None
    if not ok and not (optional and value is None):
        words = "a string that is not empty" + (f", at most {max_length:,} characters" if max_length else "")
        require(False, setting, value, expected or words, optional=optional, secret=secret)
    return value


def namespace(setting: str, value: T) -> T:
    """Require the name of a portal or namespace, or None."""
    expected = "1 to 64 printable characters"
    return text(setting, value, pattern=_NAMESPACE, expected=expected, optional=True)


def host(setting: str, value: T, *, optional: bool = False) -> T:
    """Require a host name or an address, without a port; an IPv6 address may be in brackets."""
    ok = isinstance(value, str) and (_HOST.fullmatch(value) is not None or _is_ipv6(value))
    expected = 'a host name or an address without a port, such as "127.0.0.1"'
    require(ok or (optional and value is None), setting, value, expected, optional=optional)
    return value


def url_path(setting: str, value: T, *, optional: bool = False) -> T:
    """Require the path below which something is served: "" or "/api", without a slash at the end."""
    ok = isinstance(value, str) and _URL_PATH.fullmatch(value) is not None
    ok = ok and not any(segment in (".", "..") for segment in str(value).split("/"))
    require(ok or (optional and value is None), setting, value, '"" or a path such as "/api"', optional=optional)
    return value


def file_path(setting: str, value: T, *, optional: bool = False) -> T:
    """Require a path as text or `os.PathLike`; the file need not exist."""
    ok = isinstance(value, str | os.PathLike) and str(value) != "" and "\0" not in str(value)
    require(ok or (optional and value is None), setting, value, "the path of a file", optional=optional)
    return value


def strings(setting: str, value: T, *, expected: str = "a list of strings", optional: bool = False) -> T:
    """Require a list, tuple or set of strings that are not empty; one string alone is rejected."""
    ok = isinstance(value, list | tuple | set | frozenset) and all(isinstance(one, str) and one for one in value)
    require(ok or (optional and value is None), setting, value, expected, optional=optional)
    return value


def instance(
    setting: str,
    value: T,
    kinds: type | tuple[type, ...],
    *,
    expected: str | None = None,
    optional: bool = False,
    secret: bool = False,
) -> T:
    """Require an instance of a class, or of one of several.

    Args:
        expected: the words of the message; the names of the classes when None.
    """
    if not isinstance(value, kinds) and not (optional and value is None):
        names = " or ".join(kind.__name__ for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))
        words = expected or f"{_article(names)} {names}"
        require(False, setting, value, words, optional=optional, secret=secret)
    return value


def subclass(setting: str, value: T, base: type, *, optional: bool = False) -> T:
    """Require a class derived from `base`, or `base` itself."""
    ok = isinstance(value, type) and issubclass(value, base)
    expected = f"a class derived from {base.__name__}"
    require(ok or (optional and value is None), setting, value, expected, optional=optional)
    return value


def callback(setting: str, value: T, *, expected: str = "a callable", optional: bool = False) -> T:
    """Require something that can be called; `expected` may say how, such as "a callable (call) -> bool"."""
    require(callable(value) or (optional and value is None), setting, value, expected, optional=optional)
    return value


def _article(name: str) -> str:
    """Return "a" or "an"; the letters of an initialism are spoken one by one, as in "an HTTPClient"."""
    vowels = "AEFHILMNORSX" if name[:2].isupper() else "AEIOUaeiou"
    return "an" if name[:1] in vowels else "a"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -_INFINITY < value < _INFINITY


def _within(
    value: object, above: float | None, minimum: float | None, below: float | None, maximum: float | None
) -> bool:
    assert isinstance(value, int | float)
    tests: tuple[Callable[[], bool], ...] = (
        lambda: above is None or value > above,
        lambda: minimum is None or value >= minimum,
        lambda: below is None or value < below,
        lambda: maximum is None or value <= maximum,
    )
    return all(test() for test in tests)


def _words(above: float | None, minimum: float | None, below: float | None, maximum: float | None) -> str:
    if minimum is not None and maximum is not None:
        return f" from {minimum:,} to {maximum:,}"
    words = []
    if above is not None:
        words.append(f"above {above:,}")
    if minimum is not None:
        words.append(f"of at least {minimum:,}")
    if below is not None:
        words.append(f"below {below:,}")
    if maximum is not None:
        words.append(f"of at most {maximum:,}" if not words else f"at most {maximum:,}")
    return "".join(f" {' and '.join(words)}" if words else "")


def _is_ipv6(value: str) -> bool:
    from ipaddress import IPv6Address

    try:
        IPv6Address(value[1:-1] if value[:1] == "[" and value[-1:] == "]" else value)
    except ValueError:
        return False
    return True
