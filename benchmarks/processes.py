"""CPU-bound calls on one and on two worker processes, and what a call in another process costs.

    python benchmarks/processes.py

Rounds of both pools alternate, so that other load on the machine concerns both. The ratio of the shortest rounds is the
one that other load disturbs least.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from statistics import median
from time import perf_counter

from portal import CallContext
from portal.processes import ProcessPool
from portal.processes.jobs import Job

CALLS = 8
ROUNDS = 9
SIZE = 1_000_000
RESULT = 1_999_998  # of `compute`


def compute(size: int) -> int:
    """Keep a processor busy for some hundredths of a second."""
    total = 0
    for one in range(size):
        total += one * one % 7
    return total


def duration(pool: ProcessPool) -> float:
    """Return the seconds that CALLS calls take, made by as many threads as the pool has processes."""
    job = Job("compute", compute, (SIZE,), needs_main=True)
    begin = perf_counter()
    with ThreadPoolExecutor(pool.workers) as threads:
        results = list(threads.map(lambda _: pool.run(job, CallContext()), range(CALLS)))
    seconds = perf_counter() - begin
    if set(results) != {RESULT}:
        raise SystemExit(f"a process has not computed: {results[0]}")
    return seconds


def main() -> None:
    """Print the ratio of the rounds: the median, and that of the shortest ones."""
    one, two = ProcessPool(1), ProcessPool(2)
    for pool in (one, two):
        duration(pool)
    rounds = [(duration(one), duration(two)) for _ in range(ROUNDS)]
    ratios = [alone / both for alone, both in rounds]
    print(f"2 processes against 1, CPU-bound: {median(ratios):.2f} times ({min(ratios):.2f} to {max(ratios):.2f})")
    shortest = [min(times) for times in zip(*rounds, strict=True)]
    print(f"shortest rounds: {shortest[0]:.3f} s and {shortest[1]:.3f} s, {shortest[0] / shortest[1]:.2f} times")
    begin = perf_counter()
    for _ in range(2000):
        one.run(Job("abs", abs, (-1,)), CallContext())
    print(f"one empty call in another process: {(perf_counter() - begin) / 2000 * 1e6:.0f} us")
    one.close()
    two.close()


if __name__ == "__main__":
    main()
