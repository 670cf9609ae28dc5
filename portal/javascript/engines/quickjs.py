"""The engine quickjs: QuickJS-ng through the package quickjs-ng.

It bounds the time, the memory and the stack itself. Its clock is the processor time of the process, so that several
threads use up a limit together; `TIME_FACTOR` makes up for it. Loops in native code, such as `new Array(1e9).join()`,
do not look at the clock; only a child process can be stopped then.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.util import find_spec
from time import monotonic
from typing import TYPE_CHECKING, Any

from ..engine import Capabilities, Engine, EngineError, Host, Stage
from ..prelude import core_source, is_needed, late_source
from .driver import Realm, call_realm, explain_memory, finish_call, load_realm, out_of_memory, place_of, settle_realm

if TYPE_CHECKING:
    from ..limits import Limits
    from ..program import Program

__all__ = ["QuickJSEngine"]

_MIB = 1024 * 1024
#: Code without any of these makes no promise jobs. Only warm contexts ask, thus trusted code. A job that hides from
#: this pattern runs in a later call of the same program.
_JOBS = re.compile(
    r"\b(?:async|await|Promise|then|queueMicrotask|eval|Function|constructor|import|require|globalThis|Reflect"
    r"|FinalizationRegistry|portal|scratch)\b"
)
#: What a context is made for: the options and arguments of the prelude, and whether all of it is needed.
_Key = tuple[str, tuple[str, ...] | None, bool]


class QuickJSEngine(Engine):
    """Runs programs in QuickJS-ng; see `Engine`.

    Args:
        time_factor: multiplies the time limit of the engine, where other threads use processor time as well.
    """

    name = "quickjs"
    install = "quickjs-ng"

    def __init__(self, time_factor: float = 1.0) -> None:
        self._factor = time_factor
        self._spare: tuple[_Key, QuickJSRealm] | None = None

    @staticmethod
    def is_available() -> bool:
        """Return whether the package quickjs-ng is installed."""
        return find_spec("quickjs") is not None and _version() != ""

    @staticmethod
    def capabilities() -> Capabilities:
        """Return what QuickJS-ng can do."""
        return Capabilities(
            version=_version(),
            edition=2023,
            isolation=frozenset(("process",)),
            trusted=True,
            limits=frozenset(("time", "memory", "stack", "output", "log", "jobs")),
            promises=True,
            address_space=448 * _MIB,
        )

    @classmethod
    def in_threads(cls, time_factor: float) -> QuickJSEngine:
        """Return an engine whose limit on processor time is raised."""
        return cls(time_factor)

    def compile(self, program: Program, limits: Limits) -> Any:
        """Load a program into a new context."""
        key, makes_jobs = _facts_of(program)
        spare, self._spare = self._spare, None
        realm = spare[1] if spare is not None and spare[0] == key else QuickJSRealm(key, self._factor)
        realm.require_memory(limits)
        load_realm(realm, program, limits)
        realm.makes_jobs = makes_jobs
        return realm

    def prepare(self, program: Program, limits: Limits) -> None:
        """Make the context for the next program."""
        key, _ = _facts_of(program)
        if self._spare is None or self._spare[0] != key:
            self._spare = key, QuickJSRealm(key, self._factor)

    def call(self, handle: Any, text: str, limits: Limits, host: Host) -> str:
        """Call the function in its context."""
        realm: QuickJSRealm = handle
        if realm.seed is not None or realm.seconds != limits.time:
            return call_realm(realm, text, limits, host)
        # the same, without the frames: this is most calls in a warm context
        end = monotonic() + limits.time
        try:
            reply: str = realm.entry("call", text)
        except realm.failures as error:
            raise realm.error_of(error) from None
        if reply[0] in "+~?!" or "null" in reply or len(reply) > limits.output:
            return finish_call(realm, reply, end, limits, host)
        return reply

    def may_leave_jobs(self, handle: Any) -> bool:
        """Return whether the source has a word without which there are no promise jobs."""
        return bool(handle.makes_jobs)

    def settle(self, handle: Any, limits: Limits) -> bool:
        """Run the promise jobs that a call has left behind."""
        return handle.is_settled() or settle_realm(handle, limits)

    def release(self, handle: Any) -> None:
        """Drop the context."""
        handle.close()

    def close(self) -> None:
        """Drop the spare context."""
        spare, self._spare = self._spare, None
        if spare is not None:
            spare[1].close()


class QuickJSRealm(Realm):
    """A context of QuickJS with the prelude.

    Attributes:
        makes_jobs: whether the program may make promise jobs.
        seconds: the time limit that is set.
        entry: the function of the prelude.
        failures: the classes of what it raises.
    """

    makes_jobs = True

    def __init__(self, key: _Key, factor: float) -> None:
        import _quickjs as quickjs  # the package around it starts a thread

        self._failure = quickjs.JSException
        self._overflow = quickjs.StackOverflow
        self.failures = quickjs.JSException, quickjs.StackOverflow, TypeError
        self._factor = factor
        self._context: Any = quickjs.Context()
        self._context.set_max_stack_size(_MIB)
        self._limits: Limits | None = None
        self.seconds = 0.0
        self._source = ""
        options, arguments, eager = key
        self.late = late_source(options)
        self.entry: Any = self._context.eval(core_source(options, arguments))
        if eager:
            self.entry("late", late_source(options, eager=True))

    def close(self) -> None:
        """Drop the context; its memory is freed at once."""
        self.entry = self._context = None

    def is_settled(self) -> bool:
        """Return whether there are no promise jobs; if there are, one runs under the limit that was set last."""
        try:
            return not self._context.execute_pending_job()
        except self._failure:
            return False

    def require_memory(self, limits: Limits) -> None:
        """Apply the limits of memory and stack."""
        if limits is not self._limits:
            self._context.set_memory_limit(limits.memory)
            self._context.set_max_stack_size(limits.stack)
            self._limits = limits

    def _limit_time(self, seconds: float) -> None:
        self._context.set_time_limit(seconds * self._factor)
        self.seconds = seconds

    def evaluate(self, source: str, seconds: float) -> None:
        """Evaluate a script."""
        self._source = source
        self._limit_time(seconds)
        try:
            self._context.eval(source)
        except self._overflow as error:
            raise self._error(error, "stack") from None
        except self._failure as error:
            raise self._error(error, "compile") from None
        except TypeError as error:
            raise _no_memory(error) from None

    def send(self, op: str, text: str, seconds: float) -> str:
        """Call the function of the prelude."""
        if seconds != self.seconds:
            self._limit_time(seconds)
        try:
            reply: str = self.entry(op, text)
        except self.failures as error:
            raise self.error_of(error) from None
        return reply

    def run_job(self, seconds: float) -> bool:
        """Run one promise job."""
        self._limit_time(seconds)
        try:
            ran: bool = self._context.execute_pending_job()
        except self._failure as error:
            raise self._error(error, "execute") from None
        return ran

    def explain(self, error: EngineError) -> EngineError:
        """Return the error of a call. With no memory left for an error object or its text, QuickJS throws less."""
        return explain_memory(error, self._source)

    def error_of(self, error: Exception) -> EngineError:
        """Return the error for what a call of the function of the prelude raised."""
        if isinstance(error, TypeError):
            return _no_memory(error)
        return self._error(error, "stack" if isinstance(error, self._overflow) else "execute")

    def _error(self, error: Exception, stage: Stage) -> EngineError:
        """Return the error for an exception that no JavaScript code could catch, or that the source threw."""
        head, _, stack = str(error).partition("\n")
        name, colon, message = head.partition(": ")
        if not colon or not name.isidentifier():
            name, message = "Error", head
        name, message = name[:100], message[:2000]
        stack, line, column = place_of(stack, self.added_lines)
        if head == "InternalError: interrupted":
            return EngineError("timeout", "the time limit has passed", line=line, column=column)
        if head in ("InternalError: out of memory", "InternalError: ", "InternalError", "null"):
            return out_of_memory(line, column, stack)
        if name == "SyntaxError" and stage == "compile" and stack.startswith("at <input>"):
            stage = "syntax"
        return EngineError(stage, message, name=name, line=line, column=column, stack=stack)


def _no_memory(error: TypeError) -> EngineError:
    """Return the error for a value that the package does not know. QuickJS throws such a one with no memory left."""
    if "quickjs tag" not in str(error):
        try:
            raise error
        finally:
            del error  # else the exception and this frame refer to each other
    return out_of_memory()


@lru_cache(maxsize=64)
def _facts_of(program: Program) -> tuple[_Key, bool]:
    """Return what the context of a program is made for, and whether the program may make promise jobs."""
    key = program.options, program.arguments, is_needed(program)
    return key, bool(program.modules) or _JOBS.search(program.source) is not None


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("quickjs-ng")
    except PackageNotFoundError:
        return ""
