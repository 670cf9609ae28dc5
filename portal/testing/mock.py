"""Mock: a function that answers what a test tells it to."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..address import Address
from ..context import CallContext
from ..errors import ConfigError, PortalError, RegistryError
from ..function import Function
from ..function.failure import reported
from ..schema import FunctionSchema, Parameters
from .matchers import params_match

__all__ = ["Mock", "MockFunction"]

_Action = Callable[[dict[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class _Behaviour:
    wanted: Mapping[str, Any]
    after: int
    number: int
    act: _Action

    @property
    def weight(self) -> tuple[bool, int, int]:
        return bool(self.wanted), self.after, self.number


class Mock:
    """Says how a mocked function answers.

        portal.mock("billing.charge").returns({"paid": True}).after(2).raises(OverloadedError("busy"))
        portal.mock(charge).when(amount=matching("^-")).raises(ValueError("negative"))

    A behaviour with `when` goes before one without; of several, the one with the largest `after` that has been reached
    counts, and of those the latest given. Threads: one sets it up; any may call it.

    Attributes:
        function: what is published.
        calls: how many calls it has answered.
    """

    def __init__(self, function: MockFunction) -> None:
        self.function = function
        self.calls = 0
        self.resolver: Callable[[Address], Function] | None = None
        self._behaviours: tuple[_Behaviour, ...] = ()  # replaced whole, so that a call sees one state of it
        self._wanted: Mapping[str, Any] = {}
        self._after = 0
        self._lock = threading.Lock()  # guards the count and the values in a row; not held over user code

    @property
    def address(self) -> Address:
        """Where it is published, `test://name/1`. Raises RegistryError before it is."""
        if self.function.address is None:
            raise RegistryError(f"the mock {self.function.name} is not published", name=self.function.name)
        return self.function.address

    def resolve(self) -> Function:
        """The Function at its address, as a caller gets it: `mock.resolve()(amount=3)`."""
        address = self.address
        assert self.resolver is not None  # it is given with the address
        return self.resolver(address)

    def when(self, **params: Any) -> Mock:
        """The behaviour that follows is for calls with these parameters, as JSON data; values may be matchers."""
        self._wanted = params
        return self

    def after(self, calls: int) -> Mock:
        """The behaviour that follows begins after so many calls."""
        self._after = calls
        return self

    def _add(self, act: _Action) -> Mock:
        made = _Behaviour(self._wanted, self._after, len(self._behaviours), act)
        self._behaviours = (*self._behaviours, made)
        self._wanted, self._after = {}, 0
        return self

    def returns(self, *values: Any) -> Mock:
        """Give these values, one a call; the last one is given again and again."""
        left = list(values) or [None]

        def act(_: dict[str, Any]) -> Any:
            with self._lock:
                return left.pop(0) if len(left) > 1 else left[0]

        return self._add(act)

    def raises(self, error: BaseException | type[BaseException]) -> Mock:
        """Raise this; what is no PortalError reaches the caller as a FunctionError, as from a real function."""
        if not _is_error(error):
            raise ConfigError.invalid("mock.raises", error, "an exception, or a class of exceptions")

        def act(_: dict[str, Any]) -> Any:
            raise _fresh(error)

        return self._add(act)

    def side_effect(self, effect: Callable[..., Any] | Iterable[Any]) -> Mock:
        """Call this with the parameters, or take the next of these; one that is an exception is raised.

        With a contract the parameters are native values with defaults filled, as the real function gets them.
        """
        if callable(effect):
            return self._add(lambda native: effect(**native))
        values = iter(effect)
        taking = threading.RLock()  # one thread at a time in the iterable; one that calls its own mock does not hang

        def act(_: dict[str, Any]) -> Any:
            with taking:
                try:
                    value = next(values)
                except StopIteration:
                    raise RegistryError(f"the mock {self.function.name} has no more answers", kind="invalid") from None
            if _is_error(value):
                raise _fresh(value)
            return value

        return self._add(act)

    def yields(self, items: Iterable[Any]) -> Mock:
        """Be a stream of these items; one that is an exception is raised in its place.

        Raises: ConfigError when the mock has a contract that is not a streaming one.
        """
        self.function.become_stream()
        kept = list(items)
        return self._add(lambda _: _play(kept))

    def answer(self, params: Mapping[str, Any], native: dict[str, Any]) -> Any:
        """What a call gets.

        Args:
            params: JSON data, for `when`.
            native: what a side effect is called with.
        """
        with self._lock:
            past = self.calls
            self.calls += 1
        fitting = [one for one in self._behaviours if one.after <= past and params_match(one.wanted, params)]
        if not fitting:
            raise RegistryError(f"the mock {self.function.name} has no answer for {dict(params)!r}", kind="invalid")
        return max(fitting, key=lambda one: one.weight).act(native)


class MockFunction(Function):
    """A Function that a Mock answers; with a contract it checks parameters and results as the real one does."""

    def __init__(self, schema: FunctionSchema, contract: Function | None = None, *, bare: bool = False) -> None:
        super().__init__(
            self._answer,
            schema=schema,
            parameters=contract.parameters if contract else Parameters.from_schema(schema.input_schema),
            output=contract.output if contract else schema.output_schema,
            validate_output=contract.validate_output if contract else "error",
        )
        self._bare = bare
        self.mock = Mock(self)

    @classmethod
    def of(cls, source: Any) -> MockFunction:
        """For a name, a FunctionSchema, a Function or a plain callable."""
        if isinstance(source, str):
            return cls(FunctionSchema(name=source, input={"type": "object"}, output={}), bare=True)
        if isinstance(source, FunctionSchema):
            return cls(source)
        contract = Function.of(source)
        return cls(contract.schema, contract)

    def become_stream(self) -> None:
        """Take items from now on; ConfigError when a contract says that there is one result."""
        if self.schema.streaming:
            return
        if not self._bare:
            raise ConfigError.invalid("mock.yields", self.name, "used with a streaming function")
        self.schema = replace(self.schema, streaming=True)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Call it in this thread with native values; what its Mock raises comes as from a portal."""
        if self.streaming:
            return self.stream(*args, **kwargs)
        return self._native(self.invoke(self._sent(args, kwargs), CallContext.for_call()))

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """The items of a mocked stream as native values."""
        items = self.iterate(self._sent(args, kwargs), CallContext.for_call())
        return (self._native(item) for item in items)

    def _sent(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        return self.parameters.dump(self.parameters.bind(args, kwargs))

    def invoke(self, params: Mapping[str, Any], context: CallContext) -> Any:
        """Answer one call as the Mock says."""
        self._require_stream(False)
        native = self._loaded(params, context)
        with reported():
            result = self._answer(params, native)
        return self.encode_result(result)

    def iterate(self, params: Mapping[str, Any], context: CallContext) -> Iterator[Any]:
        """Answer one streaming call as the Mock says; it is asked when the first item is."""
        self._require_stream(True)
        return self._items({"params": params, "native": self._loaded(params, context)})

    def _loaded(self, params: Mapping[str, Any], context: CallContext) -> dict[str, Any]:
        native = self.parameters.load(params)
        if self.parameters.inject is not None:
            native[self.parameters.inject] = context
        return native

    def _answer(self, params: Mapping[str, Any], native: dict[str, Any]) -> Any:
        return self.mock.answer(params, native)


def _is_error(value: Any) -> bool:
    return isinstance(value, BaseException) or (isinstance(value, type) and issubclass(value, BaseException))


def _fresh(error: Any) -> Any:
    """An error of its own for each call: the request id and the traceback are written on it."""
    if not isinstance(error, PortalError):
        return error
    own = copy.copy(error)
    own.context = dict(error.context)
    own.__cause__ = error.__cause__
    return own


def _play(items: Iterable[Any]) -> Iterator[Any]:
    for item in items:
        if _is_error(item):
            raise _fresh(item)
        yield item
