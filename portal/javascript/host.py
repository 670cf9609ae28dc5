"""HostAPI: what scripts may ask of this process. By default that is nothing but `console`, which writes to the log.

portal.call(address, params)                       a promise of the result
scratch.get(key), scratch.set(key, value), scratch.delete(key)     promises
crypto.randomUUID()                                text
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import translate
from functools import cached_property, partial
from typing import Any, NamedTuple

from .._internal.at_fork import new_lock
from .._internal.log import get_logger
from .._internal.settings import count, flag, instance, positive_seconds, seconds, size, text, whole_number
from ..context import CallContext
from ..errors import PortalError, ValidationError
from ..schema import Schema
from .engine import EngineError

__all__ = ["CallHost", "Caller", "Grant", "HostAPI", "Scratch"]

_log = get_logger("portal.javascript.console")
_LEVELS = {"debug": logging.DEBUG, "log": logging.INFO, "info": logging.INFO, "warn": logging.WARNING}
_MIB = 1024 * 1024

#: Calls an address, such as `Consumer.call_at`: (address, params, timeout=, context=) -> JSON data.
Caller = Callable[..., Any]


@dataclass(frozen=True)
class Grant:
    """Permission to call addresses with `portal.call`.

    Attributes:
        address: an address, or a pattern with "*", such as "http://stock.example/api/*".
        max_calls: how many times one call of a script may use the grant.
        timeout: seconds for each call; the deadline of the script's own call applies as well.
        params: a type hint, marshmallow schema or JSON Schema of the parameters; None permits any.

    Raises: ConfigError for a wrong value.

    Threads: immutable; any thread may use it.
    """

    address: str
    max_calls: int = 10
    timeout: float | None = None
    params: Any = None

    def __post_init__(self) -> None:
        text("grant.address", self.address)
        count("grant.max_calls", self.max_calls)
        positive_seconds("grant.timeout", self.timeout, optional=True)
        if self.params is not None:
            _ = self.schema

    @cached_property
    def schema(self) -> Schema:
        """The schema of the parameters."""
        return Schema.of({} if self.params is None else self.params)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(translate(self.address))

    def permits(self, address: str) -> bool:
        """Return whether the grant is for an address."""
        return address == self.address or ("*" in self.address and self._pattern.match(address) is not None)


class Scratch:
    """Values that functions keep between their calls, by function and key.

    Args:
        max_entries: keys of one function.
        max_bytes: characters of the JSON text of all values of one function.

    Raises: ConfigError for a wrong setting.

    Threads: any.
    """

    def __init__(self, *, max_entries: int = 1000, max_bytes: int = _MIB) -> None:
        self._max_entries = count("scratch.max_entries", max_entries)
        self._max_bytes = size("scratch.max_bytes", max_bytes)
        self._lock = new_lock()  # guards the values
        self._values: dict[str, dict[str, str]] = {}

    def get(self, function: str, key: str) -> str:
        """Return the JSON text of a value; "null" if there is none."""
        return self._values.get(function, {}).get(key, "null")

    def set(self, function: str, key: str, value: str) -> None:
        """Keep JSON text. Raises: EngineError (stage "host") beyond a limit."""
        with self._lock:
            values = self._values.setdefault(function, {})
            used = sum(len(name) + len(one) for name, one in values.items() if name != key)
            if key not in values and len(values) >= self._max_entries:
                raise EngineError("host", f"scratch must have at most {self._max_entries:,} keys", name="HostError")
            if used + len(key) + len(value) > self._max_bytes:
                message = f"scratch must have at most {self._max_bytes:,} characters"
                raise EngineError("host", message, name="HostError")
            values[key] = value

    def delete(self, function: str, key: str) -> None:
        """Forget a value."""
        with self._lock:
            self._values.get(function, {}).pop(key, None)


@dataclass(frozen=True)
class HostAPI:
    """The host API: the services of this process that functions of a portal may use.

    Attributes:
        grants: what `portal.call` may call.
        scratch: where `scratch` keeps values; None gives scripts no scratch.
        uuid: whether there is `crypto.randomUUID`.
        now: seconds since the epoch that `Date` tells in every call; None for the clock of the system.
        seed: makes `Math.random` and `crypto.randomUUID` give the same values in every call; None for random ones.
        modules: sources of modules by name; a function lists those that it may import.

    Raises: ConfigError for a wrong value.

    Threads: immutable; any thread may use it.
    """

    grants: tuple[Grant, ...] = ()
    scratch: Scratch | None = None
    uuid: bool = False
    now: float | None = None
    seed: int | None = None
    modules: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for grant in instance("host.grants", self.grants, tuple, expected="a tuple of Grant"):
            instance("host.grants", grant, Grant, expected="a tuple of Grant")
        instance("host.scratch", self.scratch, Scratch, optional=True)
        flag("host.uuid", self.uuid)
        seconds("host.now", self.now, optional=True)
        whole_number("host.seed", self.seed, minimum=0, optional=True)
        instance("host.modules", self.modules, Mapping, expected="sources by name")

    def options(self) -> dict[str, Any]:
        """Return the options of the prelude."""
        found: dict[str, Any] = {}
        if self.grants:
            found["call"] = True
        if self.scratch is not None:
            found["scratch"] = True
        if self.uuid:
            found["uuid"] = True
        if self.now is not None:
            found["now"] = int(self.now * 1000)
        if self.seed is not None:
            found["seed"] = self.seed
        return {"setup": True, **found} if found else {}

    def for_function(self, caller: Caller | None, name: str) -> Callable[[CallContext], CallHost]:
        """Return a callable that makes the host of one call of a function.

        Args:
            caller: makes the calls of `portal.call`.
            name: the name of the function.
        """
        return partial(CallHost, Services(self, caller, name))


class Services(NamedTuple):
    """The services for one function: what is granted, what makes the calls of `portal.call`, and its name."""

    api: HostAPI
    caller: Caller | None
    name: str


class CallHost:
    """Handles the requests of one call. Most calls make none, so what requests need is made by the first one.

    Args:
        services: of the function.
        context: of the call.

    Attributes:
        errors: the portal errors that the script has got, by message; None before the first.
        fuel: what the call took, if the engine counts it.

    Threads: the thread of the call.
    """

    __slots__ = ("_context", "_services", "_used", "errors", "fuel")

    def __init__(self, services: Services, context: CallContext) -> None:
        self._services = services
        self._context = context
        self._used: dict[int, int] | None = None
        self.errors: dict[str, PortalError] | None = None
        self.fuel: int | None = None

    def __call__(self, kind: str, body: str) -> str:
        """Handle one request and return its result as JSON text; see `Host`.

        Raises: EngineError (stage "host") for a request that is not granted, or that fails.
        """
        if kind == "log":
            with suppress(TypeError, ValueError):  # hostile code may have forged it
                level, line = json.loads(body)
                words, name = "%s: request_id=%s: %s", self._services.name
                _log.log(_LEVELS.get(level, logging.ERROR), words, name, self._context.request_id, line)
            return "null"
        if kind == "fuel":
            self.fuel = int(body)
            return "null"
        try:
            values = json.loads(body)
            if kind == "call":
                return self._call(*values)
            scratch = self._services.api.scratch
            if kind in ("get", "set", "delete") and scratch is not None:
                return self._scratch(scratch, kind, *values)
        except (TypeError, ValueError, RecursionError):
            raise EngineError("host", f"{kind} has wrong arguments", name="HostError") from None
        raise EngineError("host", f"{kind} is not granted to this function", name="HostError")

    def _scratch(self, scratch: Scratch, kind: str, key: Any, value: Any = None) -> str:
        if not isinstance(key, str):
            raise EngineError("host", "a key of scratch must be a string", name="HostError")
        name = self._services.name
        if kind == "get":
            return scratch.get(name, key)
        if kind == "set":
            scratch.set(name, key, json.dumps(value, separators=(",", ":")))
        else:
            scratch.delete(name, key)
        return "null"

    def _call(self, address: Any, params: Any) -> str:
        grant, caller = self._grant(address), self._services.caller
        if caller is None:
            raise EngineError("host", "portal.call needs JavaScriptPortal(caller=)", name="HostError")
        context = self._context.child(timeout=grant.timeout)
        context.watched = False  # what is called may have to be ended at the deadline by another thread
        try:
            if grant.params is not None:
                grant.schema.load(params)
            if not isinstance(params, dict):
                raise ValidationError("the parameters must be an object")
            return json.dumps(caller(address, params, context=context), allow_nan=False)
        except PortalError as error:
            message = error.message_for_client(debug=False)
            self.errors = {**(self.errors or {}), message: error.with_traceback(None)}  # whose frames refer to this
            raise EngineError("host", message, name=type(error).__name__) from None

    def _grant(self, address: Any) -> Grant:
        if not isinstance(address, str):
            raise EngineError("host", "the address must be a string", name="HostError")
        if self._used is None:
            self._used = {}
        for index, grant in enumerate(self._services.api.grants):
            if grant.permits(address):
                used = self._used[index] = self._used.get(index, 0) + 1
                if used > grant.max_calls:
                    message = f"at most {grant.max_calls} calls of {grant.address} are granted"
                    raise EngineError("host", message, name="HostError")
                return grant
        raise EngineError("host", f"a call of {address[:200]} is not granted", name="HostError")
