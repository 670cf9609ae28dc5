"""ScriptFunction: a published JavaScript function, with the versions of its code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, NamedTuple

from .._internal.at_fork import new_lock
from ..context import CallContext
from ..errors import CallTimeout, JavaScriptError, RegistryError
from ..function import Function
from ..schema import FunctionSchema, Parameters, Schema
from .counts import ScriptCounts
from .engine import EngineError
from .flat import FlatObject
from .fuel import FuelQuota
from .function import JSFunction
from .host import CallHost
from .json_text import decode_result, encode_parameters, is_plain_json
from .limits import Limits
from .pool.runner import Runner
from .program import Program
from .sandbox import Place

__all__ = ["Script", "ScriptFunction", "javascript_error"]

_MAX_VERSIONS = 20  # kept for rollback


class Script(NamedTuple):
    """One version of the code of a function."""

    declaration: JSFunction
    program: Program
    schema: FunctionSchema


class ScriptFunction(Function):
    """A JavaScript function at a portal.

    Args:
        script: the code.
        place: where it runs.
        limits: of each call.
        runner: returns the runner of the place.
        host: makes the host of a call.
        quota: bounds the fuel of each tenant.

    Attributes:
        counts: of its calls.

    Threads: any. `replace` and `rollback` swap the code at once; calls that run finish with the code they began with.
    """

    def __init__(
        self,
        script: Script,
        *,
        place: Place,
        limits: Limits,
        runner: Callable[[Place], Runner],
        host: Callable[[CallContext], CallHost],
        quota: FuelQuota | None = None,
    ) -> None:
        schema = script.schema
        parameters = Parameters.from_schema(Schema.of(schema.input, formats=True))
        output = Schema.of(schema.output, formats=True)
        super().__init__(self._run_native, schema=schema, parameters=parameters, output=output)
        self.place = place
        self.limits = limits
        self._runner = runner
        self._ready: Runner | None = None  # the runner of the last call
        self._host = host
        self._quota = quota
        self.counts = ScriptCounts()
        self._called = self.counts.called
        self._lock = new_lock()  # guards the code and its schema, so that threads which replace it lose none
        self._versions: tuple[Script, ...] = (script,)
        self._accepts = parameters.schema.accepts
        self._encode_flat = FlatObject(parameters.schema.json, parameters.schema.fits).encode
        self._decode_flat = FlatObject(output.json, output.fits).decode
        self._has_defaults = bool(parameters.defaults)

    @property
    def script(self) -> Script:
        """The code that the next call runs."""
        return self._versions[-1]

    def check(self, script: Script) -> None:
        """Load a script where it would run. Raises: JavaScriptError."""
        try:
            self._runner(self.place).run(script.program, "", self.limits, _no_host, None)
        except EngineError as error:
            raise javascript_error(error, self.name) from None

    def replace(self, script: Script) -> None:
        """Run other code from now on; the present code is kept for `rollback`."""
        with self._lock:
            self._versions = (*self._versions[1 - _MAX_VERSIONS :], script)
            self.schema = script.schema

    def rollback(self) -> None:
        """Run the code from before the last `replace`. Raises: RegistryError if there is none."""
        with self._lock:
            if len(self._versions) < 2:
                raise RegistryError(f"{self.name} has no earlier code", name=self.name, kind="not_found")
            self._versions = self._versions[:-1]
            self.schema = self._versions[-1].schema

    def invoke(self, params: Mapping[str, Any], context: CallContext) -> Any:
        """Make one call with JSON data, and return JSON data."""
        if not self._has_defaults and params.__class__ is dict:
            text = self._encode_flat(params)
            if text is not None:
                return self._run(text, context)
            if not self._accepts(params):
                params = self.parameters.load(params)
        else:
            params = self.parameters.load(params)
        return self._run(encode_parameters(params), context)

    def _run_native(self, **params: Any) -> Any:
        return self._run(encode_parameters(params), CallContext.current() or CallContext.for_call())

    def _run(self, text: str, context: CallContext) -> Any:
        self._called()
        host, limits, left = self._host(context), self.limits, None
        if context.deadline is not None:
            left = max(0.0, context.deadline - monotonic())
            limits = limits.with_time(max(left, 0.001))
        if self._quota is not None:
            limits = limits.with_fuel(self._quota.available(context))
        try:
            runner = self._ready
            if runner is None or runner.closed:
                runner = self._ready = self._runner(self.place)
            reply = runner.run(self._versions[-1].program, text, limits, host, left)
            result = self._decode_flat(reply)
            if result is not None:
                return result
            result = decode_result(reply)
        except EngineError as error:
            self.counts.failed(error.stage)
            if error.stage == "host" and host.errors and error.message in host.errors:
                # The script has not caught what its own call raised. This frame does not keep what it raises.
                raise host.errors.pop(error.message) from None
            if error.stage == "timeout" and context.expired:
                message = f"{self.name} was stopped at its deadline"
                raise CallTimeout(message, delivery="executed", timeout=limits.time) from None
            raise javascript_error(error, self.name) from None
        finally:
            if host.fuel is not None:
                self._note(host.fuel, context)
        if is_plain_json(reply) and self.output.fits(result):
            return result
        return result if self.output.accepts(result) else self.encode_result(result)

    def _note(self, fuel: int, context: CallContext) -> None:
        context.add_usage("fuel", fuel)
        self.counts.burnt(fuel)
        if self._quota is not None:
            self._quota.charge(context, fuel)


def javascript_error(error: EngineError, name: str) -> JavaScriptError:
    """Return the portal error for a failure of an engine."""
    kind = f"{error.name}: " if error.name and error.name != "Error" else ""
    return JavaScriptError(
        f"{name}: {kind}{error.message}",
        stage=error.stage,
        line=error.line,
        column=error.column,
        js_stack=error.stack,
        delivery="executed",
    )


def _no_host(kind: str, text: str) -> str:
    return "null"
