"""10,000 small calls by `map_at` over HTTP, in batches of JSON-RPC and each in a request of its own.

    python -m benchmarks.map_batches

The functions differ in the flag `idempotent` alone, which batches need. Both are measured in turn, against one server
in a process of its own. The processor time of both processes counts, as other processes hardly change it.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from multiprocessing.connection import Connection
from time import perf_counter
from typing import NamedTuple

import psutil

from portal import Consumer, HTTPPortal, function

__all__ = ["Cost", "compare", "main"]

CALLS = 10_000
ROUNDS = 3
WINDOWS = (32, 200)


class Cost(NamedTuple):
    """Microseconds for each call: of the wall clock, and of the processors of client and server."""

    elapsed: float
    client: float
    server: float

    @property
    def processor(self) -> float:
        """Of both processes."""
        return self.client + self.server


@function(idempotent=True)
def add(a: float, b: float) -> float:
    """Add two numbers; in batches."""
    return a + b


@function
def add_alone(a: float, b: float) -> float:
    """Add two numbers; one call a request."""
    return a + b


def _serve(connection: Connection) -> None:
    with HTTPPortal() as http:
        connection.send((str(http.apply(add)), str(http.apply(add_alone))))
        connection.recv()


def _measure(consumer: Consumer, address: str, server: psutil.Process, calls: int, window: int) -> Cost:
    params = ({"a": number, "b": 1} for number in range(calls))
    client = psutil.Process()
    marks = [perf_counter(), sum(client.cpu_times()[:2]), sum(server.cpu_times()[:2])]
    total = sum(consumer.map_at(address, params, max_in_flight=window))
    if total != calls * (calls + 1) / 2:
        raise SystemExit(f"the results must add up to {calls * (calls + 1) / 2}, got {total}")
    now = [perf_counter(), sum(client.cpu_times()[:2]), sum(server.cpu_times()[:2])]
    return Cost(*((after - before) / calls * 1e6 for before, after in zip(marks, now, strict=True)))


def compare(calls: int = CALLS, rounds: int = ROUNDS) -> Iterator[tuple[int, Cost, Cost]]:
    """Yield (calls in flight, cost in batches, cost alone) for each round."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(there,), daemon=True)
    process.start()
    try:
        together, alone = here.recv()
        server = psutil.Process(process.pid)
        with Consumer() as consumer:
            for address in (together, alone):
                _measure(consumer, address, server, min(calls, 500), 32)
            for _ in range(rounds):
                for window in WINDOWS:
                    costs = [_measure(consumer, one, server, calls, window) for one in (together, alone)]
                    yield window, costs[0], costs[1]
        here.send(None)
        process.join(10)
    finally:
        process.terminate()


def main() -> None:
    """Print the figures of each round."""
    for window, together, alone in compare():
        print(
            f"{window:4} in flight: batches {together.elapsed:6.0f} us a call, alone {alone.elapsed:6.0f} "
            f"(ratio {alone.elapsed / together.elapsed:4.1f}); processor {together.processor:5.0f} and "
            f"{alone.processor:5.0f} us (ratio {alone.processor / together.processor:4.1f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
