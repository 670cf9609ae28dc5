"""Runner: runs calls of programs somewhere; and the settings that all pools have."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from ..._internal.settings import count, positive_seconds, require, size, whole_number
from ..engine import Host
from ..limits import Limits
from ..program import Program

__all__ = ["PoolSettings", "Runner"]

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """Bounds on the children or contexts of a pool.

    Attributes:
        min_size: children that are ready at any time.
        max_size: children, or threads that run trusted code, at most.
        idle_time: seconds after which a child that is not needed ends.
        max_uses: calls of one child, after which it is replaced.
        max_growth: bytes that a child may grow, after which it is replaced.
        max_waiting: calls that may wait for a free child.

    Raises: ConfigError for a wrong value.

    Threads: immutable; any thread may use it.
    """

    min_size: int = 1
    max_size: int = 8
    idle_time: float = 60.0
    max_uses: int = 10_000
    max_growth: int = 64 * _MIB
    max_waiting: int = 256

    def __post_init__(self) -> None:
        count("pool.max_size", self.max_size)
        whole_number("pool.min_size", self.min_size, minimum=0)
        require(self.min_size <= self.max_size, "pool.min_size", self.min_size, "at most max_size")
        positive_seconds("pool.idle_time", self.idle_time)
        count("pool.max_uses", self.max_uses)
        size("pool.max_growth", self.max_growth)
        whole_number("pool.max_waiting", self.max_waiting, minimum=0)


class Runner(ABC):
    """Runs calls of programs.

    Attributes:
        isolation: "process", "thread", "wasm" or "wasm-process".
        closed: whether `close` has been called; another runner must take its place.

    Threads: any.
    """

    isolation: str
    closed: bool

    @abstractmethod
    def run(self, program: Program, text: str, limits: Limits, host: Host, wait: float | None) -> str:
        """Make one call and return the result as JSON text.

        Args:
            program: the program.
            text: the parameters as JSON text; "" only loads the program, and returns "".
            limits: of this call.
            host: handles requests of the script, in this thread.
            wait: seconds to wait for a free child or context; None waits for the time limit.

        Raises: EngineError; OverloadedError if all children are busy.
        """

    @abstractmethod
    def measures(self) -> list[str]:
        """Return what restricts the code beside the limits of the engine, such as "seccomp"."""

    @abstractmethod
    def stats(self) -> dict[str, int]:
        """Return counters of this moment."""

    @abstractmethod
    def close(self) -> None:
        """Free everything. May be called twice."""
