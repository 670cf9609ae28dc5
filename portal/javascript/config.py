"""FunctionConfig: what the owner of a portal decides for one function, whatever its code or its author asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from .._internal.settings import choice, flag, instance, require
from ..schema import check_name
from .engines.registry import engine_names
from .limits import Limits

__all__ = ["FunctionConfig", "function_configs"]


@dataclass(frozen=True, slots=True)
class FunctionConfig:
    """Settings of one function; None leaves a setting to the JSFunction and the sandbox.

    Attributes:
        time, memory, stack, output, log, jobs, fuel: limits of a call, as in `Limits`; at most those of the sandbox.
        engine: the name of an engine.
        trusted: whether the code may run in threads of this process; True needs `sandbox="trusted"`.

    Raises: ConfigError for a wrong value.

    Threads: immutable; any thread may use it.
    """

    time: float | None = None
    memory: int | None = None
    stack: int | None = None
    output: int | None = None
    log: int | None = None
    jobs: int | None = None
    fuel: int | None = None
    engine: str | None = None
    trusted: bool | None = None

    def __post_init__(self) -> None:
        Limits(**self.limits())
        choice("function.engine", self.engine, engine_names(), optional=True)
        if self.trusted is not None:
            flag("function.trusted", self.trusted)

    def limits(self) -> dict[str, Any]:
        """Return the limits that are set, by name."""
        wanted = {one.name: getattr(self, one.name) for one in fields(Limits)}
        return {name: value for name, value in wanted.items() if value is not None}


def function_configs(value: Mapping[str, FunctionConfig] | None) -> dict[str, FunctionConfig]:
    """Return the settings by name of the function. Raises: ConfigError."""
    instance("javascript.config", value, Mapping, expected="a dict of FunctionConfig by name", optional=True)
    found = dict(value or {})
    for name, one in found.items():
        require(isinstance(name, str), "javascript.config", name, "names of functions")
        check_name(name)
        instance(f"javascript.config.{name}", one, FunctionConfig)
    return found
