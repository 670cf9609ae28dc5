"""Call two servers at once, and lose one of them in the middle."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any, NamedTuple

from portal import Address, Consumer, PortalError

from .._internal.executor import WorkerPool

__all__ = ["Seen", "call_while_one_dies"]


class Seen(NamedTuple):
    """The outcomes that the callers saw.

    Attributes:
        before, after: the calls that began before the loss of a server, and those that began after it.
        errors: the errors that callers got.
        slowest: seconds of the slowest call.
    """

    before: int
    after: int
    errors: list[str]
    slowest: float


def call_while_one_dies(
    consumer: Consumer,
    addresses: Iterable[Address | str],
    params: dict[str, Any],
    kill: Callable[[], object],
    *,
    threads: int = 4,
    calls: int = 100,
) -> Seen:
    """Call equal instances from several threads, end one instance in the middle, and return what the callers saw.

    Args:
        consumer: makes the calls.
        addresses: the instances.
        params: the parameters of each call.
        kill: ends one of them; the first thread calls it in the middle of its calls.
        threads: the callers.
        calls: the calls of each.
    """
    targets = tuple(addresses)
    killed = threading.Event()
    errors: list[str] = []
    made: list[tuple[bool, float]] = []  # whether it began after the loss, and its seconds

    def run(index: int) -> None:
        for number in range(calls):
            if index == 0 and number == calls // 2:
                kill()  # the other threads are in the middle of their calls
                killed.set()
            is_after, started = killed.is_set(), perf_counter()
            try:
                consumer.call(targets, params)
            except PortalError as error:
                errors.append(f"{type(error).__name__}: {error}")
            made.append((is_after, perf_counter() - started))

    workers = WorkerPool(threads, threads, name="callers")
    try:
        for caller in [workers.submit(run, index) for index in range(threads)]:
            caller.result()
    finally:
        workers.shutdown()
    after = sum(is_after for is_after, _ in made)
    return Seen(len(made) - after, after, errors, max(seconds for _, seconds in made))
