"""Drive a script through the prelude: call it, run its promise jobs, and pass its requests to the host.

Engines of ECMAScript 2020 and later have this in common; each provides a `Realm`.
"""

from __future__ import annotations

import json
import os
import re
from _random import Random  # a child starts faster without the module around it
from abc import ABC, abstractmethod
from time import monotonic
from typing import TYPE_CHECKING, Any

from ..engine import EngineError, Host
from ..prelude import HIDDEN, MARKS

if TYPE_CHECKING:
    from ..limits import Limits
    from ..program import Program

__all__ = [
    "Realm",
    "call_realm",
    "error_of",
    "explain_memory",
    "finish_call",
    "load_realm",
    "out_of_memory",
    "place_of",
    "random_digits",
    "settle_realm",
]

_PLACE = re.compile(r":(\d+):(\d+)\)?\s*$")
_REQUESTS = ("call", "get", "set", "delete")
_STAGES = ("execute", "convert", "host", "memory", "stack")  # that the prelude describes; no sets, as hashing may fail
_MAX_NAME, _MAX_MESSAGE, _MAX_STACK = 100, 2000, 4000  # characters


class Realm(ABC):
    """A global object with the prelude.

    Every method takes the seconds that it may use, and raises EngineError.
    """

    added_lines = 0
    late = ""  # the text of the operation "late", unless the second part of the prelude is always there
    seed: tuple[int | None] | None = None  # the seed of the options, if they have "setup"

    @abstractmethod
    def evaluate(self, source: str, seconds: float) -> None:
        """Evaluate a script."""

    @abstractmethod
    def send(self, op: str, text: str, seconds: float) -> str:
        """Call the function of the prelude."""

    @abstractmethod
    def run_job(self, seconds: float) -> bool:
        """Run one promise job. Return False if there is none."""

    @abstractmethod
    def require_memory(self, limits: Limits) -> None:
        """Apply the limits of memory and stack."""

    def explain(self, error: EngineError) -> EngineError:
        """Return the error of a call in the form that it has for every engine."""
        return error


def load_realm(realm: Realm, program: Program, limits: Limits) -> None:
    """Evaluate the modules and the source of a program.

    Raises: EngineError with the stage "syntax" or "compile", or that of a breached limit.
    """
    end = monotonic() + limits.time
    for name, source in program.modules:
        realm.evaluate(f"__module__ = {source}", _left(end))
        realm.send("module", name, _left(end))
    realm.added_lines = program.added_lines
    if '"setup"' in program.options:
        realm.seed = (json.loads(program.options).get("seed"),)
    realm.evaluate(program.source, _left(end))
    problem = realm.send("ready", program.name, _left(end))
    if problem:
        raise EngineError("compile", problem)


def call_realm(realm: Realm, text: str, limits: Limits, host: Host) -> str:
    """Call the function of a loaded program; see `Engine.call`."""
    end = monotonic() + limits.time
    if realm.seed is not None:
        realm.send("begin", random_digits(realm.seed), limits.time)
    reply = realm.send("call", text, limits.time)
    if reply[0] in "+~?!" or "null" in reply or len(reply) > limits.output:
        return finish_call(realm, reply, end, limits, host)
    return reply


def finish_call(realm: Realm, reply: str, end: float, limits: Limits, host: Host) -> str:
    """Return the result of a call, whose first reply may not be the result.

    Args:
        end: when the time of the call has passed, in seconds of `monotonic`.

    Raises: EngineError.
    """
    if reply == "+":
        reply = realm.send("late", realm.late, _left(end))
    if reply[:1] in ("~", "?"):
        reply = _wait(realm, reply, end, limits, host)
    if "null" in reply and reply[:1] != "!":  # JSON.stringify writes NaN as null
        problem = realm.send("check", "", _left(end))
        reply = (realm.send("late", realm.late, _left(end)) if problem == "+" else problem) or reply
    if reply[:1] == "!":
        raise realm.explain(error_of(reply[1:], realm.added_lines))
    if len(reply) > limits.output:
        raise EngineError("memory", f"the result must have at most {limits.output:,} characters, got {len(reply):,}")
    return reply


def random_digits(seed: tuple[int | None]) -> str:
    """Return hex digits for 64 UUIDs: those of a seed, or random ones."""
    if seed[0] is None:
        return os.urandom(16 * 64).hex()
    return Random(seed[0]).getrandbits(8 * 16 * 64).to_bytes(16 * 64, "little").hex()


def settle_realm(realm: Realm, limits: Limits) -> bool:
    """Run the promise jobs that a call has left behind, within the limits of a call; see `Engine.settle`."""
    end = monotonic() + limits.time
    try:
        for _ in range(limits.jobs):
            if not realm.run_job(_left(end)):
                return True
    except EngineError:
        pass
    return False


def _wait(realm: Realm, reply: str, end: float, limits: Limits, host: Host) -> str:
    jobs = 0
    while True:
        if reply[:1] == "~":
            _exchange(realm, end, host)
            reply = reply[1:]
        if reply[:1] != "?":
            return reply
        ran = jobs
        while realm.run_job(_left(end)):
            jobs += 1
            if jobs > limits.jobs:
                raise EngineError("timeout", f"the call must run at most {limits.jobs:,} promise jobs")
        last, reply = reply, realm.send("poll", "", _left(end))
        if reply == last and jobs == ran:
            raise EngineError("execute", "the promise that the function returned can never settle")


def _exchange(realm: Realm, end: float, host: Host) -> None:
    for number, kind, body in _requests(realm.send("outbox", "", _left(end))):
        if kind == "log":
            host(kind, body)
            continue
        try:
            if kind not in _REQUESTS:  # the script has spoilt the prelude
                raise EngineError("host", f"{str(kind)[:20]} is not granted to this function", name="HostError")
            answer = [number, True, host(kind, body)]
        except EngineError as error:
            answer = [number, False, json.dumps({"name": error.name, "message": error.message})]
        realm.send("resolve", json.dumps(answer), _left(end))


def _requests(text: str) -> list[list[Any]]:
    """Return the requests of an outbox. Raises: EngineError if the script has spoilt them."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(isinstance(one, list) and len(one) == 3 for one in found):
        raise _spoilt()
    return found


def _left(end: float) -> float:
    left = end - monotonic()
    if left <= 0:
        raise EngineError("timeout", "the time limit has passed")
    return left


def out_of_memory(line: int | None = None, column: int | None = None, stack: str = "") -> EngineError:
    """Return the error for a breached limit of memory."""
    return EngineError("memory", "the memory limit has been reached", line=line, column=column, stack=stack)


def explain_memory(error: EngineError, source: str) -> EngineError:
    """Return the error of a call in QuickJS, which throws less with no memory left for an error object or its text."""
    is_null = error.message == "null" and not error.stack
    if is_null and "throw null" not in source and "reject" not in source:
        return out_of_memory()
    lost = error.name == "InternalError" and error.message in ("", "out of memory")
    if lost or error.message == "[uninitialized]":
        return out_of_memory(error.line, error.column, error.stack)
    return error


def error_of(text: str, added_lines: int) -> EngineError:
    """Return the error that the prelude has described. A script may have spoilt the prelude, and so the description."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return _spoilt()
    if not isinstance(data, dict) or data.get("stage") not in _STAGES:
        return _spoilt()
    stack, line, column = place_of(str(data.get("stack") or ""), added_lines)
    name, message = str(data.get("name", ""))[:_MAX_NAME], str(data.get("message", ""))[:_MAX_MESSAGE]
    return EngineError(data["stage"], message, name=name, line=line, column=column, stack=stack)


def _spoilt() -> EngineError:
    return EngineError("execute", "the script has spoilt its global object", name="Error")


def place_of(stack: str, added_lines: int) -> tuple[str, int | None, int | None]:
    """Return a stack without the frames of the prelude, and the line and column of its first frame."""
    lines = []
    for row in stack.strip().splitlines():
        if any(mark in row for mark in MARKS):
            break
        if HIDDEN in row:
            continue
        place = _PLACE.search(row)
        if place is not None and added_lines:
            line = max(1, int(place[1]) - added_lines)
            row = f"{row[: place.start()]}:{line}:{place[2]}{')' if row.rstrip().endswith(')') else ''}"
        lines.append(row.strip())
    text = "\n".join(lines)[:_MAX_STACK]
    for row in lines:
        place = _PLACE.search(row)
        if place is not None:
            return text, int(place[1]), int(place[2])
    return text, None, None
