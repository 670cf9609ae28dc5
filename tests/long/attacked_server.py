"""A portal with functions worth attacking, in another process, controlled by lines on its standard input.

    python attacked_server.py '{"config": {...}}'

It prints its port, then responds to each line with its figures as JSON. It ends when its input ends.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from serve import figures

from portal import HTTPPortal, Idempotency, function
from portal.http import Compression
from portal.serving import ServingConfig
from portal.serving.switch_interval import shorten_switch_interval

_waits = threading.Event()  # never set; a wait that does not load the processor


@function
def work(seconds: float) -> float:
    """Take some time, as a query of a database does."""
    _waits.wait(min(seconds, 30.0))
    return seconds


@function
def query() -> float:
    """Take 10 ms. No attack calls it, as a function that is overloaded by an attack may reject every caller."""
    _waits.wait(0.01)
    return 0.01


@function
def items(values: list[Any]) -> int:
    return len(values)


_TEXT = "x" * 30_000_000


@function
def blob(size: int) -> str:
    """Return a part of a large text, as a service does that keeps its results."""
    return _TEXT[:size]


@function
def ticks() -> Iterator[str]:
    while True:
        yield "x" * 10_000


@function
def pay(amount: float) -> float:
    return amount


def return_free_memory_at_once() -> None:
    """Let the C library give each large block back when it is freed, so that the figures show what is in use."""
    with suppress(AttributeError, OSError):  # other C libraries have no such function
        ctypes.CDLL(None).mallopt(-3, 128 * 1024)  # M_MMAP_THRESHOLD


def main() -> None:
    return_free_memory_at_once()
    shorten_switch_interval()  # as `portal serve` does
    settings = json.loads(sys.argv[1])
    with HTTPPortal(
        name="attacked",
        http_middleware=[Compression()],
        middleware=[Idempotency(max_entries=1000)],
        config=ServingConfig(**settings["config"]),
    ) as portal:
        for one in (work, query, items, blob, ticks, pay):
            portal.apply(one)
        print(portal.port, flush=True)
        for _ in sys.stdin:
            gc.collect()
            print(json.dumps(figures(portal)), flush=True)


if __name__ == "__main__":
    main()
