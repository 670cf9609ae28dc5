"""Functions that run in other processes: their module can be imported there."""

from __future__ import annotations

import os
import signal
import sys
import threading
from dataclasses import dataclass
from typing import Any

from portal import AuthorizationError, CallContext, Consumer, LocalPortal, function
from portal.processes import ProcessPool

POOL = ProcessPool(2, queue=4)
ONE = ProcessPool(1, queue=1)


class ShopClosed(Exception):
    """An exception that only this module knows."""


class Unpicklable(Exception):
    """An exception that cannot be sent."""

    def __init__(self) -> None:
        super().__init__("locked")
        self.lock = threading.Lock()


@dataclass
class Item:
    name: str
    count: int = 1


@function(executor=POOL)
def add(a: float, b: float) -> float:
    return a + b


def same(number: int) -> int:
    return number


@function(executor=POOL)
def pid() -> int:
    return os.getpid()


@function(executor=POOL)
def fib(n: int) -> int:
    return n if n < 2 else fib(n=n - 1) + fib(n=n - 2)


@function(executor=POOL)
def double(item: Item) -> Item:
    return Item(item.name, item.count * 2)


@function(executor=POOL)
def context_of(key: str, context: CallContext) -> dict[str, Any]:
    assert CallContext.current() is context
    assert context.identity is not None
    left = context.remaining()
    return {
        "request_id": context.request_id,
        "identity": context.identity.name,
        "baggage": context.baggage.get(key),
        "left": left is not None and 0 < left < 60,
        "trace": context.traceparent,
    }


@function(executor=POOL)
def fail(kind: str) -> None:
    if kind == "portal":
        raise AuthorizationError("not for you", hint="ask ann")
    if kind == "unpicklable":
        raise Unpicklable
    if kind == "exit":
        sys.exit(3)
    raise ShopClosed("closed today")


@function(executor=POOL)
def nested(kind: str) -> None:
    """Call another function, whose error must not reveal where it runs."""
    portal = LocalPortal()
    Consumer([portal]).call_at(portal.apply(function(name="inner")(fail.target)), {"kind": kind})


@function(executor=POOL)
def die(number: int) -> None:
    os.kill(os.getpid(), number)
    signal.pause()


@function(executor=POOL)
def hang() -> None:
    while True:
        pass


@function(executor=ONE)
def hang_alone(path: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(str(os.getpid()))
    threading.Event().wait()


@function(executor=POOL)
def unsendable() -> Any:
    return threading.Lock()
