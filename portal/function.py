"""Function: a contract and what answers it. `@function` makes one from a Python callable.

A Function has three doors. `function(a=1, b=2)` takes and gives native Python values and raises what the callable
raises. `invoke(params, context)` and `iterate(params, context)` take and give plain JSON data and raise portal errors
only: they are what portals call. A `ResolvedFunction` has the same doors and sends the call on to an address.
"""

from __future__ import annotations

import collections.abc
import functools
import inspect
import logging
import threading
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from types import MethodType
from typing import Any, Literal, Protocol, overload

from ._internal.executor import shared_executor
from .address import Address
from .context import CallContext
from .errors import ConfigError, FunctionError, PortalError, ProtocolError, ValidationError
from .schema import FunctionSchema, Parameters, Schema, unclassed

__all__ = ["Carrier", "Function", "OutputCheck", "ResolvedFunction", "function", "is_failure"]

OutputCheck = Literal["error", "warn", "off"]
_OUTPUT_CHECKS = ("error", "warn", "off")

_log = logging.getLogger("portal.function")
_OPTIONS = frozenset(
    (
        *("name", "version", "input", "output", "description", "tags", "examples"),
        *("idempotent", "cacheable", "deprecated", "timeout", "validate_output"),
    )
)
_STREAM_ORIGINS = (collections.abc.Iterator, collections.abc.Iterable, collections.abc.Generator)


class Function:
    """A callable with a name and a FunctionSchema; what every portal takes and gives.

    Args:
        target: the Python callable; takes the parameters by keyword.
        schema: the contract.
        parameters: how parameters are checked and turned into native values.
        output: the same for the result, or for each item of a stream.
        validate_output: what happens to a result that does not fit: "error", "warn" (logged, passed on) or "off".

    Threads: any; a Function holds no state between calls.
    """

    def __init__(
        self,
        target: Callable[..., Any],
        *,
        schema: FunctionSchema,
        parameters: Parameters,
        output: Schema,
        validate_output: OutputCheck = "error",
        address: Address | None = None,
    ) -> None:
        if validate_output not in _OUTPUT_CHECKS:
            raise ConfigError.invalid("function.validate_output", validate_output, '"error", "warn" or "off"')
        self.target = target
        self.schema = schema
        self.parameters = parameters
        self.output = output
        self.validate_output: OutputCheck = validate_output
        self.address = address
        self._method: Function | None = None  # the contract without `self`, once it was asked for
        self.__name__ = schema.name
        self.__doc__ = schema.description
        self.__wrapped__ = target

    @staticmethod
    def of(source: Any) -> Function:
        """The Function itself, or one made from a plain callable's hints."""
        return source if isinstance(source, Function) else function(source)

    def __repr__(self) -> str:
        where = f" at {self.address}" if self.address is not None else ""
        return f"<Function {self.name}@{self.schema.version}{where}>"

    @property
    def name(self) -> str:
        """The name under which registries and addresses know it."""
        return self.schema.name

    @property
    def streaming(self) -> bool:
        """Whether a call gives a stream of items instead of one result."""
        return self.schema.streaming

    def __get__(self, instance: object, owner: type | None = None) -> Function:
        """In a class it is a method: of an instance, the Function without `self`."""
        bound = None if instance is None else _bound(self.target, instance)
        if bound is None:
            return self
        method = self._method
        if method is None:  # two threads may both make it: they make the same
            method = self._method = _as_method(self, bound.__func__)
        return Function(
            bound,
            schema=method.schema,
            parameters=method.parameters,
            output=method.output,
            validate_output=self.validate_output,
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it with native Python values; see `call`."""
        return self.call(*args, **kwargs)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Call it in this thread with native values.

        Returns: the native result; of a stream, the iterator that `stream` gives.
        Raises: ValidationError for parameters that do not fit, FunctionError for a result that does not fit, and
            whatever the callable raises.
        """
        if self.streaming:
            return self.stream(*args, **kwargs)
        native = self._native_arguments(args, kwargs)
        return self._native(self.encode_result(self.target(**native)))

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """The items of a stream as native values; parameters are checked before this returns."""
        self._require_stream(True)
        native = self._native_arguments(args, kwargs)
        return (self._native(self.encode_result(item)) for item in self.target(**native))

    def submit(self, *args: Any, executor: Executor | None = None, **kwargs: Any) -> Future[Any]:
        """Call it in a thread of `executor` (default: the executor shared by this process); gives a Future."""
        return (executor or shared_executor()).submit(self.call, *args, **kwargs)

    def invoke(self, params: Mapping[str, Any], context: CallContext) -> Any:
        """Answer one call: JSON data in, JSON data out.

        Raises: ValidationError; FunctionError for what the callable raises or returns wrongly; a PortalError that the
            callable raises, as it is.
        """
        if self.schema.streaming:
            self._require_stream(False)
        native = self.parameters.load(params)
        if self.parameters.inject is not None:
            native[self.parameters.inject] = context
        try:
            result = self.target(**native)
        except PortalError as error:
            error.delivery = "executed"
            if (sent := error.sendable()) is not error:
                raise sent from error
            raise
        except BaseException as error:
            if not is_failure(error):
                raise
            raise self.failure(error) from error
        return result if self.output.plain(result) else self.encode_result(result)

    def iterate(self, params: Mapping[str, Any], context: CallContext) -> Iterator[Any]:
        """Answer a streaming call: parameters are checked before this returns; then one JSON value an item.

        Closing the iterator closes the callable's generator.
        """
        self._require_stream(True)
        native = self.parameters.load(params)
        if self.parameters.inject is not None:
            native[self.parameters.inject] = context
        return self._items(native)

    def _items(self, native: dict[str, Any]) -> Iterator[Any]:
        source = None
        try:
            with self._failures():
                source = iter(self.target(**native))
            while True:
                with self._failures():
                    try:
                        item = next(source)
                    except StopIteration:
                        return
                yield self.encode_result(item)
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                close()

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except PortalError as error:
            error.delivery = "executed"
            if (sent := error.sendable()) is not error:
                raise sent from error
            raise
        except BaseException as error:
            if not is_failure(error):
                raise
            raise self.failure(error) from error

    def failure(self, error: BaseException) -> FunctionError:
        """The portal error for what the target raised, if that was none."""
        kind = type(error).__name__
        return FunctionError(f"{kind}: {error}", type=kind, private=True)

    def _native_arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        inject = self.parameters.inject
        context = kwargs.pop(inject, None) if inject is not None else None
        native = self.parameters.load(self.parameters.dump(self.parameters.bind(args, kwargs)))
        if inject is not None:
            native[inject] = context or CallContext.for_call()
        return native

    def _require_stream(self, wanted: bool) -> None:
        if self.schema.streaming != wanted:
            advice = "is no stream: call it" if wanted else "is a stream: iterate it with stream or stream_at"
            raise ProtocolError(f"{self.name} {advice}", status=406, address=self.address)

    def encode_result(self, result: Any) -> Any:
        """A native result, or an item of a stream, as JSON data; FunctionError for one that does not fit."""
        if self.validate_output != "error":
            return self._encode_leniently(result)
        try:
            return self.output.dump(result)
        except ValidationError as error:
            message = f"{self.name} returned what does not fit its schema: {error}"
            raise FunctionError(message, type="InvalidOutput", errors=error.errors, private=True) from None

    def _encode_leniently(self, result: Any) -> Any:
        try:
            return self.output.dump(result)
        except ValidationError as error:
            if self.validate_output == "warn":
                _log.warning("%s returned what does not fit its schema: %s", self.name, error)
            return result

    def _native(self, value: Any) -> Any:
        decode = self.output.decode
        if decode is None or (self.validate_output != "error" and not self.output.accepts(value)):
            return value
        return decode(value)


def is_failure(error: BaseException) -> bool:
    """Whether what a callable raised is an answer to its caller, and not meant for the process.

    SystemExit, KeyboardInterrupt and the like mean something in the main thread. In any other they would end that
    thread alone, without a word to whoever waits for its answer; and argparse raises SystemExit over what it was given.
    """
    return isinstance(error, Exception) or threading.current_thread() is not threading.main_thread()


def _bound(target: Any, instance: object) -> MethodType | None:
    """The target as a method of the instance, where it is a plain function, as Python itself would bind it."""
    bind = getattr(type(target), "__get__", None)
    bound = None if bind is None or isinstance(target, MethodType) else bind(target, instance, type(instance))
    return bound if isinstance(bound, MethodType) else None


def _as_method(member: Function, target: Callable[..., Any]) -> Function:
    """A `@function` method with the options it was given; hints are read again, now without `self`."""
    schema, given = member.schema, member.parameters.schema
    return function(
        name=schema.name,
        version=schema.version,
        input=None if given.source is member.target else given,
        output=member.output,
        description=schema.description,
        tags=schema.tags,
        examples=schema.examples,
        idempotent=schema.idempotent,
        cacheable=schema.cacheable,
        deprecated=schema.deprecated,
        timeout=schema.timeout,
        validate_output=member.validate_output,
    )(MethodType(target, _Nobody()))


class _Nobody:
    """In the place of `self` while a method's signature is read: no instance is kept alive by a contract."""


class Carrier(Protocol):
    """What takes a resolved function's calls to where they are answered."""

    def invoke(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Any:
        """Carry one call; JSON data both ways; raises portal errors only."""

    def iterate(self, function: ResolvedFunction, params: Mapping[str, Any], context: CallContext) -> Iterator[Any]:
        """Carry one streaming call."""


class ResolvedFunction(Function):
    """A Function that an address was resolved to: same contract, answered there.

    Args:
        timeout: seconds for a call of it, or a whole stream, within whatever deadline is inherited; None for none.

    Threads: any.
    """

    def __init__(
        self,
        carrier: Carrier,
        *,
        schema: FunctionSchema,
        address: Address,
        parameters: Parameters | None = None,
        output: Schema | None = None,
        timeout: float | None = None,
    ) -> None:
        self.carrier = carrier
        self.timeout = timeout
        self.schema = schema
        self.address = address
        self.validate_output = "error"
        self._known_parameters = parameters
        self._known_output = output
        self.__name__ = schema.name
        self.__doc__ = schema.description

    def __get__(self, instance: object, owner: type | None = None) -> Function:
        """Itself: what an address leads to takes no `self`."""
        return self

    @functools.cached_property
    def parameters(self) -> Parameters:  # type: ignore[override]
        """How native parameters become JSON data; of a contract that arrived as JSON, as its formats say."""
        return self._known_parameters or Parameters.from_schema(Schema.of(Schema.of(self.schema.input).to_hint()))

    @functools.cached_property
    def output(self) -> Schema:  # type: ignore[override]
        """How a result becomes a native value: a date-time a datetime, an object a dict."""
        return self._known_output or Schema.of(Schema.of(self.schema.output).to_hint())

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Call it where its address leads, with native values.

        Raises: portal errors only; what the function raised there is a FunctionError.
        """
        if self.streaming:
            return self.stream(*args, **kwargs)
        return self._native(self.invoke(self._params(args, kwargs), CallContext.for_call(self.timeout)))

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """The items of a stream as native values."""
        params = self._params(args, kwargs)
        return (self._native(item) for item in self.iterate(params, CallContext.for_call(self.timeout)))

    def _params(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        given = self.parameters.bind(args, kwargs)
        # A contract that came as JSON has no classes: a dataclass goes as the object that its hint stands for.
        return self.parameters.dump(given if self._known_parameters is not None else unclassed(given))

    def invoke(self, params: Mapping[str, Any], context: CallContext) -> Any:
        """Send one call on; JSON data both ways."""
        return self.carrier.invoke(self, params, context)

    def iterate(self, params: Mapping[str, Any], context: CallContext) -> Iterator[Any]:
        """Send one streaming call on."""
        return self.carrier.iterate(self, params, context)


@overload
def function(target: Callable[..., Any], /) -> Function: ...


@overload
def function(
    *,
    name: str | None = None,
    version: str = "1",
    input: Any = None,
    output: Any = None,
    description: str | None = None,
    tags: Iterable[str] = (),
    examples: Iterable[Mapping[str, Any]] = (),
    idempotent: bool = False,
    cacheable: bool = False,
    deprecated: bool = False,
    timeout: float | None = None,
    validate_output: OutputCheck = "error",
) -> Callable[[Callable[..., Any]], Function]: ...


def function(target: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a Function of a callable: its hints are the schema, its docstring the description.

    Args:
        name: the callable's own when None.
        version: PEP 440 version of the contract.
        input, output: hint, marshmallow Schema or JSON Schema; from the hints when None.
        description: the docstring when None.
        tags, examples: for documents; an example is {"input": {...}, "output": ...}.
        idempotent: calling twice does what calling once does: a call may be sent again.
        cacheable: the result depends on the parameters alone.
        deprecated: callers should move on.
        timeout: seconds a call may take when the caller sets no less.
        validate_output: "error", "warn" or "off".

    Raises: ConfigError for a callable that cannot be described: a coroutine function, `*args`, positional-only
        parameters, a hint without a schema.
    """
    if target is None:
        return functools.partial(_make_function, options=options)
    return _make_function(target, options)


def _make_function(target: Callable[..., Any], options: Mapping[str, Any]) -> Function:
    if isinstance(target, Function):
        raise ConfigError(f"{target.name} is a Function already", path="function", expected="a plain callable")
    if not callable(target):
        raise ConfigError.invalid("function", target, "a callable")
    if inspect.iscoroutinefunction(target) or inspect.isasyncgenfunction(target):
        raise ConfigError(
            f"{_name_of(target)} is a coroutine function", path="function", expected="a function without async"
        )
    settings = dict(options)
    unknown = settings.keys() - _OPTIONS
    if unknown:
        allowed = ", ".join(sorted(_OPTIONS))
        raise ConfigError(f"@function has no option {', '.join(sorted(unknown))}", path="function", expected=allowed)
    given_input, given_output = settings.pop("input", None), settings.pop("output", None)
    check: OutputCheck = settings.pop("validate_output", "error")
    streaming = inspect.isgeneratorfunction(inspect.unwrap(target))
    parameters = Parameters.of(target) if given_input is None else Parameters.from_schema(Schema.of(given_input))
    output = Schema.of(_output_hint(target, streaming) if given_output is None else given_output)
    description = settings.pop("description", None)
    schema = FunctionSchema(
        name=settings.pop("name", None) or _name_of(target),
        input=parameters.schema.json,
        output=output.json,
        description=inspect.getdoc(target) or "" if description is None else description,
        tags=tuple(settings.pop("tags", ())),
        examples=tuple(settings.pop("examples", ())),
        streaming=streaming,
        **settings,
    )
    return Function(target, schema=schema, parameters=parameters, output=output, validate_output=check)


def _name_of(target: Any) -> str:
    if isinstance(target, functools.partial):
        return _name_of(target.func)
    return str(getattr(target, "__name__", type(target).__name__))


def _output_hint(target: Callable[..., Any], streaming: bool) -> Any:
    plain = target.func if isinstance(target, functools.partial) else target
    if not inspect.isroutine(plain):
        plain = type(plain).__call__
    try:
        hint = typing.get_type_hints(plain, include_extras=True).get("return", Any)
    except NameError as error:
        allowed = "a hint that can be resolved"
        raise ConfigError(f"{_name_of(target)}: {error}", path="return", expected=allowed) from None
    if not streaming:
        return hint
    if typing.get_origin(hint) in _STREAM_ORIGINS:
        arguments = typing.get_args(hint)
        return arguments[0] if arguments else Any
    return Any
