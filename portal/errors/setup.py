"""Errors of settings and of JavaScript code."""

from __future__ import annotations

from typing import Any

from .base import PortalError
from .fault import shorten

__all__ = ["ConfigError", "JavaScriptError"]


class JavaScriptError(PortalError):
    """JavaScript code of the user failed.

    Attributes:
        stage: where it failed. "syntax", "analysis" and "compile" come before any call. "validate", "execute", "host"
            and "convert" are parts of a call. "timeout", "memory", "stack" and "fuel" are limits.
        line, column: place in the JavaScript, from 1, or None.
        js_stack: the engine's stack as text.
    """

    code = "javascript_error"
    status = 500
    rpc_code = -32007
    members = ("stage", "line", "column", "js_stack")

    def __init__(
        self,
        message: str = "",
        *,
        stage: str = "execute",
        line: int | None = None,
        column: int | None = None,
        js_stack: str = "",
        **common: Any,
    ) -> None:
        super().__init__(message, **common)
        self.stage = stage
        self.line = line
        self.column = column
        self.js_stack = js_stack


class ConfigError(PortalError, ValueError):
    """A setting has a wrong value.

    Attributes:
        path: dotted path of the setting, such as "http.limits.body".
        value: the value that was given, shortened, as text; "" where it is secret or not known.
        expected: what the setting must be, in a few words.
    """

    code = "config_error"
    status = 500
    rpc_code = -32008
    members = ("path", "value", "expected")

    def __init__(
        self, message: str = "", *, path: str = "", value: str = "", expected: str = "", **common: Any
    ) -> None:
        if expected and expected not in message:
            message = f"{message}; expected: {expected}" if message else f"expected: {expected}"
        super().__init__(message, **common)
        self.path = path
        self.value = value
        self.expected = expected

    @classmethod
    def invalid(
        cls, setting: str, value: object, expected: str, *, secret: bool = False, cause: BaseException | None = None
    ) -> ConfigError:
        """Make the error for a setting whose value is wrong: "X must be <expected>, got <value>".

        Args:
            setting: dotted path of the setting, such as "serving.workers".
            value: the value that was given.
            expected: what the setting must be, worded to follow "must be".
            secret: whether to keep the value out of the message and the attributes.
            cause: the exception behind it.
        """
        given = "" if secret else shorten(value)
        message = f"{setting} must be {expected}" + ("" if secret else f", got {given}")
        return cls(message, path=setting, value=given, expected=expected, cause=cause)
