"""PlacedFunction: a function that runs in another process or interpreter of this machine."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, NoReturn, TypeAlias

from .._internal.at_fork import new_lock
from ..context import CallContext
from ..errors import CallTimeout, ConfigError, FunctionError, PortalError
from ..processes.interpreters import InterpreterPool
from ..processes.jobs import Job, Runner
from ..processes.pool import ProcessPool
from .callable import Function
from .describe import describe
from .failure import function_error, limit_exposure
from .remote_call import Reference, context_to_dict, is_remote, run_call

__all__ = ["Place", "PlacedFunction", "invoke_elsewhere", "make_placed", "run_elsewhere", "runner_of"]

#: Where a function runs: in the pool of this process, or in one of its own.
Place: TypeAlias = Literal["processes", "interpreters"] | ProcessPool | InterpreterPool
_POOLS: dict[str, Callable[[], ProcessPool | InterpreterPool]] = {
    "processes": ProcessPool,
    "interpreters": InterpreterPool,
}
_lock = new_lock()  # guards making the shared pools
_shared: dict[str, ProcessPool | InterpreterPool] = {}


def runner_of(place: Place) -> Runner:
    """Return the pool of a place.

    Raises: ConfigError for another value, and for "interpreters" before CPython 3.14.
    """
    if isinstance(place, ProcessPool | InterpreterPool):
        return place
    if not isinstance(place, str) or place not in _POOLS:
        raise ConfigError.invalid("function.executor", place, '"processes", "interpreters", a ProcessPool or None')
    with _lock:
        if place not in _shared:
            _shared[place] = _POOLS[place]()
        return _shared[place]


class PlacedFunction(Function[..., Any]):
    """A Function whose callable runs elsewhere. Parameters and results are validated in this process.

    Args:
        runner: where it runs.

    Threads: any.
    """

    def __init__(self, target: Callable[..., Any], *, runner: Runner, **options: Any) -> None:
        super().__init__(target, **options)
        self.runner = runner

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Return itself for the class. Raises: ConfigError for an instance."""
        if instance is None:
            return self
        message = f"{self.name} must be a function of a module to run in another process, got a method"
        raise ConfigError(message, path="function.executor", expected="a function of a module")

    def call(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function with native values; it runs elsewhere, unless this is that process already."""
        if is_remote.get():
            return super().call(*args, **kwargs)
        native = self._native_arguments(args, kwargs)
        context = CallContext.for_call()
        kind, value = run_elsewhere(self, self.runner, native, context)
        if kind == "error":
            try:
                raise value
            finally:
                del value  # else the exception and this frame refer to each other
        return self._native(self.encode_result(value))

    def invoke(self, params: Mapping[str, Any], context: CallContext) -> Any:
        """Run one call: JSON data in, JSON data out."""
        if is_remote.get():
            return super().invoke(params, context)
        return invoke_elsewhere(self, self.runner, params, context)


def invoke_elsewhere(function: Function, runner: Runner, params: Mapping[str, Any], context: CallContext) -> Any:
    """Run one call of a function in another process: JSON data in, JSON data out.

    Raises: as `Function.invoke`, and what `Runner.run` raises.
    """
    kind, value = run_elsewhere(function, runner, function.parameters.load(params), context)
    if kind == "error":
        try:
            _raise(function, value)
        finally:
            del value  # else the exception and this frame refer to each other
    return value if function.output.plain(value) else function.encode_result(value)


def run_elsewhere(
    function: Function, runner: Runner, native: dict[str, Any], context: CallContext
) -> tuple[Literal["ok", "error"], Any]:
    """Run one call with native arguments. Return ("ok", result) or ("error", what the function raised)."""
    inject = function.parameters.inject
    if inject is not None:
        native.pop(inject, None)
    target = Reference.of(function.target) or function.target
    arguments = (target, native, context_to_dict(context), inject)
    needs_main = isinstance(target, Reference) and target.module == "__main__"
    reply: Any = runner.run(Job(function.name, run_call, arguments, needs_main), context)
    kind, value = reply[:2]
    if kind in ("ok", "error"):
        return kind, value
    if kind == "late":
        message = f"{function.name} was not called: the deadline had already passed"
        raise CallTimeout(message, delivery="not_sent", context={"request_id": context.request_id})
    if kind == "absent":
        message = f"{function.name} was not found in its worker process: {value}{_guard(needs_main)}"
        raise FunctionError(message, type="ImportError", private=True, delivery="not_sent")
    message = f"the response of {function.name} cannot be read: {value}: {reply[2]}{_guard(needs_main)}"
    raise FunctionError(message, type=str(value), private=True, delivery="unknown")


def _guard(needs_main: bool) -> str:
    return '; a script must make its calls below `if __name__ == "__main__":`' if needs_main else ""


def _raise(function: Function, error: Exception) -> NoReturn:
    if isinstance(error, PortalError):
        error.delivery = "executed"
        limit_exposure(error, function.name)
        try:
            raise error
        finally:
            del error  # else the exception and this frame refer to each other
    raise function_error(error) from error


def make_placed(target: Callable[..., Any], options: Mapping[str, Any], place: Place) -> PlacedFunction:
    """Make a Function that runs elsewhere. Raises: ConfigError for a callable that another process cannot find."""
    runner = runner_of(place)
    found = describe(target, options)
    if found.schema.streaming:
        message = f"{found.schema.name} is a stream, which runs in the process that serves it; leave out executor="
        raise ConfigError(message, path="function.executor")
    if not inspect.isfunction(target) or Reference.of(target) is None:
        message = f"{found.schema.name} must be a function of a module to run in another process, got {target!r:.120}"
        raise ConfigError(message, path="function.executor", expected="a function of a module")
    return PlacedFunction(
        target,
        runner=runner,
        schema=found.schema,
        parameters=found.parameters,
        output=found.output,
        validate_output=found.validate_output,
    )
