"""Engine: the interface between Portal and a JavaScript engine.

A package offers an engine with an entry point in the group `portal.javascript_engines`; its value is a subclass of
`Engine`. JSON text is all that crosses the border between Python and JavaScript.

A child process loads this module when it starts, so it imports little.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, cast, get_args

if TYPE_CHECKING:
    from .limits import Limits
    from .program import Program

__all__ = ["Capabilities", "Engine", "EngineError", "Host", "Stage"]

#: Where JavaScript code failed.
Stage = Literal[
    "syntax",
    "analysis",
    "compile",
    "validate",
    "execute",
    "timeout",
    "memory",
    "stack",
    "fuel",
    "host",
    "convert",
]

#: Handles a request of a script: (kind, JSON text) -> JSON text. A kind is "call", "get", "set", "delete" or "log". The
#: kind "fuel" is a note of the engine: what the call took.
Host = Callable[[str, str], str]

_MAX_NAME, _MAX_MESSAGE, _MAX_STACK = 100, 4000, 8000  # characters of an error from a child


class EngineError(Exception):
    """A failure of JavaScript code, in the same form for every engine.

    Attributes:
        stage: where the code failed.
        name: the name of the JavaScript error, such as "TypeError".
        message: its message.
        line, column: the place in the user's source, from 1, or None.
        stack: the JavaScript stack as text.
        broken: whether the engine cannot be used any more, and must be replaced.
    """

    def __init__(
        self,
        stage: Stage,
        message: str,
        *,
        name: str = "",
        line: int | None = None,
        column: int | None = None,
        stack: str = "",
        broken: bool = False,
    ) -> None:
        super().__init__(message)
        self.stage = stage
        self.name = name
        self.message = message
        self.line = line
        self.column = column
        self.stack = stack
        self.broken = broken

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as JSON data."""
        return dict(vars(self))

    @staticmethod
    def from_dict(data: dict[str, Any]) -> EngineError:
        """Return the error that `to_dict` wrote. Hostile code may have forged it, so each value is checked."""
        known: dict[str, Any] = data if isinstance(data, dict) else {}
        stage, line, column = known.get("stage"), known.get("line"), known.get("column")
        is_known = isinstance(stage, str) and stage in get_args(Stage)
        return EngineError(
            cast("Stage", stage) if is_known else "execute",
            str(known.get("message", "the script has spoilt its error"))[:_MAX_MESSAGE],
            name=str(known.get("name") or "")[:_MAX_NAME],
            line=line if isinstance(line, int) else None,
            column=column if isinstance(column, int) else None,
            stack=str(known.get("stack") or "")[:_MAX_STACK],
            broken=not is_known or bool(known.get("broken")),
        )


class Capabilities(NamedTuple):
    """The capabilities of an engine.

    Attributes:
        version: the version of the engine.
        edition: the ECMAScript edition that it supports, such as 5 or 2023.
        isolation: where it may run untrusted code: "process", "wasm", or both.
        trusted: whether it may run trusted code in threads of this process.
        limits: the names of the limits that it enforces itself. A child process enforces the time in any case.
        promises: whether it runs async functions.
        address_space: bytes of virtual memory that a child needs beside the heap; None if it does not work with
            RLIMIT_AS.
        data: bytes of private memory that a child needs beside the heap; None if it has another limit.
        threads: whether the engine starts threads of its own.
        forks: whether a child has to fork for each call, because a new global object shares its built-in objects with
            others.
    """

    version: str
    edition: int
    isolation: frozenset[str]
    trusted: bool
    limits: frozenset[str]
    promises: bool
    address_space: int | None
    data: int | None = None
    threads: bool = False
    forks: bool = False


class Engine(ABC):
    """Runs JavaScript programs.

    Attributes:
        name: the name in settings and addresses.
        install: what to install if it is absent, as an argument of pip.
        thread_bound: whether an engine must be used by the thread that made it.
        fuel: the fuel that the last call took; None if the engine does not count it.

    Threads: one thread at a time. Different threads may use it one after the other if `thread_bound` is False.
    """

    name: ClassVar[str]
    install: ClassVar[str] = ""
    thread_bound: ClassVar[bool] = False
    fuel: int | None = None

    @staticmethod
    @abstractmethod
    def is_available() -> bool:
        """Return whether the packages that it needs are installed. Nothing is imported."""

    @staticmethod
    @abstractmethod
    def capabilities() -> Capabilities:
        """Return what the engine can do."""

    @classmethod
    def in_threads(cls, time_factor: float) -> Engine:
        """Return a new engine for trusted code in threads of this process.

        Args:
            time_factor: multiplies a limit on processor time, which several threads use up together.
        """
        return cls()

    @staticmethod
    def child_options() -> dict[str, Any]:
        """Return keyword arguments, as JSON data, with which a child process makes the engine."""
        return {}

    @abstractmethod
    def compile(self, program: Program, limits: Limits) -> Any:
        """Load a program into a global object of its own, and return a handle for `call`.

        Raises: EngineError.
        """

    @abstractmethod
    def call(self, handle: Any, text: str, limits: Limits, host: Host) -> str:
        """Call the function of a compiled program.

        Args:
            handle: what `compile` returned.
            text: the parameters, a JSON object.
            limits: of this call.
            host: handles requests of the script.

        Returns: the result as JSON text.
        Raises: EngineError.
        """

    def prepare(self, program: Program, limits: Limits) -> None:  # noqa: B027 - an engine may have nothing to do
        """Use idle time to make the next `compile` of a program with the same options fast. It runs no user code."""

    def may_leave_jobs(self, handle: Any) -> bool:
        """Return whether calls of a program may leave promise jobs behind, so that each is followed by `settle`."""
        return True

    def settle(self, handle: Any, limits: Limits) -> bool:
        """Run the promise jobs that a call has left behind. Return False if the handle must not be used again."""
        return True

    @abstractmethod
    def release(self, handle: Any) -> None:
        """Free what belongs to a handle."""

    @abstractmethod
    def close(self) -> None:
        """Free everything. May be called twice."""
