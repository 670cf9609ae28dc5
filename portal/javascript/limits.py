"""Limits: what one call of a JavaScript function may use."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from .._internal.settings import count, positive_seconds, size

__all__ = ["Limits"]

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """The resources that one call of a JavaScript function may use.

    Attributes:
        time: seconds, loading included.
        memory: bytes of the JavaScript heap.
        stack: bytes of the stack. A frame of quickjs takes about 1.7 KB.
        output: bytes of the result as JSON text.
        log: characters that `console` may log in one call; the rest is dropped.
        jobs: promise jobs.
        fuel: instructions, for an engine that counts them; None for no bound.

    Raises: ConfigError for a wrong value.

    Threads: immutable; any thread may use it.
    """

    time: float = 1.0
    memory: int = 64 * _MIB
    stack: int = _MIB
    output: int = 16 * _MIB
    log: int = 64 * 1024
    jobs: int = 100_000
    fuel: int | None = None

    def __post_init__(self) -> None:
        positive_seconds("limits.time", self.time, maximum=3600.0)
        size("limits.memory", self.memory, minimum=_MIB)
        size("limits.stack", self.stack, minimum=64 * 1024, maximum=4 * _MIB)
        size("limits.output", self.output)
        size("limits.log", self.log, minimum=0)
        count("limits.jobs", self.jobs)
        count("limits.fuel", self.fuel, optional=True)

    def within(self, other: Limits) -> bool:
        """Return whether no limit exceeds that of another object."""
        mine, bounds = asdict(self), asdict(other)
        fuel, most = mine.pop("fuel"), bounds.pop("fuel")
        fits = most is None or (fuel is not None and fuel <= most)
        return fits and all(value <= bounds[name] for name, value in mine.items())

    def with_time(self, seconds: float) -> Limits:
        """Return the limits with less time; the same object if `seconds` is not less."""
        return self if seconds >= self.time else replace(self, time=seconds)

    def with_fuel(self, fuel: int) -> Limits:
        """Return the limits with less fuel; the same object if `fuel` is not less."""
        return self if self.fuel is not None and fuel >= self.fuel else replace(self, fuel=fuel)

    @staticmethod
    def names() -> list[str]:
        """Return the names of the attributes in order."""
        return [one.name for one in fields(Limits)]

    def to_list(self) -> list[Any]:
        """Return the values in the order of `names`, as JSON data."""
        return [self.time, self.memory, self.stack, self.output, self.log, self.jobs, self.fuel]
