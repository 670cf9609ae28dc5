"""CPU-bound calls on one and on two worker processes, and what a call in another process costs.

    python benchmarks/processes.py

Rounds of both pools alternate, so that other load on the machine concerns both.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from statistics import median
from time import perf_counter

from portal import CallContext
from portal.processes import ProcessPool
from portal.processes.jobs import Job

CALLS = 16
ROUNDS = 7
SIZE = 1_000_000


def compute(size: int) -> int:
    """Keep a processor busy for some hundredths of a second."""
    total = 0
    for one in range(size):
        total += one * one % 7
    return total


def duration(pool: ProcessPool) -> float:
    """Return the seconds that CALLS calls take, made by as many threads as the pool has processes."""
    job = Job("compute", compute, (SIZE,))
    begin = perf_counter()
    with ThreadPoolExecutor(pool.workers) as threads:
        list(threads.map(lambda _: pool.run(job, CallContext()), range(CALLS)))
    return perf_counter() - begin


def main() -> None:
    """Print the median of the ratios."""
    one, two = ProcessPool(1), ProcessPool(2)
    for pool in (one, two):
        duration(pool)
    ratios = [duration(one) / duration(two) for _ in range(ROUNDS)]
    print(f"2 processes against 1, CPU-bound: {median(ratios):.2f} times ({min(ratios):.2f} to {max(ratios):.2f})")
    begin = perf_counter()
    for _ in range(2000):
        one.run(Job("abs", abs, (-1,)), CallContext())
    print(f"one empty call in another process: {(perf_counter() - begin) / 2000 * 1e6:.0f} us")
    one.close()
    two.close()


if __name__ == "__main__":
    main()
