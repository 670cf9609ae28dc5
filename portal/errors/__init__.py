"""Every error that Portal raises: one class, one code, one HTTP status, one JSON-RPC code.

    PortalError             (message, code, status, retryable, delivery, hint, context)
      AddressError          an address that cannot be parsed or used (position, reason)
      RegistryError         a name or address that is unknown, taken or invalid (name, kind)
      ValidationError       data that does not fit its schema (errors: every fault with its path)
      FunctionError         the function itself failed (type, errors)
      AuthenticationError   the credential is missing or wrong
      AuthorizationError    the caller is known, but may not make this call
      RateLimitError        too many calls (retry_after)
      CallTimeout           no response before the deadline (timeout; also a builtin TimeoutError)
      CallCancelled         the caller cancelled the call
      TransportError        the network or the peer failed (also a builtin ConnectionError)
      CircuitOpenError      the breaker rejects calls for now (retry_after)
      OverloadedError       all workers are busy and the queue is full (retry_after)
      SerializationError    bytes that are not JSON, or a value that JSON cannot carry
      ProtocolError         the peer broke the protocol, or this side did (status)
      JavaScriptError       JavaScript code of the user failed (stage, line, column, js_stack)
      ConfigError           a setting has a wrong value (path, value, expected; also a builtin ValueError)
      ConsumerError         every attempt to make a call failed (attempts, advice)

An error is data: it pickles, `to_dict()` gives JSON data, and `from_dict()` gives the same class back, whichever
transport carried it. A subclass with a `code` of its own takes part by being defined; see `PortalError`.

Source: HTTP statuses RFC 9110 section 15, problem members RFC 9457 section 3.1, JSON-RPC codes JSON-RPC 2.0 section
5.1.
"""

from __future__ import annotations

from .access import AuthenticationError, AuthorizationError, RateLimitError
from .base import Delivery, PortalError
from .data import FunctionError, SerializationError, ValidationError
from .declared import declared_error
from .delivery import (
    CallCancelled,
    CallTimeout,
    CircuitOpenError,
    ConsumerError,
    OverloadedError,
    ProtocolError,
    TransportError,
)
from .fault import Fault, shorten
from .lookup import AddressError, RegistryError
from .setup import ConfigError, JavaScriptError

__all__ = [
    "AddressError",
    "AuthenticationError",
    "AuthorizationError",
    "CallCancelled",
    "CallTimeout",
    "CircuitOpenError",
    "ConfigError",
    "ConsumerError",
    "Delivery",
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
    "declared_error",
    "error_table",
    "shorten",
]


def error_table() -> list[tuple[str, str, int, int, bool]]:
    """Return a row for each public class: class name, code, HTTP status, JSON-RPC code, retryable.

    The table in the docs is made from it.
    """
    public = (globals()[name] for name in __all__)
    classes = [one for one in public if isinstance(one, type) and issubclass(one, PortalError)]
    return [(cls.__name__, cls.code, cls.status, cls.rpc_code, cls.retryable) for cls in classes]
