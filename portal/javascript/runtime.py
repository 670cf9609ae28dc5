"""Runtime: the runners of a portal, one for each engine and kind of isolation, made and proved when first needed."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from ..errors import ConfigError
from .engine import EngineError
from .engines.registry import engine_reference, require_engine
from .limits import Limits
from .pool.children import ChildPool
from .pool.process import ChildSettings
from .pool.runner import Runner
from .pool.threads import ThreadRunner
from .program import Program
from .sandbox import Place, Sandbox

__all__ = ["Proof", "Runtime", "make_runner", "prove"]

_MIB = 1024 * 1024
_FORK_GRACE = 0.5  # seconds; a child that forks ends a call by itself, and only the fork has to be waited for
#: Programs that exceed a limit, and the stages that show that the limit holds.
_BREACHES = {
    "loop": ("__default__ = function () { for (;;) {} };", ("timeout", "fuel")),
    "hog": (
        "__default__ = function () { var s = new Array(1000).join('x');"
        "for (var a = [];;) a.push((s + a.length).split('')); };",
        ("memory",),
    ),
    "recursion": ("__default__ = function f() { return f() + 1; };", ("stack",)),
}
_PROOF_LIMITS = Limits(time=0.05, memory=8 * _MIB, stack=256 * 1024)


@dataclass(frozen=True, slots=True)
class Proof:
    """The proof that a sandbox enforces its limits.

    Attributes:
        engine: name and version of the engine.
        isolation: where it ran.
        stopped: the stage with which each program was stopped.
        at: the moment.
    """

    engine: str
    isolation: str
    stopped: dict[str, str]
    at: datetime

    def to_dict(self) -> dict[str, Any]:
        """Return the proof as JSON data."""
        return {
            "engine": self.engine,
            "isolation": self.isolation,
            "stopped": self.stopped,
            "at": self.at.isoformat(),
        }


_proofs: dict[tuple[str, str, str, Sandbox], Proof] = {}


class Runtime:
    """The runners of a portal.

    Args:
        sandbox: the limits and pools.

    Threads: any.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._lock = threading.Lock()  # guards the attributes below; held while a runner is started, as others need it
        self._runners: dict[Place, Runner] = {}
        self._proofs: dict[Place, Proof] = {}
        self._closed = False

    def runner(self, place: Place) -> Runner:
        """Return the runner of a place. It is made and proved if it does not exist.

        Raises: ConfigError if a limit does not hold.
        """
        found = self._runners.get(place)
        if found is not None:
            return found
        with self._lock:
            if self._closed:
                raise EngineError("host", "the portal is closed")
            found = self._runners.get(place)
            if found is None:
                found = make_runner(place, self._sandbox)
                try:
                    self._proofs[place] = self._prove(place, found)
                except BaseException:
                    found.close()
                    raise
                self._runners = {**self._runners, place: found}
            return found

    def _prove(self, place: Place, runner: Runner) -> Proof:
        version = require_engine(place.engine).capabilities().version
        key = (place.engine, version, place.isolation, self._sandbox)
        if key not in _proofs:
            _proofs[key] = prove(f"{place.engine} {version}", runner, claimed(place))
        return _proofs[key]

    def health(self) -> list[dict[str, Any]]:
        """Return each place with its proof and the measures in force, as JSON data."""
        return [
            {"trust": place.trust, "measures": runner.measures(), **self._proofs[place].to_dict()}
            for place, runner in self._runners.items()
        ]

    def stats(self) -> dict[str, dict[str, int]]:
        """Return the counters of each runner by engine and isolation."""
        return {f"{place.engine}/{place.isolation}": one.stats() for place, one in self._runners.items()}

    def stop(self) -> None:
        """Close the runners. A later call makes new ones."""
        with self._lock:
            runners, self._runners = self._runners, {}
        for runner in runners.values():
            runner.close()

    def close(self) -> None:
        """Close the runners for good. May be called twice."""
        with self._lock:
            self._closed = True
        self.stop()


def make_runner(place: Place, sandbox: Sandbox) -> Runner:
    """Return the runner of a place. Raises ConfigError if it cannot be started."""
    engine = require_engine(place.engine)
    if place.isolation == "thread":
        factor = float(os.cpu_count() or 1)
        return ThreadRunner(lambda: engine.in_threads(factor), sandbox.pool)
    if place.isolation == "wasm":
        return ThreadRunner(engine, sandbox.pool, isolation="wasm")
    can, more = engine.capabilities(), 2 * sandbox.limits.memory
    child = ChildSettings(
        engine_reference(place.engine),
        address_space=None if can.address_space is None else can.address_space + more,
        data=None if can.data is None else can.data + more,
        threads=can.threads,
        forks=can.forks,
        grace=_FORK_GRACE if can.forks else ChildSettings.grace,
        options=engine.child_options(),
    )
    pool = ChildPool(child, sandbox.pool, isolation=place.isolation)
    try:
        pool.warm_up()
    except BaseException:
        pool.close()
        raise
    return pool


def claimed(place: Place) -> dict[str, tuple[str, ...]]:
    """Return the programs that must be stopped at a place, each with the stages that show it.

    Trusted code has the limits of its engine. A process without memory may be so slow that its time passes first.
    """
    found = {name: stages for name, (_, stages) in _BREACHES.items()}
    if "memory" not in require_engine(place.engine).capabilities().limits:
        found["hog"] = ("memory", "timeout")
        if place.trusted:
            del found["hog"]
    return found


def prove(engine: str, runner: Runner, claims: Mapping[str, tuple[str, ...]]) -> Proof:
    """Run a loop, a hog and a deep recursion, each of which must be stopped.

    Args:
        engine: name and version, for messages.
        runner: runs them.
        claims: which of them, and the stages of the error that show it.

    Raises: ConfigError if one is not stopped by the limit that it exceeds.
    """
    stopped = {}
    for name, stages in claims.items():
        stage = "nothing"
        for seconds in (1.0,) if "timeout" in stages else (5.0, 20.0):  # on a busy machine, the time may pass first
            limits = _PROOF_LIMITS if name == "loop" else replace(_PROOF_LIMITS, time=seconds)
            try:
                runner.run(Program(name, _BREACHES[name][0]), "{}", limits, _no_host, seconds)
            except EngineError as error:
                stage = error.stage
            if stage != "timeout":
                break
        if stage not in stages:
            message = f"the sandbox of {engine} must stop a {name} with the error stage {stages[0]!r}, got {stage!r}"
            raise ConfigError(message, path="javascript.sandbox", expected="another engine or isolation")
        stopped[name] = stage
    return Proof(engine, runner.isolation, stopped, datetime.now(UTC))


def _no_host(kind: str, text: str) -> str:
    return "null"
