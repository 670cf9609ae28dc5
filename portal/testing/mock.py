"""Mock: a function that answers what a test tells it to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..context import CallContext
from ..errors import PortalError, RegistryError
from ..function import Function
from ..schema import FunctionSchema, Parameters, Schema
from .matchers import params_match

__all__ = ["Mock", "MockFunction"]

_Action = Callable[[Mapping[str, Any]], Any]


@dataclass(slots=True)
class _Behaviour:
    wanted: Mapping[str, Any]
    after: int
    act: _Action
    stream: bool = False


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
        self._behaviours: list[_Behaviour] = []
        self._wanted: Mapping[str, Any] = {}
        self._after = 0
        self._lock = threading.Lock()  # guards the count and the sequences; not held while a side effect runs

    def when(self, **params: Any) -> Mock:
        """The behaviour that follows is for calls with these parameters; values may be matchers."""
        self._wanted = params
        return self

    def after(self, calls: int) -> Mock:
        """The behaviour that follows begins after so many calls."""
        self._after = calls
        return self

    def _add(self, act: _Action, stream: bool = False) -> Mock:
        self._behaviours.append(_Behaviour(self._wanted, self._after, act, stream))
        self._wanted, self._after = {}, 0
        return self

    def returns(self, *values: Any) -> Mock:
        """Give these values, one a call; the last one is given again and again."""
        left = list(values) or [None]

        def act(_: Mapping[str, Any]) -> Any:
            with self._lock:
                return left.pop(0) if len(left) > 1 else left[0]

        return self._add(act)

    def raises(self, error: BaseException | type[BaseException]) -> Mock:
        """Raise this; what is no PortalError reaches the caller as a FunctionError, as from a real function."""

        def act(_: Mapping[str, Any]) -> Any:
            raise error

        return self._add(act)

    def side_effect(self, effect: Callable[..., Any] | Iterable[Any]) -> Mock:
        """Call this with the parameters, or take the next of these; one that is an exception is raised."""
        if callable(effect):
            return self._add(lambda params: effect(**params))
        values = iter(effect)

        def act(_: Mapping[str, Any]) -> Any:
            with self._lock:
                try:
                    value = next(values)
                except StopIteration:
                    raise RegistryError(f"the mock {self.function.name} has no more answers", kind="invalid") from None
            if isinstance(value, BaseException) or (isinstance(value, type) and issubclass(value, BaseException)):
                raise value
            return value

        return self._add(act)

    def yields(self, items: Iterable[Any]) -> Mock:
        """Be a stream of these items; the mock's contract must be a streaming one, or none."""
        kept = list(items)
        self.function.schema = _streaming(self.function.schema)
        return self._add(lambda _: iter(kept), stream=True)

    def answer(self, params: Mapping[str, Any]) -> Any:
        """What a call with these parameters gets."""
        with self._lock:
            past = self.calls
            self.calls += 1
        fitting = [one for one in self._behaviours if one.after <= past and params_match(one.wanted, params)]
        if not fitting:
            raise RegistryError(f"the mock {self.function.name} has no answer for {dict(params)!r}", kind="invalid")
        order = {id(one): number for number, one in enumerate(self._behaviours)}
        return max(fitting, key=lambda one: (bool(one.wanted), one.after, order[id(one)])).act(params)


class MockFunction(Function):
    """A Function that a Mock answers; with a contract it checks parameters and results as the real one does."""

    def __init__(self, schema: FunctionSchema, contract: Function | None) -> None:
        super().__init__(
            self._unused,
            schema=schema,
            parameters=contract.parameters if contract else Parameters.from_schema(Schema.of({"type": "object"})),
            output=contract.output if contract else Schema.of({}),
        )
        self.mock = Mock(self)

    def _unused(self) -> None:
        raise AssertionError("a mock is answered by its Mock")  # `invoke` and `iterate` never come here

    @classmethod
    def of(cls, source: Any) -> MockFunction:
        """For a name, a FunctionSchema, a Function or a plain callable."""
        if isinstance(source, str):
            return cls(FunctionSchema(name=source, input={"type": "object"}, output={}), None)
        if isinstance(source, FunctionSchema):
            made = cls(source, None)
            made.parameters = Parameters.from_schema(Schema.of(source.input))
            made.output = Schema.of(source.output)
            return made
        contract = Function.of(source)
        return cls(contract.schema, contract)

    def invoke(self, params: Mapping[str, Any], context: CallContext) -> Any:
        """Answer one call as the Mock says."""
        self._require_stream(False)
        self.schema.validate_input(params)
        return self._encode_output(self._answer(params))

    def iterate(self, params: Mapping[str, Any], context: CallContext) -> Iterator[Any]:
        """Answer one streaming call as the Mock says."""
        self._require_stream(True)
        self.schema.validate_input(params)
        return (self._encode_output(item) for item in self._answer(params))

    def _answer(self, params: Mapping[str, Any]) -> Any:
        try:
            return self.mock.answer(params)
        except PortalError:
            raise
        except Exception as error:
            raise self._failure(error) from error


def _streaming(schema: FunctionSchema) -> FunctionSchema:
    from dataclasses import replace

    return replace(schema, streaming=True)


