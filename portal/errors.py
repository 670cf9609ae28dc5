"""Every error that Portal raises: one class, one code, one HTTP status, one JSON-RPC code.

    PortalError
      AddressError          an address that cannot be parsed or used (position, reason)
      RegistryError         a name or address that is unknown, taken or invalid (kind)
      ValidationError       data that does not fit its schema (errors: every fault with its path)
      FunctionError         the function itself failed (type, message)
      AuthenticationError   who is calling is not known
      AuthorizationError    who is calling may not do this
      RateLimitError        too many calls (retry_after)
      CallTimeout           no answer before the deadline (also a builtin TimeoutError)
      CallCancelled         the caller gave the call up
      TransportError        the network or the peer failed (may_have_executed; also a ConnectionError)
      CircuitOpenError      the breaker refuses calls for now (retry_after)
      OverloadedError       every worker and queue place is taken (retry_after)
      SerializationError    bytes that are no JSON, or a value that JSON cannot carry
      ProtocolError         the peer broke the protocol, or we did (status)
      JavaScriptError       user-written JavaScript failed (stage, line, column, js_stack)
      ConfigError           a wrong setting (path, expected; also a builtin ValueError)
      ConsumerError         every way to make a call failed (attempts, advice)

An error is data: it pickles, `to_dict()` gives JSON-ready members and `from_dict()` gives the same
class back, whichever transport carried it. A subclass that sets a `code` of its own takes part in this by
being defined. Sources: HTTP statuses RFC 9110 section 15, problem members RFC 9457 section 3.1,
JSON-RPC codes JSON-RPC 2.0 section 5.1.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

__all__ = [
    "AddressError",
    "AuthenticationError",
    "AuthorizationError",
    "CallCancelled",
    "CallTimeout",
    "CircuitOpenError",
    "ConfigError",
    "ConsumerError",
    "Fault",
    "FunctionError",
    "JavaScriptError",
    "OverloadedError",
    "PortalError",
    "ProtocolError",
    "RateLimitError",
    "RegistryError",
    "SerializationError",
    "TransportError",
    "ValidationError",
    "error_table",
    "shorten",
]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with one value.

    Attributes:
        path: JSON Pointer to the value (RFC 6901); "" is the whole value.
        message: one sentence for a person.
        rule: the JSON Schema keyword that was broken, or "finite", "depth", "json" for what JSON cannot carry.
        expected: what the rule asks for, as JSON data.
        value: the offending value, shortened, as text.
    """

    path: str
    message: str
    rule: str
    expected: Any = None
    value: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The fault as JSON data, one member an attribute."""
        return {
            "path": self.path,
            "message": self.message,
            "rule": self.rule,
            "expected": self.expected,
            "value": self.value,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Fault:
        """The fault that `to_dict` wrote; members that are absent are empty."""
        return cls(
            path=str(data.get("path", "")),
            message=str(data.get("message", "")),
            rule=str(data.get("rule", "")),
            expected=data.get("expected"),
            value=str(data.get("value", "")),
        )


def shorten(value: Any, limit: int = 80) -> str:
    """Return the value as text of at most `limit` characters; cheap for large values, safe for any value."""
    try:
        text = _render(value, limit, 4)
    except Exception:  # a __repr__ of user code may raise anything
        text = f"<{type(value).__name__}>"
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _render(value: Any, limit: int, depth: int) -> str:
    kind = type(value)
    if kind is str or kind is bytes:
        return repr(value[: limit + 1])
    if kind is int and value.bit_length() > 1024:
        return f"<integer of {value.bit_length()} bits>"
    if kind is dict or kind is list:
        if depth == 0:
            return "{...}" if kind is dict else "[...]"
        return _render_container(value, limit, depth)
    return repr(value)


def _render_container(value: Any, limit: int, depth: int) -> str:
    parts: list[str] = []
    length = 0
    for item in value:
        text = _render(item, limit, depth - 1)
        if type(value) is dict:
            text = f"{text}: {_render(value[item], limit, depth - 1)}"
        parts.append(text)
        length += len(text) + 2
        if length > limit:
            break
    inner = ", ".join(parts)
    return f"{{{inner}}}" if type(value) is dict else f"[{inner}]"


_BY_CODE: dict[str, type[PortalError]] = {}


class PortalError(Exception):
    """The root of every error that Portal raises.

    Args:
        message: one sentence for a person.
        scheme: scheme of the portal that raised it ("http", "local").
        address: the address that was called, as text.
        code: a machine-readable word; the class's own when None.
        retryable: whether the same call may succeed if sent again; the class's own advice when None.
        context: facts about the call, such as request_id, user, operation; JSON data only.
        cause: the exception behind this one; becomes `__cause__`.

    Attributes:
        executed: whether the function that was called had begun, as when it passes on the error of a call of its own:
            calling it again repeats whatever it did before.

    Threads: an error is a value; any thread may read it.
    """

    code: str = "portal_error"
    status: int = 500
    rpc_code: ClassVar[int] = -32603
    retryable: bool = False
    executed: bool = False
    #: Attributes that a subclass adds to `to_dict()`.
    members: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "code" in cls.__dict__:
            _BY_CODE[cls.code] = cls

    def __init__(
        self,
        message: str = "",
        *,
        scheme: str | None = None,
        address: object = None,
        code: str | None = None,
        retryable: bool | None = None,
        context: Mapping[str, Any] | None = None,
        cause: BaseException | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.scheme = scheme
        self.address = None if address is None else str(address)
        if code is not None:
            self.code = code
        if retryable is not None:
            self.retryable = retryable
        self.context: dict[str, Any] = dict(context or {})
        self.stack: str | None = None
        if cause is not None:
            self.__cause__ = cause

    @property
    def cause(self) -> BaseException | None:
        """The exception behind this one, or None."""
        return self.__cause__

    @property
    def request_id(self) -> str | None:
        """The id of the call that failed, where it is known."""
        value = self.context.get("request_id")
        return None if value is None else str(value)

    def __str__(self) -> str:
        return self.message or type(self).__name__

    def with_context(self, **facts: Any) -> PortalError:
        """Add facts that are not yet known (request_id, user, operation) and return the same error."""
        for name, value in facts.items():
            if value is not None:
                self.context.setdefault(name, value)
        return self

    def stack_trace(self) -> str:
        """The traceback as text: this error's, its causes', and the remote one if a peer sent it."""
        text = "".join(traceback.format_exception(self))
        return f"{self.stack}\n{text}" if self.stack else text

    def to_dict(self, *, debug: bool = False) -> dict[str, Any]:
        """The error as JSON data; with debug=True its stack trace as well."""
        data: dict[str, Any] = {
            "error": type(self).__name__,
            "message": self.message,
            "code": self.code,
            "status": self.status,
            "retryable": self.retryable,
        }
        if self.executed:
            data["executed"] = True
        for name in ("scheme", "address"):
            if getattr(self, name) is not None:
                data[name] = getattr(self, name)
        if self.context:
            data["context"] = dict(self.context)
        for name in self.members:
            data[name] = self._member_to_json(name)
        if self.__cause__ is not None:
            data["cause"] = {"type": type(self.__cause__).__name__, "message": str(self.__cause__)}
        if debug:
            data["stack"] = self.stack_trace()
        return data

    def _member_to_json(self, name: str) -> Any:
        return getattr(self, name)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> PortalError:
        """The error that `to_dict` wrote, as the same class.

        An unknown code gives a plain PortalError that keeps the code, so that a client older than its
        server still sees what happened.
        """
        code = str(data.get("code", PortalError.code))
        cls = _BY_CODE.get(code, PortalError)
        error = cls.__new__(cls)
        error._restore(data)
        return error

    def _restore(self, data: Mapping[str, Any]) -> None:
        context = data.get("context")
        PortalError.__init__(
            self,
            str(data.get("message", "")),
            scheme=data.get("scheme"),
            address=data.get("address"),
            retryable=bool(data.get("retryable", type(self).retryable)),
            context=context if isinstance(context, Mapping) else None,
        )
        if data.get("code", self.code) != self.code:
            self.code = str(data["code"])
        status = data.get("status")
        if type(status) is int and 400 <= status <= 599 and status != self.status:
            self.status = status
        if data.get("executed") is True:
            self.executed = True
        if data.get("stack"):
            self.stack = str(data["stack"])
        for name in self.members:
            self._restore_member(name, data.get(name))

    def _restore_member(self, name: str, value: Any) -> None:
        setattr(self, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (type(self), dict(self.__dict__), _picklable(self.__cause__))


def _picklable(cause: BaseException | None) -> BaseException | None:
    try:
        pickle.loads(pickle.dumps(cause))
    except Exception:  # anything may go wrong in a foreign exception's pickling; its text is kept instead
        return PortalError(f"{type(cause).__name__}: {cause}")
    return cause


def _unpickle(cls: type[PortalError], state: dict[str, Any], cause: BaseException | None) -> PortalError:
    error = cls.__new__(cls)
    error.args = (state.get("message", ""),)
    error.__dict__.update(state)
    error.__cause__ = cause
    return error


_BY_CODE[PortalError.code] = PortalError


class AddressError(PortalError):
    """An address that cannot be parsed or used.

    Attributes:
        position: index of the first offending character in the text, or None.
        reason: what is wrong there, in a few words.
    """

    code = "address_error"
    status = 400
    rpc_code = -32010
    members = ("position", "reason")

    def __init__(self, message: str = "", *, position: int | None = None, reason: str = "", **common: Any) -> None:
        super().__init__(message or reason, **common)
        self.position = position
        self.reason = reason


class RegistryError(PortalError):
    """A name or address that is unknown, already taken, or not a valid name.

    Attributes:
        name: the name looked up or registered, or None.
        kind: "conflict", "not_found" or "invalid".
    """

    code = "registry_error"
    status = 404
    rpc_code = -32601
    members = ("name", "kind")

    def __init__(self, message: str = "", *, name: str | None = None, kind: str = "not_found", **common: Any) -> None:
        super().__init__(message, **common)
        self.name = name
        self.kind = kind

    def _restore_member(self, name: str, value: Any) -> None:
        # A server that only says 404 says that there is nothing.
        super()._restore_member(name, "not_found" if name == "kind" and not isinstance(value, str) else value)


class _FaultyError(PortalError):
    """An error that lists faults; the shared half of ValidationError and FunctionError."""

    errors: tuple[Fault, ...]

    def _member_to_json(self, name: str) -> Any:
        return [fault.to_dict() for fault in self.errors] if name == "errors" else super()._member_to_json(name)

    def _restore_member(self, name: str, value: Any) -> None:
        if name == "errors":
            rows = value if isinstance(value, list) else []
            self.errors = tuple(Fault.from_dict(row) for row in rows if isinstance(row, Mapping))
        else:
            super()._restore_member(name, value)


class ValidationError(_FaultyError):
    """Parameters that do not fit the function's schema.

    Attributes:
        errors: every fault found, each with its path; of more than 1,000 the first, and one that says so.
    """

    code = "validation_error"
    status = 422
    rpc_code = -32602
    members = ("errors",)

    def __init__(self, message: str = "", *, errors: Iterable[Fault] = (), **common: Any) -> None:
        self.errors = tuple(errors)
        super().__init__(message or _summary(self.errors), **common)


def _summary(faults: tuple[Fault, ...]) -> str:
    if not faults:
        return "the data does not fit its schema"
    text = "; ".join(f"{fault.path or 'value'}: {fault.message}" for fault in faults[:3])
    return text if len(faults) <= 3 else f"{text}; and {len(faults) - 3} more"


class FunctionError(_FaultyError):
    """The function itself failed: it raised, or returned what does not fit its output schema.

    Attributes:
        type: class name of what it raised; "InvalidOutput" for a result that does not fit.
        errors: the faults of a result that does not fit, else empty.
        private: whether its words are those of a foreign exception or a result, which stay on this side of a transport
            unless the portal runs with debug=True. A FunctionError that a function raises itself is meant to be read.
    """

    private = False

    @property
    def public_message(self) -> str:
        """What a client reads of a private one: where to find the rest."""
        where = f", under request {self.request_id}" if self.request_id else ""
        return f"{self.context.get('operation', 'the function')} failed; the server's log says why{where}"

    code = "function_error"
    status = 500
    rpc_code = -32000
    members = ("type", "errors")

    def __init__(self, message: str = "", *, type: str = "", errors: Iterable[Fault] = (), **common: Any) -> None:
        super().__init__(message, **common)
        self.type = type
        self.errors = tuple(errors)


class AuthenticationError(PortalError):
    """Who is calling is not known: no credential, or a wrong one."""

    code = "authentication_error"
    status = 401
    rpc_code = -32001


class AuthorizationError(PortalError):
    """The caller is known and may not do this."""

    code = "authorization_error"
    status = 403
    rpc_code = -32003


_LONGEST_WAIT = 1_000_000_000  # seconds


class _RetryAfterError(PortalError):
    """An error that says when to try again; retry_after is in seconds, or None when not known."""

    retryable = True
    members = ("retry_after",)

    def __init__(self, message: str = "", *, retry_after: float | None = None, **common: Any) -> None:
        super().__init__(message, **common)
        self.retry_after = retry_after

    def _restore_member(self, name: str, value: Any) -> None:
        known = type(value) in (int, float) and 0 <= value <= _LONGEST_WAIT  # a peer may send anything; NaN fails too
        super()._restore_member(name, value if known else None)


class RateLimitError(_RetryAfterError):
    """Too many calls; retry_after is in seconds."""

    code = "rate_limited"
    status = 429
    rpc_code = -32029


class CircuitOpenError(_RetryAfterError):
    """The breaker in front of this peer refuses calls for now; nothing was sent. retry_after is in seconds."""

    code = "circuit_open"
    status = 503
    rpc_code = -32005


class OverloadedError(_RetryAfterError):
    """Every worker and every place in the queue is taken; the function did not run. retry_after is in seconds."""

    code = "overloaded"
    status = 503
    rpc_code = -32006


class CallTimeout(PortalError, TimeoutError):
    """No answer before the deadline; the function may still be running.

    Attributes:
        timeout: seconds the call was given, where known.
    """

    code = "timeout"
    status = 504
    rpc_code = -32004
    members = ("timeout",)

    def __init__(self, message: str = "", *, timeout: float | None = None, **common: Any) -> None:
        super().__init__(message, **common)
        self.timeout = timeout


class CallCancelled(PortalError):
    """The caller gave the call up; the function may have run in part."""

    code = "cancelled"
    status = 499
    rpc_code = -32800


class TransportError(PortalError, ConnectionError):
    """The network or the peer failed.

    Attributes:
        may_have_executed: False only when it is certain that the function did not run, so that sending the
            call again is safe.
    """

    code = "transport_error"
    status = 502
    rpc_code = -32002
    members = ("may_have_executed",)

    def __init__(self, message: str = "", *, may_have_executed: bool = True, **common: Any) -> None:
        common.setdefault("retryable", not may_have_executed)
        super().__init__(message, **common)
        self.may_have_executed = may_have_executed

    def note_earlier(self, earlier: PortalError) -> None:
        """Take over what an earlier attempt of the same call leaves open; this one may have sent nothing."""
        if not self.may_have_executed and (earlier.executed or getattr(earlier, "may_have_executed", False)):
            self.may_have_executed, self.retryable = True, False
            self.message = f"{self.message}; an earlier attempt may have been executed"
            self.args = (self.message,)

    def _restore_member(self, name: str, value: Any) -> None:
        super()._restore_member(name, value is not False)  # a peer that does not say leaves the call unsafe to repeat


class SerializationError(PortalError):
    """Bytes that are not JSON, or a value that JSON cannot carry."""

    code = "serialization_error"
    status = 400
    rpc_code = -32700


class ProtocolError(PortalError):
    """A message that breaks the protocol.

    Attributes:
        status: the exact HTTP status where HTTP has one (405, 411, 413, 414, 415, 431, 501, 505).
    """

    code = "protocol_error"
    status = 400
    rpc_code = -32600

    def __init__(self, message: str = "", *, status: int | None = None, **common: Any) -> None:
        super().__init__(message, **common)
        if status is not None:
            self.status = status


class JavaScriptError(PortalError):
    """User-written JavaScript failed.

    Attributes:
        stage: "syntax", "load", "execution", "timeout" or "memory".
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
        stage: str = "execution",
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


class ConsumerError(PortalError):
    """Every way to make a call failed.

    Attributes:
        attempts: what was tried, in order: address and error, as JSON data.
        advice: what the caller can do about it.
    """

    code = "consumer_error"
    status = 502
    rpc_code = -32009
    members = ("attempts", "advice")

    def __init__(
        self, message: str = "", *, attempts: Iterable[Mapping[str, Any]] = (), advice: str = "", **common: Any
    ) -> None:
        super().__init__(message, **common)
        self.attempts: list[dict[str, Any]] = [dict(row) for row in attempts]
        self.advice = advice

    def _restore_member(self, name: str, value: Any) -> None:
        if name == "attempts":
            rows = value if isinstance(value, list) else []
            self.attempts = [dict(row) for row in rows if isinstance(row, Mapping)]
        else:
            super()._restore_member(name, value)


def error_table() -> list[tuple[str, str, int, int, bool]]:
    """One row a public class: class name, code, HTTP status, JSON-RPC code, retryable. The docs are made from it."""
    names = [name for name in __all__ if name not in ("Fault", "error_table", "shorten")]
    classes: list[type[PortalError]] = [globals()[name] for name in names]
    return [(cls.__name__, cls.code, cls.status, cls.rpc_code, cls.retryable) for cls in classes]
