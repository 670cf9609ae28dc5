"""An exception that a failed call raised is freed at once, without the garbage collector, in the process that calls."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from time import monotonic
from typing import Any

import pytest
import requests

from portal import (
    AdaptiveLimit,
    Breaker,
    Bulkhead,
    CallCancelled,
    CallContext,
    CallTimeout,
    Chaos,
    Consumer,
    ConsumerError,
    Fallback,
    FunctionError,
    Hedge,
    Policy,
    PortalError,
    RateLimitError,
    RegistryError,
    Retry,
    RetryBudget,
    TransportError,
    ValidationError,
)
from portal.address import Address
from portal.auth.fetch import fetch
from portal.http import HTTPClient
from portal.testing import Cut, FaultProxy, ServerProcesses
from tests.support import failing_functions
from tests.support.failing_functions import Declined
from tests.support.garbage import cyclic_exceptions
from tests.support.raising import fails


class Servers:
    """An HTTP and a WebSocket server in processes of their own, and Consumers.

    Attributes:
        consumer: with own connections.
        session: through a requests.Session.
        bases: the base address of each server, by scheme.
        dead: ports that refuse connections.
    """

    def __init__(self, stack: ExitStack) -> None:
        serve = stack.enter_context(ServerProcesses())
        http, websocket = serve(failing_functions.http), serve(failing_functions.websocket)
        self.consumer = stack.enter_context(Consumer())
        self.session = stack.enter_context(Consumer(http=HTTPClient(session=requests.Session())))
        self.proxied = stack.enter_context(Consumer(http=HTTPClient(proxy=f"http://127.0.0.1:{_dead(stack)}")))
        self.bases: dict[str, Address] = {"http": http, "ws": websocket}
        for scheme in self.bases:
            self.consumer.call_at(self.at("limited", scheme))
        self.dead = [_dead(stack), _dead(stack)]
        self.cut = stack.enter_context(FaultProxy(http, [Cut(after=2000)]))

    def at(self, name: str, scheme: str = "http") -> str:
        """Return the address of a function."""
        return str(self.bases[scheme].child(name))

    def broken(self, name: str) -> str:
        """Return the address of a function at a proxy that ends each response after some bytes."""
        return self.cut.through(self.at(name))

    def both_refused(self, scheme: str = "http") -> list[str]:
        """Return two addresses at ports that refuse connections."""
        return [self.refused(scheme, 0), self.refused(scheme, 1)]

    def refused(self, scheme: str = "http", index: int = 0) -> str:
        """Return an address at a port that refuses connections."""
        return f"{scheme}://127.0.0.1:{self.dead[index]}/api/decline"


def _dead(stack: ExitStack) -> int:
    taken = stack.enter_context(socket.socket())  # bound and not listening
    taken.bind(("127.0.0.1", 0))
    return int(taken.getsockname()[1])


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(stack)


def cancelled(consumer: Consumer, address: str) -> None:
    context = CallContext.for_call()
    context.abortable = True  # as in a thread of `submit_at`
    timer = threading.Timer(0.02, context.cancel)
    timer.start()
    fails(CallCancelled, consumer.call_at, address, context=context)
    timer.join()


def mapped(consumer: Consumer, address: str, params: Sequence[Any], **options: Any) -> None:
    found = list(consumer.map_at(address, params, return_exceptions=True, **options))
    assert all(isinstance(one, PortalError) for one in found)


def submitted(consumer: Consumer, address: str) -> None:
    assert isinstance(consumer.submit_at(address).exception(10), Declined)


def batched(consumer: Consumer, address: str) -> None:
    """Make calls with invalid parameters in one message."""
    function: Any = consumer.resolve(address)
    found = function.transport.call_batch(function, [{"absent": 1}] * 2, CallContext())
    assert [type(one) for one in found.values()] == [ValidationError] * 2


def items(stream: Callable[..., Any], *args: Any, **options: Any) -> None:
    for _ in stream(*args, **options):
        pass


# The rows of one server, of either scheme.


def of_scheme(scheme: str) -> dict[str, Callable[[Servers], object]]:
    def at(name: str) -> Callable[[Servers], str]:
        return lambda servers: servers.at(name, scheme)

    def row(kind: type[Exception], name: str, *args: Any, **options: Any) -> Callable[[Servers], object]:
        return lambda s: fails(kind, s.consumer.call_at, s.at(name, scheme), *args, **options)

    return {
        "own error": row(PortalError, "decline"),
        "unexpected exception": row(FunctionError, "break_down"),
        "invalid parameters": row(ValidationError, "take", {"number": "x"}),
        "unknown function": row(RegistryError, "absent"),
        "rejected by a limit": row(RateLimitError, "limited"),
        "deadline": row(CallTimeout, "hang", timeout=0.03),
        "native call": lambda s: fails(PortalError, s.consumer.resolve(s.at("decline", scheme))),
        "cancelled": lambda s: cancelled(s.consumer, s.at("hang", scheme)),
        "stream": lambda s: fails(PortalError, items, s.consumer.stream_at, s.at("stop_early", scheme)),
        "stream of invalid parameters": lambda s: fails(
            ValidationError, items, s.consumer.stream_at, s.at("stop_early", scheme), {"x": 1}
        ),
        "future": lambda s: submitted(s.consumer, s.at("decline", scheme)),
        "map": lambda s: mapped(s.consumer, s.at("decline", scheme), [None] * 4),
        "map, loaded": lambda s: mapped(s.consumer, s.at("decline", scheme), [None] * 4, returns=int),
        "map, invalid": lambda s: mapped(s.consumer, s.at("take", scheme), [{"number": "x"}] * 4),
        "map raises": lambda s: fails(PortalError, list, s.consumer.map_at(s.at("decline", scheme), [None] * 4)),
        "message of calls": lambda s: batched(s.consumer, s.at("decline", scheme)),
        "refused": lambda s: fails(TransportError, s.consumer.call_at, s.refused(scheme)),
        "schema": lambda s: fails(TransportError, s.consumer.resolve, s.refused(scheme)),
        "service": lambda s: fails(PortalError, s.consumer.service, s.refused(scheme)),
    }


def of_policies() -> dict[str, Callable[[Servers], object]]:
    def row(kind: type[Exception], name: str, **options: Any) -> Callable[[Servers], object]:
        policy = Policy(**options)
        return lambda s: fails(kind, s.consumer.call_at, s.at(name), policy=policy)

    quick = Retry(3, initial_backoff=0.001, max_backoff=0.001, budget=RetryBudget(1000.0, 1.0))
    breaker = Policy(breaker=Breaker(1, open_duration=1000.0))
    quickly = Policy(retry=quick)
    later = Policy(hedge=Hedge(initial_delay=0.001))
    return {
        "retries": row(TransportError, "lose", retry=quick),
        "retries of a stream": lambda s: fails(
            TransportError, items, s.consumer.stream_at, s.refused(), policy=quickly
        ),
        "hedge": row(TransportError, "lose", hedge=Hedge(initial_delay=0.0001)),
        "hedge and deadline": row(CallTimeout, "hang", hedge=Hedge(initial_delay=0.001), timeout=0.03),
        "breaker": lambda s: fails(PortalError, s.consumer.call_at, s.refused(), policy=breaker),
        "bulkhead": row(TransportError, "lose", bulkhead=Bulkhead(1)),
        "limiter": row(TransportError, "lose", limiter=AdaptiveLimit()),
        "fallback to an address": lambda s: fails(
            TransportError, s.consumer.call_at, s.at("lose"), policy=Policy(fallback=Fallback(address=s.refused()))
        ),
        "fallback not used": row(PortalError, "decline", fallback=Fallback(1)),
        "chaos fails": row(TransportError, "lose", chaos=Chaos(fails=1.0)),
        "chaos drops": row(TransportError, "lose", chaos=Chaos(drops_after_execution=1.0)),
        "failover": lambda s: fails(ConsumerError, s.consumer.call, s.both_refused()),
        "failover of a stream": lambda s: fails(PortalError, items, s.consumer.stream, s.both_refused()),
        "failover, retries": lambda s: fails(ConsumerError, s.consumer.call, s.both_refused(), policy=quickly),
        "failover, hedged": lambda s: fails(ConsumerError, s.consumer.call, s.both_refused("ws"), policy=later),
    }


def of_connections() -> dict[str, Callable[[Servers], object]]:
    return {
        "broken stream": lambda s: fails(TransportError, items, s.consumer.stream_at, s.broken("count")),
        "session: own error": lambda s: fails(PortalError, s.session.call_at, s.at("decline")),
        "session: refused": lambda s: fails(TransportError, s.session.call_at, s.refused()),
        "session: deadline": lambda s: fails(CallTimeout, s.session.call_at, s.at("hang"), timeout=0.03),
        "session: broken stream": lambda s: fails(TransportError, items, s.session.stream_at, s.broken("count")),
        "proxy: refused": lambda s: fails(TransportError, s.proxied.call_at, s.at("decline")),
        "fetch": lambda s: fails(
            TransportError, fetch, f"http://127.0.0.1:{s.dead[0]}/", deadline=monotonic() + 5, max_size=10
        ),
        "topic": lambda s: fails(PortalError, s.consumer.subscribe, s.at("absent", "ws")),
        "topic at a refused port": lambda s: fails(PortalError, s.consumer.subscribe, s.refused("ws")),
    }


ROWS = {f"{scheme}: {name}": row for scheme in ("http", "ws") for name, row in of_scheme(scheme).items()}
ROWS |= of_policies() | of_connections()


@pytest.mark.parametrize("name", ROWS)
def test_exceptions_of_failed_calls_are_freed_at_once(servers: Servers, name: str) -> None:
    found = cyclic_exceptions(lambda: ROWS[name](servers))
    assert not found, "\n".join(found[:8])
