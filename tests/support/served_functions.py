"""Functions, services and a portal that a server process imports."""

from __future__ import annotations

import os
import threading

from portal import HTTPPortal, Service, function, service

__all__ = ["add", "chatty", "double", "http", "process_id", "shop", "stall", "till"]


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@function
def double(n: int) -> int:
    """Return the number twice."""
    return n * 2


def process_id() -> int:
    """Return the id of the process that serves."""
    return os.getpid()


def chatty() -> int:
    """Print more than a pipe holds."""
    return print("x" * 200_000, flush=True) or 200_000


def stall() -> None:
    """Never return."""
    threading.Event().wait()


shop = Service("shop", [add])


@service(name="till")
class Till:
    """A service made of a class."""

    @function
    def total(self, prices: list[int]) -> int:
        """Add prices."""
        return sum(prices)


till = Till()
http = HTTPPortal(base_path="/own")
