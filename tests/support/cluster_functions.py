"""Functions that workers of a cluster import."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from portal import AuthorizationError, CallContext, Consumer, function
from portal.schema import File


@function
def add(a: float, b: float) -> float:
    return a + b


@function
def pid() -> int:
    return os.getpid()


@function
def square(n: int) -> int:
    return n * n


@function
def fail(kind: str) -> None:
    if kind == "portal":
        raise AuthorizationError("not for you", hint="ask ann")
    raise LookupError("nothing here")


@function
def context_of(context: CallContext) -> dict[str, Any]:
    assert context.identity is not None
    return {
        "request_id": context.request_id,
        "identity": context.identity.name,
        "baggage": dict(context.baggage),
        "left": context.remaining() is not None,
    }


def _note(path: str) -> None:
    with Path(path).open("a", encoding="ascii") as file:
        file.write(f"{os.getpid()}\n")


def runs(path: str) -> int:
    """Return how many runs are noted in a file."""
    return len(Path(path).read_text(encoding="ascii").splitlines())


def _kill_worker() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait()


@function
def die(path: str) -> None:
    """Note the run, and kill the worker."""
    _note(path)
    _kill_worker()


@function(idempotent=True)
def die_first(path: str) -> int:
    """Kill the worker in the first run, and return the number of runs in the second."""
    _note(path)
    found = runs(path)
    if found == 1:
        _kill_worker()
    return found


@function
def square_or_die(n: int, path: str) -> int:
    """Kill the worker once, at 500."""
    if n == 500 and not Path(path).exists():
        _note(path)
        _kill_worker()
    return n * n


@function
def note_and_wait(path: str) -> int:
    """Note the run, and wait until nobody writes to a FIFO any more."""
    _note(path)
    Path(f"{path}.end").read_text(encoding="ascii")
    return os.getpid()


@function
def block(path: str) -> None:
    """Write to a FIFO, and wait until another one is written."""
    Path(path).write_text("started", encoding="ascii")
    Path(f"{path}.end").read_text(encoding="ascii")


@function
def ids_of(n: int, context: CallContext) -> list[str | None]:
    """Return the request id of the call, and the trace of calls nested in it; 7 is an error."""
    if n == 7:
        raise LookupError("seven")
    nested = context.child()
    return [context.request_id, nested.traceparent or nested.start_trace()]


@function
def length_of(text: str) -> int:
    return len(text)


@function
def wait_until_cancelled(path: str, wait: bool, context: CallContext) -> None:
    """Note the run. With `wait`, write to a FIFO, wait for the cancellation, and write the outcome to another FIFO."""
    _note(path)
    if wait:
        cancelled = threading.Event()
        context.on_cancel(cancelled.set)
        Path(f"{path}.started").write_text("started", encoding="ascii")
        found = cancelled.wait(120.0)
        Path(f"{path}.ended").write_text("cancelled" if found else "not cancelled", encoding="ascii")


@function
def note(path: str) -> None:
    _note(path)


@function
def reverse_file(file: File) -> File:
    return File(file.read()[::-1], name=file.name)


@function(timeout=0.5)
def block_briefly(path: str) -> str:
    """Wait until a FIFO is written, longer than its timeout."""
    return Path(path).read_text(encoding="ascii")


@function
def names_at(address: str) -> list[str]:
    """Return the names of what is published at a scheduler."""
    with Consumer() as consumer:
        return [row["name"] for row in consumer.list_at(address)["functions"]]


@function
def square_slowly(n: int) -> int:
    time.sleep(0.02)
    return n * n


@function
def depth(address: str, n: int) -> int:
    """Call itself on the cluster, `n` levels deep."""
    if n == 0:
        return 0
    with Consumer() as consumer:
        return 1 + int(consumer.call_at(address, {"address": address, "n": n - 1}))


@function
def sum_at(address: str, n: int) -> int:
    """Return the sum of the results of `n` calls."""
    with Consumer() as consumer:
        return sum(consumer.map_at(address, ({"n": number} for number in range(n))))
