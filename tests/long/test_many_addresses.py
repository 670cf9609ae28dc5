"""Calls over many addresses, each by itself and all as one group, leave nothing behind."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from itertools import count

import psutil
import pytest

from portal import Balancing, Breaker, Consumer, HTTPPortal, Policy, Retry, function

MIB = 1024 * 1024
THREADS = 4
WAIT = 36_000.0


@pytest.mark.parametrize(
    ("addresses", "calls", "growth"),
    [pytest.param(100, 2_000, 8 * MIB, id="small"), pytest.param(1_000, 1_000_000, 8 * MIB, id="long")],
)
def test_memory_and_threads_stay_flat(addresses: int, calls: int, growth: int) -> None:
    policy = Policy(retry=Retry(), breaker=Breaker(), balance=Balancing(picker="peak_ewma"))
    with HTTPPortal() as portal, Consumer(policy=policy) as consumer:
        targets = [str(portal.apply(function(_make(number), name=f"f{number}"))) for number in range(addresses)]
        group = tuple(targets)
        numbers = count()
        failures: list[BaseException] = []

        def run(end: int) -> None:
            try:
                while (number := next(numbers)) < end:
                    target = targets[number % addresses]
                    consumer.call_at(target, {"value": number})
                    consumer.call([target], {"value": number})
                    consumer.call(group, {"value": number})
            except BaseException as error:
                failures.append(error)

        def run_all(end: int) -> tuple[int, int]:
            threads = [threading.Thread(target=run, args=(end,)) for _ in range(THREADS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(WAIT)
            assert failures == []
            gc.collect()
            return psutil.Process().memory_info().rss, threading.active_count()

        warm = run_all(2 * addresses)
        numbers = count(2 * addresses)
        done = run_all(2 * addresses + calls // 3)
        print(f"\nrss {warm[0] / MIB:.1f} -> {done[0] / MIB:.1f} MiB, threads {warm[1]} -> {done[1]}")
        assert done[0] - warm[0] < growth
        assert done[1] <= warm[1] + THREADS
        kind = consumer._stages.of(None).kind
        assert consumer._groups.peek(group, kind).stats().outstanding == 0


def _make(number: int) -> Callable[[int], int]:
    def echo(value: int) -> int:
        return value

    return echo
