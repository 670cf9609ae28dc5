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
from contextlib import ExitStack, suppress
from typing import Any

from serve import figures
from slow_issuer import slow_issuer

from portal import (
    AuthenticationError,
    BasicAuth,
    BearerAuth,
    Consumer,
    HTTPPortal,
    Idempotency,
    Identity,
    JWTAuth,
    function,
)
from portal.auth import hash_password
from portal.http import AuthFailureLimit, Compression
from portal.serving import ServingConfig
from portal.serving.loaded_objects import freeze_loaded_objects
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


@function(
    input={
        "type": "object",
        "patternProperties": {"^(a+)+$": {"type": "integer"}},
        "properties": {"text": {"pattern": "(x+x+)+y"}},
        "additionalProperties": False,
    }
)
def store(**members: Any) -> int:
    return len(members)


_consumer = Consumer()


@function
def forward(address: str) -> Any:
    """Call a server that the caller names, as a gateway does."""
    return _consumer.call_at(address, {"a": 1})


@function(name="whose")
def whose_east() -> str:
    return "east"


@function(name="whose")
def whose_west() -> str:
    return "west"


@function
def decline() -> None:
    """Respond with 401 though the caller's credential is right."""
    raise AuthenticationError("the card was declined")


def protected(portal: HTTPPortal, issuer: str) -> Iterator[HTTPPortal]:
    """Yield portals on the same listener that authenticate their callers."""
    by_token = BearerAuth({"good": Identity("ann")})
    limited = [AuthFailureLimit("20/hour")]
    yield HTTPPortal(
        name="bearer", base_path="/bearer", listener=portal.listener, auth=by_token, http_middleware=limited
    )
    by_password = BasicAuth({"ann": hash_password("correct horse")})
    yield HTTPPortal(name="basic", base_path="/basic", listener=portal.listener, auth=by_password)
    by_signature = JWTAuth(algorithms=["RS256"], jwks_url=issuer, audience="attacked")
    yield HTTPPortal(name="jwt", base_path="/jwt", listener=portal.listener, auth=by_signature)


def return_free_memory_at_once() -> None:
    """Let the C library give each large block back when it is freed, so that the figures show what is in use."""
    with suppress(AttributeError, OSError):  # other C libraries have no such function
        ctypes.CDLL(None).mallopt(-3, 128 * 1024)  # M_MMAP_THRESHOLD


def main() -> None:
    return_free_memory_at_once()
    shorten_switch_interval()  # as `portal serve` does
    settings = json.loads(sys.argv[1])
    once = Idempotency(max_entries=1000)
    config = ServingConfig(**settings["config"])
    with ExitStack() as stack:
        issuer = stack.enter_context(slow_issuer())
        portal = stack.enter_context(
            HTTPPortal(name="attacked", http_middleware=[Compression()], middleware=[once], config=config)
        )
        west = HTTPPortal(name="west", base_path="/west", listener=portal.listener, middleware=[once])
        stack.enter_context(west).apply(whose_west)
        for one in (work, query, items, blob, ticks, pay, store, forward, whose_east):
            portal.apply(one)
        for one in protected(portal, issuer):
            stack.enter_context(one).apply(decline)
        freeze_loaded_objects()  # as `portal serve` does
        print(portal.port, flush=True)
        for _ in sys.stdin:
            gc.collect()
            print(json.dumps(figures(portal)), flush=True)


if __name__ == "__main__":
    main()
