"""Function: a Python callable with a name and a schema."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from types import MethodType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, overload

from .._internal.closing import close_and_log
from .._internal.executor import shared_executor
from .._internal.log import get_logger
from ..address import Address
from ..context import CallContext
from ..errors import ConfigError, FunctionError, PortalError, ProtocolError, ValidationError
from ..schema import FunctionSchema, Parameters, Schema
from .describe import OutputCheck, check_output_option, describe
from .failure import function_error, is_failure, limit_exposure, portal_errors_only, require_sendable
from .metadata import attributes_of, reference_to
from .returns import result_loader, returned_text

if TYPE_CHECKING:
    from typing import Self

    from typing_extensions import ParamSpec, TypeVar  # with defaults (PEP 696): `Function` alone is any function

    P = ParamSpec("P", default=...)
    R_co = TypeVar("R_co", covariant=True, default=Any)
    Q = ParamSpec("Q")
    T = TypeVar("T")
    OwnerT = TypeVar("OwnerT")
else:
    from typing import ParamSpec, TypeVar

    P = ParamSpec("P")
    R_co = TypeVar("R_co", covariant=True)

__all__ = ["Function", "make_function"]

_log = get_logger("portal.function")


class Function(Generic[P, R_co]):
    """A callable with a name and a FunctionSchema. Portals publish Functions and resolve addresses to them.

    Type checkers see the parameters and the result of the callable: `Function[[float, float], float]`.

    Args:
        target: the Python callable; takes the parameters by keyword.
        schema: the schema.
        parameters: validates parameters and converts them to native values.
        output: the same for the result, or for each item of a stream.
        validate_output: what to do with a result that does not fit: "error" (raise), "warn" (log it and return it) or
            "off" (return it).
        address: the address that was resolved to it, or None.
        options: the options of `@function`. Another process that cannot find the function by its name makes it from
            them. None for a function that was made in another way.

    Threads: any; a Function holds no state between calls. Pickle: as the name under which it is found in its module.
    """

    options: Mapping[str, Any] | None = None

    def __init__(
        self,
        target: Callable[..., Any],
        *,
        schema: FunctionSchema,
        parameters: Parameters,
        output: Schema,
        validate_output: OutputCheck = "error",
        address: Address | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.target = target
        self.schema = schema
        self.parameters = parameters
        self.output = output
        self.validate_output: OutputCheck = check_output_option(validate_output)
        self.address = address
        self._method: Function | None = None  # the schema without `self`, made on first use
        self.options = options
        self.__dict__.update(attributes_of(target, schema, options))

    @staticmethod
    def of(source: Any) -> Function:
        """Return a Function unchanged, or make one from the type hints of a callable. Raises ConfigError."""
        return source if isinstance(source, Function) else make_function(source, {})

    def __repr__(self) -> str:
        where = f" at {self.address}" if self.address is not None else ""
        returns = self.__dict__.get("_returns", "")
        return f"<Function {self.name}@{self.schema.version}{where}{returns}>"

    @property
    def name(self) -> str:
        """The name in registries and addresses."""
        return self.schema.name

    @property
    def streaming(self) -> bool:
        """Whether a call returns a stream of items."""
        return self.schema.streaming

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Self: ...

    @overload
    def __get__(
        self: Function[Concatenate[OwnerT, Q], T], instance: OwnerT, owner: type | None = None
    ) -> Function[Q, T]: ...

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """Return a Function bound to an instance, as Python binds methods; return itself for the class."""
        bound = None if instance is None else _bound(self.target, instance)
        if bound is None:
            return self
        method = self._method
        if method is None:  # two threads may both make it; the results are equal
            method = self._method = _as_method(self, bound.__func__)
        return method._with_target(bound)

    def _with_target(self, target: Callable[..., Any]) -> Function:
        """Return this Function of a method, bound to another instance."""
        found = Function.__new__(Function)
        found.__dict__ |= self.__dict__ | {"target": target, "__wrapped__": target}
        return found

    def returning(self, returns: Any = None) -> Function[P, Any]:
        """Return this function with results, or items of a stream, of another type.

        Args:
            returns: a type, such as `Invoice`, to load JSON data into; None leaves them JSON data.

        Raises: ConfigError for a type without a JSON Schema. A call raises ValidationError for a result that does not
            fit the type.
        """
        found = object.__new__(type(self))
        # in place of `_native`, so that other functions have no test for it
        found.__dict__ |= self.__dict__ | {"_native": result_loader(self, returns), "_returns": returned_text(returns)}
        return found

    def __reduce__(self) -> Any:
        return reference_to(self, self.options, make_function)

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function with native values; see `call`."""
        return self.call(*args, **kwargs)

    def call(self, /, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function in this thread with native values.

        Returns: the native result, or the iterator of a stream.
        Raises: ValidationError for parameters that do not fit; FunctionError for a result that does not fit; any
            exception of the callable.
        """
        if self.streaming:
            items: Any = self.stream(*args, **kwargs)
            return items  # type: ignore[no-any-return]
        native = self._native_arguments(args, kwargs)
        result: Any = self._native(self.encode_result(self.target(**native)))
        return result  # type: ignore[no-any-return]

    @overload
    def stream(self: Function[Q, Iterable[T]], /, *args: Q.args, **kwargs: Q.kwargs) -> Iterator[T]: ...

    @overload
    def stream(self, /, *args: Any, **kwargs: Any) -> Iterator[Any]: ...

    def stream(self, /, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Return an iterator of the native items of a stream. The parameters are validated before this returns."""
        self._require_stream(True)
        native = self._native_arguments(args, kwargs)
        return (self._native(self.encode_result(item)) for item in self.target(**native))

    @overload
    def submit(self, /, *args: P.args, **kwargs: P.kwargs) -> Future[R_co]: ...

    @overload
    def submit(self, /, *args: Any, executor: Executor | None, **kwargs: Any) -> Future[R_co]: ...

    def submit(  # type: ignore[misc]  # checkers cannot see that a parameter `executor` is passed on
        self, /, *args: Any, executor: Executor | None = None, **kwargs: Any
    ) -> Future[Any]:
        """Call the function in a thread of `executor`, by default the shared one of this process; return a Future.

        A function with a parameter `executor` gets the argument, and runs in the shared one.
        """
        if "executor" in self.parameters.names:
            if executor is not None:
                kwargs["executor"] = executor
            executor = None
        return (executor or shared_executor()).submit(self.call, *args, **kwargs)

    def invoke(self, params: Mapping[str, Any], context: CallContext) -> Any:
        """Run one call: JSON data in, JSON data out.

        Raises: ValidationError for parameters that do not fit; a PortalError of the callable, unchanged; FunctionError
            for another exception of the callable, and for a result that does not fit.
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
            limit_exposure(error, self.name)
            require_sendable(error)
            raise
        except BaseException as error:
            if not is_failure(error):
                raise
            raise function_error(error) from error
        return result if self.output.plain(result) else self.encode_result(result)

    def iterate(self, params: Mapping[str, Any], context: CallContext) -> Iterator[Any]:
        """Run a streaming call: validate the parameters, then return an iterator of JSON data.

        Closing the iterator closes the callable's generator.
        """
        self._require_stream(True)
        native = self.parameters.load(params)
        if self.parameters.inject is not None:
            native[self.parameters.inject] = context
        return self._items(native)

    def _items(self, native: dict[str, Any]) -> Iterator[Any]:
        source, is_plain = None, self.output.plain
        try:
            with portal_errors_only():
                source = iter(self.target(**native))
            while True:
                try:
                    item = next(source)
                except StopIteration:
                    return
                except BaseException:
                    with portal_errors_only():  # entering it for each item would cost more than a small item
                        raise
                yield item if is_plain(item) else self.encode_result(item)
        finally:
            close_and_log(source, f"the stream of {self.name}")

    def _native_arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        inject = self.parameters.inject
        context = kwargs.pop(inject, None) if inject is not None else None
        native = self.parameters.load(self.parameters.dump(self.parameters.bind(args, kwargs)))
        if inject is not None:
            native[inject] = context or CallContext.for_call()
        return native

    def _require_stream(self, wanted: bool) -> None:
        if self.schema.streaming != wanted:
            problem = "is not a stream; call it" if wanted else "is a stream; iterate it with stream or stream_at"
            raise ProtocolError(f"{self.name} {problem}", status=406, address=self.address)

    def encode_result(self, result: Any) -> Any:
        """Return a native result, or an item of a stream, as JSON data. Raises FunctionError if it does not fit."""
        if self.validate_output != "error":
            return self._encode_leniently(result)
        try:
            return self.output.dump(result)
        except ValidationError as error:
            message = f"the result of {self.name} does not fit its output schema: {error}"
            raise FunctionError(message, type="InvalidOutput", errors=error.errors, private=True) from None

    def _encode_leniently(self, result: Any) -> Any:
        try:
            return self.output.dump(result)
        except ValidationError as error:
            if self.validate_output == "warn":
                _log.warning("the result of %s does not fit its output schema: %s", self.name, error)
            return result

    def _native(self, value: Any) -> Any:
        decode = self.output.decode
        if decode is None or (self.validate_output != "error" and not self.output.accepts(value)):
            return value
        try:
            return decode(value)
        except BaseException as error:
            if not is_failure(error):
                raise
            raise self._undecodable(value, error) from error

    def _undecodable(self, value: Any, error: BaseException) -> PortalError:
        """Return the error for a result that cannot be converted to its native value."""
        found = self.output.decode_error(value, error)
        if not isinstance(found, ValidationError):
            return found
        message = f"the result of {self.name} has no native value: {found}"
        return FunctionError(message, type="InvalidOutput", errors=found.errors, private=True)


def _bound(target: Any, instance: object) -> MethodType | None:
    """Return a plain function bound to an instance; None for another kind of callable."""
    bind = getattr(type(target), "__get__", None)
    bound = None if bind is None or isinstance(target, MethodType) else bind(target, instance, type(instance))
    return bound if isinstance(bound, MethodType) else None


def _as_method(member: Function, target: Callable[..., Any]) -> Function:
    """Return the Function of a method, with the options of `@function`; its schema is made again without `self`."""
    schema, input_schema = member.schema, member.parameters.schema
    options = {
        "name": schema.name,
        "version": schema.version,
        "input": None if input_schema.source is member.target else input_schema,
        "output": member.output,
        "description": schema.description if member.options is None else member.options.get("description"),
        "tags": schema.tags,
        "examples": schema.examples,
        "idempotent": schema.idempotent,
        "cacheable": schema.cacheable,
        "deprecated": schema.deprecated,
        "timeout": schema.timeout,
        "max_body": schema.max_body,
        "raises": schema.raises,
        "validate_output": member.validate_output,
    }
    return make_function(MethodType(target, _Unbound()), options)


class _Unbound:
    """Stands in for `self` while the signature of a method is read, so that no instance is kept alive."""


def make_function(target: Callable[..., Any], options: Mapping[str, Any]) -> Function:
    """Make a Function from a callable and the options of `@function`. Raises ConfigError."""
    if isinstance(target, Function):
        raise ConfigError(f"{target.name} must be a plain callable, got a Function", path="function")
    found = describe(target, options)
    return Function(
        target,
        schema=found.schema,
        parameters=found.parameters,
        output=found.output,
        validate_output=found.validate_output,
        options=dict(options),
    )
