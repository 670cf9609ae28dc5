"""Sandbox: what the JavaScript functions of a portal may ask for, and where they run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from .._internal.settings import choice, instance, strings
from ..errors import ConfigError
from .engine import Engine
from .engines.registry import AUTO, available_engines, engine_names, require_engine
from .limits import Limits
from .parsing.analysis import Analysis
from .pool.runner import PoolSettings

__all__ = ["Isolation", "Level", "Place", "Sandbox"]

Level = Literal["untrusted", "trusted", "hostile"]
#: "process": a child process. "thread": a thread of this process. "wasm": WebAssembly in this process.
#: "wasm-process": WebAssembly in a child process; the engine quickjs-wasm takes "process" for it.
Isolation = Literal["process", "thread", "wasm", "wasm-process"]

_LEVELS = ("untrusted", "trusted", "hostile")
_ISOLATIONS = ("process", "wasm", "wasm-process")
#: Globals that untrusted code does not get. Shared memory lets code measure time and block.
DENIED = ("Atomics", "SharedArrayBuffer")


class Place(NamedTuple):
    """Where a function runs.

    Attributes:
        engine: the name of the engine.
        isolation: what separates it from this process.
        trusted: whether it is the developer's own code.
    """

    engine: str
    isolation: Isolation
    trusted: bool

    @property
    def trust(self) -> str:
        """The word "trusted" or "untrusted"."""
        return "trusted" if self.trusted else "untrusted"


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Upper bounds and defaults for the functions of a portal.

    Attributes:
        level: "untrusted" rejects functions with `trusted=True`. "trusted" permits them; other functions are isolated
            all the same. "hostile" runs every function in WebAssembly in a child process.
        engines: the engines that functions may use, the default first; empty for all.
        isolation: where untrusted functions run; None chooses by level and engine.
        limits: of one call; a function may ask for less.
        pool: how many children or contexts there are for each engine.
        deny: names of globals that functions do not get.
        allow: names of globals to keep although they are denied by default.
        analysis: looks at code before it first runs, and rejects it or logs a warning.

    Raises: ConfigError for a wrong value.

    Threads: immutable; any thread may use it.
    """

    level: Level = "untrusted"
    engines: tuple[str, ...] = ()
    isolation: Isolation | None = None
    limits: Limits = field(default_factory=Limits)
    pool: PoolSettings = field(default_factory=PoolSettings)
    deny: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    analysis: Analysis = field(default_factory=Analysis)

    def __post_init__(self) -> None:
        choice("sandbox.level", self.level, _LEVELS)
        choice("sandbox.isolation", self.isolation, _ISOLATIONS, optional=True)
        strings("sandbox.engines", self.engines)
        for name in self.engines:
            choice("sandbox.engines", name, engine_names())
        instance("sandbox.limits", self.limits, Limits)
        instance("sandbox.pool", self.pool, PoolSettings)
        strings("sandbox.deny", self.deny)
        strings("sandbox.allow", self.allow)
        instance("sandbox.analysis", self.analysis, Analysis)

    @staticmethod
    def of(value: Sandbox | str) -> Sandbox:
        """Return a sandbox unchanged, or the one of a level. Raises ConfigError."""
        if isinstance(value, Sandbox):
            return value
        choice("javascript.sandbox", value, _LEVELS)
        return Sandbox(level=value)  # type: ignore[arg-type]

    def denied(self, trusted: bool) -> list[str]:
        """Return the names of the globals to delete."""
        default = () if trusted else DENIED
        return sorted({*default, *self.deny} - set(self.allow))

    def place(self, engine: str, trusted: bool) -> Place:
        """Return where a function runs.

        Args:
            engine: the name of an engine, or "auto".
            trusted: whether the function is declared as trusted.

        Raises: ConfigError if the sandbox forbids it, or the platform or the engine cannot isolate.
        """
        if trusted and self.level != "trusted":
            message = f'trusted=True needs JavaScriptPortal(sandbox="trusted"), got sandbox={self.level!r}'
            raise ConfigError(message, path="function.trusted", value="True", expected="False")
        name = self._engine(engine)
        return Place(name, self._isolation(require_engine(name), trusted), trusted)

    def _engine(self, engine: str) -> str:
        if engine != "auto":
            if self.engines and engine not in self.engines:
                raise ConfigError.invalid("javascript.engine", engine, f"one of {', '.join(self.engines)}")
            return engine
        if self.engines:
            return self.engines[0]
        if self.level == "hostile" or (self.isolation or "").startswith("wasm"):
            return "quickjs-wasm"
        found = available_engines()
        if not found:
            raise ConfigError(
                "no JavaScript engine is installed", path="javascript.engine", expected=f"one of {', '.join(AUTO)}"
            )
        return found[0]

    def _isolation(self, engine: type[Engine], trusted: bool) -> Isolation:
        can = engine.capabilities()
        if trusted:
            if not can.trusted:
                message = f"{engine.name} does not run in threads of this process"
                raise ConfigError(message, path="function.trusted", expected="trusted=False, or another engine")
            return "thread"
        wanted = self.isolation or ("wasm-process" if self.level == "hostile" else None)
        if "wasm" in can.isolation:
            wanted = "wasm" if wanted is None else "wasm-process" if wanted == "process" else wanted
        else:
            wanted = wanted or "process"
            if wanted not in can.isolation:
                raise ConfigError(
                    f"{engine.name} cannot run in {wanted} isolation",
                    path="sandbox.isolation",
                    expected=f"one of {', '.join(sorted(can.isolation))}, or the engine quickjs-wasm",
                )
        if wanted.endswith("process") and not _has_processes():
            raise ConfigError(
                f"this platform ({sys.platform}) offers no isolation by processes for untrusted JavaScript",
                path="sandbox.isolation",
                expected='isolation="wasm" with the engine quickjs-wasm, or trusted=True',
            )
        return wanted


def _has_processes() -> bool:
    """Return whether a child process can be limited: it needs rlimits, which Windows does not have."""
    return sys.platform != "win32"


def limits_for(sandbox: Sandbox, wanted: Mapping[str, float | int | None]) -> Limits:
    """Return the limits of a function: those of the sandbox, with what the function asks for.

    Raises: ConfigError if the function asks for more than the sandbox has.
    """
    from dataclasses import replace

    asked = {name: value for name, value in wanted.items() if value is not None}
    limits = replace(sandbox.limits, **asked) if asked else sandbox.limits  # type: ignore[arg-type]
    for name, value in asked.items():
        most = getattr(sandbox.limits, name)
        if value is not None and most is not None and value > most:
            raise ConfigError.invalid(f"function.{name}", value, f"at most {most:,}, the limit of the sandbox")
    return limits
