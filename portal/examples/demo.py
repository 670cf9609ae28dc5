"""The main job, shown: the same functions called at every address they have, in two processes.

    python -m portal.examples.demo

A server process publishes the order service over HTTP, to those who have its token; this process publishes it too, at
local:// and test://. Every function is called at each of its addresses and its answer held to the one expected; then
come calls that must be refused. The exit code is 0 only if every line is right.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from time import perf_counter
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from portal import (
    AuthenticationError,
    CallTimeout,
    Consumer,
    FunctionError,
    LocalPortal,
    PortalError,
    RegistryError,
    TestingPortal,
    TransportError,
    ValidationError,
)

from .orders import service

__all__ = ["Good", "Refused", "main", "serve"]

TOKEN = "demo-token"  # shown: it lets nobody in but to a server of this machine that ends with the demo
ORDER = {
    "customer": {"name": "Zoë 李", "email": "zoe@example.com"},
    "items": [
        {"sku": "LMP-003", "quantity": 2, "unit_price": "64.50"},
        {"sku": "PEN-001", "quantity": 5, "unit_price": "1.20"},
    ],
    "coupon": "SUMMER25",
    "deliver_on": "2026-12-24",
}
INVOICE = {
    "customer": "Zoë 李",
    "lines": [
        {"sku": "LMP-003", "quantity": 2, "amount": "129.00"},
        {"sku": "PEN-001", "quantity": 5, "amount": "6.00"},
    ],
    "subtotal": "135.00",
    "discount": "33.75",
    "delivery": "0.00",
    "total": "101.25",
    "deliver_on": "2026-12-24",
}
HISTORY = [
    {"number": "zoe-1", "placed": "2026-01-08", "total": "10.50"},
    {"number": "zoe-2", "placed": "2026-01-15", "total": "21.00"},
]
PEN = {"sku": "PEN-001", "quantity": 1, "unit_price": "1.20", "total": "1.20"}
NO_PEN = {"sku": "PEN-001", "quantity": 0, "unit_price": "1.20"}


class Good(NamedTuple):
    """A call and its answer; of a stream, all items."""

    function: str
    params: dict[str, Any]
    expected: Any
    show: Callable[[Any], str] = str


class Refused(NamedTuple):
    """A call that must fail, and the class of its error."""

    what: str
    function: str
    params: dict[str, Any]
    error: type[PortalError]
    timeout: float | None = None


GOOD = [
    Good("add", {"a": 1, "b": 2.5}, 3.5),
    Good("quote", {"sku": "PEN-001"}, PEN, lambda quote: f"{quote['quantity']} x {quote['sku']} = {quote['total']}"),
    Good("price", {"order": ORDER}, INVOICE, lambda invoice: f"{invoice['customer']} pays {invoice['total']}"),
    Good("history", {"customer": "zoe", "limit": 2}, HISTORY, lambda items: f"stream of {len(items)} items"),
    Good("slow", {"seconds": 0.05}, 0.05),
]
REFUSED = [
    Refused("wrong type", "add", {"a": "1", "b": 2}, ValidationError),
    Refused("wrong type inside", "price", {"order": {**ORDER, "items": [NO_PEN]}}, ValidationError),
    Refused("missing parameter", "add", {"a": 1}, ValidationError),
    Refused("unknown parameter", "add", {"a": 1, "b": 2, "c": 3}, ValidationError),
    Refused("unknown function", "subtract", {"a": 1, "b": 2}, RegistryError),
    Refused("failing function", "refuse", {"reason": "out of stock"}, FunctionError),
    Refused("deadline of 0.2 s", "slow", {"seconds": 30}, CallTimeout, 0.2),
]


@contextmanager
def serve(target: str, *options: str) -> Iterator[tuple[subprocess.Popen[str], list[dict[str, Any]]]]:
    """A server process that publishes `target` over HTTP at a free port, and the rows it says it publishes.

    Args:
        target, options: as `portal serve` takes them.

    In the end the server is asked to stop, and made to after ten seconds.

    Raises: RuntimeError, with what the server said, when it ends before it is ready.
    """
    command = [sys.executable, "-m", "portal", "serve", target, "--http", "127.0.0.1:0", "--json", *options]
    # The log goes to a file: a pipe that nobody reads would fill up and stop the server.
    with TemporaryFile("w+") as log, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            if not line:
                code = server.wait()
                log.seek(0)
                raise RuntimeError(f"the server ended with exit code {code} before it was ready: {log.read().strip()}")
            yield server, json.loads(line)["functions"]
        finally:
            stop(server)


def stop(server: subprocess.Popen[str]) -> int:
    """Ask the server to stop, make it after ten seconds; its exit code."""
    server.terminate()
    try:
        return server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()
        return server.wait()


class Show:
    """Makes the calls, prints a line for each, and counts the lines that are not as they must be."""

    def __init__(self, consumer: Consumer, console: Console) -> None:
        self.consumer = consumer
        self.console = console
        self.wrong = 0

    def good(self, cases: Iterable[Good], places: Iterable[dict[str, str]]) -> None:
        """A table of answers: every case at every place (a place: addresses by function name)."""
        table = Table("function", "address", "result", "ms", title="Answered", title_justify="left")
        table.caption = "The first call over HTTP also loads the client, connects, and asks for the contract."
        table.caption_justify = "left"
        places = list(places)
        for case in cases:
            for addresses in places:
                self._good_row(table, case, addresses[case.function])
        self.console.print(table)

    def _good_row(self, table: Table, case: Good, address: str) -> None:
        begin = perf_counter()
        try:
            got = self._call(address, case.params, stream=isinstance(case.expected, list))
            right = got == case.expected
            text = case.show(got) if right else f"{got!r}, not {case.expected!r}"
        except PortalError as error:
            right, text = False, f"{type(error).__name__}: {error}"
        self.wrong += not right
        took = f"{(perf_counter() - begin) * 1000:.1f}"
        table.add_row(case.function, address, text if right else f"WRONG: {text}", took)

    def refused(self, case: Refused, address: str, *, consumer: Consumer | None = None) -> None:
        """One line for a call, by another consumer where one is given, that must fail with the error class named."""
        try:
            said = f"answered {(consumer or self.consumer).call_at(address, case.params, timeout=case.timeout)!r}"
            right = False
        except PortalError as error:
            said = f"{type(error).__name__}: {error}"
            right = type(error) is case.error
        self.wrong += not right
        scheme = address.partition(":")[0]
        self.console.print(f"  {'refused' if right else 'WRONG':<8} {scheme:<6} {case.what:<18} {said}")

    def _call(self, address: str, params: dict[str, Any], *, stream: bool = False, timeout: float | None = None) -> Any:
        if stream:
            return list(self.consumer.stream_at(address, params, timeout=timeout))
        return self.consumer.call_at(address, params, timeout=timeout)


def by_name(rows: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Addresses by function name, and one of a function that is not there."""
    addresses = {row["name"]: row["address"] for row in rows}
    addresses["subtract"] = addresses["add"].replace("/add/", "/subtract/")
    return addresses


def main() -> int:
    """Run the demo; 0 if every line is right, else 1."""
    console = Console(markup=False, highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 140)
    let_in = ("--token", f"demo={TOKEN}")
    with (
        serve("portal.examples.orders:service", *let_in) as (server, rows),
        LocalPortal() as local,
        TestingPortal() as testing,
        Consumer(auth=TOKEN) as consumer,
        Consumer() as nobody,
    ):
        places = [by_name(rows)]
        for portal in (local, testing):
            portal.apply_service(service)
            found = portal.functions().items()
            places.append(by_name({"name": schema.name, "address": str(address)} for address, schema in found))
        show = Show(consumer, console)
        show.good(GOOD, places)
        console.print("Refused, as they must be")
        for case in REFUSED:
            for addresses in places:
                show.refused(case, addresses[case.function])
        nameless = Refused("no credential", "add", {"a": 1, "b": 2}, AuthenticationError)
        show.refused(nameless, places[0]["add"], consumer=nobody)
        code = stop(server)
        show.refused(Refused("dead server", "add", {"a": 1, "b": 2}, TransportError), places[0]["add"])
    wrong = f"{show.wrong} of the lines above are" if show.wrong else "no line above is"
    console.print(f"The server stopped with exit code {code}; {wrong} wrong.")
    return 0 if code == 0 and show.wrong == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
