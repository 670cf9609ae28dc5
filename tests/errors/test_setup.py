from __future__ import annotations

import pytest

from portal import ConfigError, JavaScriptError, PortalError


def test_an_invalid_setting_is_named_with_what_it_must_be() -> None:
    error = ConfigError.invalid("serving.workers", 0, "a whole number of at least 1")
    assert str(error) == "serving.workers must be a whole number of at least 1, got 0"
    assert (error.path, error.value, error.expected) == ("serving.workers", "0", "a whole number of at least 1")
    with pytest.raises(ValueError, match=r"serving\.workers"):
        raise error


def test_a_secret_is_not_repeated() -> None:
    error = ConfigError.invalid("auth.key", "hunter2", "32 bytes or more", secret=True)
    assert str(error) == "auth.key must be 32 bytes or more"
    assert "hunter2" not in str(error.to_dict())


def test_a_long_value_is_shortened() -> None:
    error = ConfigError.invalid("name", "x" * 1_000, "short")
    assert len(str(error)) < 150
    assert len(error.value) <= 80


def test_the_cause_is_kept() -> None:
    cause = OSError("no such file")
    assert ConfigError.invalid("tls.file", "a.pem", "a file", cause=cause).cause is cause


@pytest.mark.parametrize(
    ("message", "expected", "text"),
    [
        ("", "a port", "expected: a port"),
        ("port is wrong", "a port", "port is wrong; expected: a port"),
        ("port must be a port", "a port", "port must be a port"),
        ("port is wrong", "", "port is wrong"),
    ],
)
def test_the_message_says_once_what_is_expected(message: str, expected: str, text: str) -> None:
    assert str(ConfigError(message, expected=expected)) == text


def test_a_javascript_error_has_its_place() -> None:
    error = JavaScriptError("x is not defined", stage="execution", line=3, column=7, js_stack="at f (f.js:3:7)")
    again = PortalError.from_dict(error.to_dict())
    assert isinstance(again, JavaScriptError)
    assert (again.stage, again.line, again.column, again.js_stack) == ("execution", 3, 7, "at f (f.js:3:7)")
