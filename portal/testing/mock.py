"""Mock: a function whose results a test sets."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .._internal.settings import require
from ..address import Address
from ..consumer.objects.client import json_of
from ..context import CallContext
from ..errors import ConfigError, PortalError, RegistryError, TransportError
from ..function import Function
from ..function.failure import portal_errors_only
from ..schema import FunctionSchema, Parameters
from .call_faults import CallFaults, fresh_error, is_error
from .matchers import params_match

__all__ = ["Mock", "MockFunction"]

#: What can be raised.
Raisable = BaseException | type[BaseException]
_Action = Callable[[dict[str, Any]], Any]
_Resolve = Callable[[Address], Function]


@dataclass(frozen=True, slots=True)
class _Behaviour:
    params: Mapping[str, Any]
    after: int
    number: int
    act: _Action

    @property
    def precedence(self) -> tuple[bool, int, int]:
        return bool(self.params), self.after, self.number


class Mock:
    """Sets what a mocked function does.

        portal.mock("billing.charge").returns({"paid": True}).after(2).raises(OverloadedError("busy"))
        portal.mock(charge).when(amount=matching("^-")).raises(ValueError("negative"))

    Each of `returns`, `raises`, `side_effect` and `yields` adds a behaviour. A behaviour with `when` takes precedence
    over one without. Among those, the one with the largest `after` that was reached applies; if there are several, the
    last one added.

    `slow`, `fails` and `drops_after_execution` add faults of the network between the caller and the mock. The seed of
    the portal decides which calls have one.

    Args:
        function: the function that is published.
        seed: of the faults.

    Attributes:
        function: the function that is published.
        calls: the number of calls so far that reached the mock.
        faults: the faults of the network.

    Threads: one sets it up; any may call it.
    """

    def __init__(self, function: MockFunction, seed: int = 0) -> None:
        self.function = function
        self.faults = CallFaults(f"{seed}/{function.name}")
        self.calls = 0
        self._behaviours: tuple[_Behaviour, ...] = ()  # replaced whole, so that a call sees one state of it
        self._params: Mapping[str, Any] = {}
        self._after = 0
        self._lock = threading.Lock()  # guards the count and the values to return; not held during user code

    @property
    def address(self) -> Address:
        """The address it is published at, `test://name/1`.

        Raises: RegistryError if it is not published.
        """
        return self.function.published_address()

    def resolve(self) -> Function:
        """Return the Function at its address, as a caller gets it: `mock.resolve()(amount=3)`.

        Raises: RegistryError if it is not published.
        """
        return self.function.resolve()

    def when(self, /, **params: Any) -> Mock:
        """Restrict the next behaviour to calls with these parameters, as JSON data; values may be matchers."""
        self._params = params
        return self

    def after(self, calls: int) -> Mock:
        """Begin the next behaviour after that many calls."""
        self._after = calls
        return self

    def _add(self, act: _Action) -> Mock:
        added = _Behaviour(self._params, self._after, len(self._behaviours), act)
        self._behaviours = (*self._behaviours, added)
        self._params, self._after = {}, 0
        return self

    def returns(self, *values: Any) -> Mock:
        """Return these values, one a call; the last one repeats."""
        left = list(values) or [None]

        def act(_: dict[str, Any]) -> Any:
            with self._lock:
                return left.pop(0) if len(left) > 1 else left[0]

        return self._add(act)

    def raises(self, *errors: Raisable | Iterable[Raisable]) -> Mock:
        """Raise these errors, one a call; the last one repeats.

        The caller gets a FunctionError for one that is not a PortalError, as from a real function.

        Args:
            errors: exceptions or exception classes, or one sequence of them.

        Raises: ConfigError for a value that cannot be raised.
        """
        first = errors[0] if len(errors) == 1 else errors
        given = [first] if is_error(first) or not isinstance(first, Iterable) else list(first)
        require(given, "mock.raises", given, "at least one exception or exception class")
        for one in given:
            require(is_error(one), "mock.raises", one, "an exception or an exception class")

        def act(_: dict[str, Any]) -> Any:
            with self._lock:
                error = given.pop(0) if len(given) > 1 else given[0]
            raise fresh_error(error)

        return self._add(act)

    def side_effect(self, effect: Callable[..., Any] | Iterable[Any]) -> Mock:
        """Call a function with the parameters, or take the next item of an iterable; an exception among them is raised.

        With a schema the parameters are native values with defaults filled, as the real function gets them.
        """
        if callable(effect):
            return self._add(lambda native: effect(**native))
        values = iter(effect)
        taking = threading.RLock()  # one thread at a time iterates; the iterable may call this mock

        def act(_: dict[str, Any]) -> Any:
            with taking:
                try:
                    value = next(values)
                except StopIteration:
                    message = f"the side effect of mock {self.function.name} has no more values"
                    raise RegistryError(message, kind="invalid") from None
            if is_error(value):
                raise fresh_error(value)
            return value

        return self._add(act)

    def yields(self, items: Iterable[Any]) -> Mock:
        """Stream these items; an exception among them is raised in its place.

        Raises: ConfigError if the mock has a schema that is not a streaming one.
        """
        self.function.become_stream()
        kept = list(items)
        return self._add(lambda _: _play(kept))

    # faults of the network

    def slow(self, seconds: float, share: float = 1.0) -> Mock:
        """Delay calls by that many seconds before they reach the mock; a call ends at its deadline all the same.

        Args:
            share: the part of the calls, from 0 to 1.
        """
        self.faults.slow(seconds, share)
        return self

    def fails(self, share: float, error: PortalError | type[PortalError] = TransportError) -> Mock:
        """Raise an error in a part of the calls, which do not reach the mock.

        Args:
            share: the part of the calls, from 0 to 1.
            error: the error, or its class.
        """
        self.faults.fails(share, error)
        return self

    def drops_after_execution(self, share: float = 1.0) -> Mock:
        """Lose the response of a part of the calls.

        The mock is called, and its caller gets a TransportError whose `may_have_executed` is True.

        Args:
            share: the part of the calls, from 0 to 1.
        """
        self.faults.drops(share)
        return self

    def respond(self, params: Mapping[str, Any], native: dict[str, Any]) -> Any:
        """Return the result of one call, or raise its error.

        Args:
            params: JSON data, compared with `when`.
            native: the arguments of a side effect.

        Raises: RegistryError (invalid) if no behaviour applies.
        """
        with self._lock:
            past = self.calls
            self.calls += 1
        matching = [one for one in self._behaviours if one.after <= past and params_match(one.params, params)]
        if not matching:
            message = f"the mock {self.function.name} has no behavior for {dict(params)!r}"
            raise RegistryError(message, kind="invalid", hint="give it one, such as mock.returns(value)")
        return max(matching, key=lambda one: one.precedence).act(native)


class MockFunction(Function):
    """A Function with the behaviour of its Mock; with a schema it validates like the real function."""

    def __init__(
        self, schema: FunctionSchema, original: Function | None = None, *, any_schema: bool = False, seed: int = 0
    ) -> None:
        super().__init__(
            self._respond,
            schema=schema,
            parameters=original.parameters if original else Parameters.from_schema(schema.input_schema),
            output=original.output if original else schema.output_schema,
            validate_output=original.validate_output if original else "error",
        )
        self._any_schema = any_schema
        self._resolve: _Resolve | None = None
        self.mock = Mock(self, seed)

    @classmethod
    def of(cls, source: Any, seed: int = 0) -> MockFunction:
        """Make one for a name, or with the schema of a FunctionSchema, a Function or a plain callable."""
        if isinstance(source, str):
            schema = FunctionSchema(name=source, input={"type": "object"}, output={})
            return cls(schema, any_schema=True, seed=seed)
        if isinstance(source, FunctionSchema):
            return cls(source, seed=seed)
        original = Function.of(source)
        return cls(original.schema, original, seed=seed)

    def publish(self, apply: Callable[[Function], Address], resolve: _Resolve) -> Mock:
        """Publish it through a portal and return its Mock.

        Args:
            apply: publishes a Function and returns its address.
            resolve: returns the Function at an address.
        """
        self.address, self._resolve = apply(self), resolve
        return self.mock

    def published_address(self) -> Address:
        """Return its address.

        Raises: RegistryError if it is not published.
        """
        if self.address is None:
            raise RegistryError(f"the mock {self.name} is not published", name=self.name)
        return self.address

    def resolve(self) -> Function:
        """Return the Function at its address, as a caller gets it.

        Raises: RegistryError if it is not published.
        """
        address = self.published_address()
        assert self._resolve is not None  # set together with the address
        return self._resolve(address)

    def become_stream(self) -> None:
        """Stream from now on.

        Raises: ConfigError if the function is not a streaming function.
        """
        if self.schema.streaming:
            return
        if not self._any_schema:
            raise ConfigError.invalid("mock.yields", self.name, "used on a mock of a streaming function")
        self.schema = replace(self.schema, streaming=True)

    def call(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call it in this thread with native values; errors of its Mock are those that a portal raises."""
        if self.streaming:
            return self.stream(*args, **kwargs)
        return self._native(self.invoke(self._sent(args, kwargs), CallContext.for_call()))

    def stream(self, /, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Yield the items of a mocked stream as native values."""
        items = self.iterate(self._sent(args, kwargs), CallContext.for_call())
        return (self._native(item) for item in items)

    def _sent(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        return self.parameters.dump(self.parameters.bind(args, kwargs))

    def invoke(self, params: Mapping[str, Any], context: CallContext) -> Any:
        """Return the result of one call, by the behaviour of the Mock."""
        self._require_stream(False)
        native = self._loaded(params, context)
        with portal_errors_only():
            result = self._respond(params, native)
        return self.encode_result(result)

    def iterate(self, params: Mapping[str, Any], context: CallContext) -> Iterator[Any]:
        """Yield the items of one streaming call; the behaviour is chosen when the first item is read."""
        self._require_stream(True)
        return self._items({"params": params, "native": self._loaded(params, context)})

    def encode_result(self, result: Any) -> Any:
        """Return a result, or an item of a stream, as JSON data; without a schema, dataclasses and dates as well."""
        return super().encode_result(json_of(result) if self._any_schema else result)

    def _loaded(self, params: Mapping[str, Any], context: CallContext) -> dict[str, Any]:
        native = self.parameters.load(params)
        if self.parameters.inject is not None:
            native[self.parameters.inject] = context
        return native

    def _respond(self, params: Mapping[str, Any], native: dict[str, Any]) -> Any:
        return self.mock.respond(params, native)


def _play(items: Iterable[Any]) -> Iterator[Any]:
    for item in items:
        if is_error(item):
            raise fresh_error(item)
        yield item
