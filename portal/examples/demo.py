"""Call the same functions over HTTP and WebSocket, in this process and in a test portal.

    python -m portal.examples.demo

A server process publishes the order service over HTTP and WebSocket, and requires a token. This process publishes the
same service at local:// and test://. The demo calls the functions at each address and compares the results with the
expected ones. Then it makes calls that must fail and checks the error classes. It replaces the server of a
subscription, which goes on. At last it kills one of two servers under load, and no call fails. The exit code is 0 only
if every check passes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from shlex import quote
from shutil import which
from tempfile import TemporaryFile
from time import perf_counter
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from portal import (
    AuthenticationError,
    CallTimeout,
    Consumer,
    Event,
    FunctionError,
    Gap,
    LocalPortal,
    PortalError,
    RegistryError,
    TestingPortal,
    TransportError,
    ValidationError,
    WebSocketPortal,
)
from portal.websocket import WebSocketConfig

from .failover import call_while_one_dies
from .orders import service

__all__ = ["FailingCall", "SuccessfulCall", "main", "serve"]

TOKEN = "demo-token"  # not a secret: the server listens on 127.0.0.1 and stops with the demo
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


class SuccessfulCall(NamedTuple):
    """A call and its expected result. The result of a stream is the list of its items."""

    function: str
    params: dict[str, Any]
    expected: Any
    show: Callable[[Any], str] = str


class FailingCall(NamedTuple):
    """A call that must fail, and its expected error class."""

    title: str
    function: str
    params: dict[str, Any]
    error: type[PortalError]
    timeout: float | None = None


SUCCESSFUL = [
    SuccessfulCall("add", {"a": 1, "b": 2.5}, 3.5),
    SuccessfulCall("quote", {"sku": "PEN-001"}, PEN, lambda it: f"{it['quantity']} x {it['sku']} = {it['total']}"),
    SuccessfulCall("price", {"order": ORDER}, INVOICE, lambda it: f"{it['customer']} pays {it['total']}"),
    SuccessfulCall("history", {"customer": "zoe", "limit": 2}, HISTORY, lambda items: f"stream of {len(items)} items"),
    SuccessfulCall("slow", {"seconds": 0.05}, 0.05),
]
FAILING = [
    FailingCall("wrong type", "add", {"a": "1", "b": 2}, ValidationError),
    FailingCall("wrong nested value", "price", {"order": {**ORDER, "items": [NO_PEN]}}, ValidationError),
    FailingCall("missing parameter", "add", {"a": 1}, ValidationError),
    FailingCall("unknown parameter", "add", {"a": 1, "b": 2, "c": 3}, ValidationError),
    FailingCall("unknown function", "subtract", {"a": 1, "b": 2}, RegistryError),
    FailingCall("failing function", "fail", {"reason": "out of stock"}, FunctionError),
    FailingCall("timeout of 0.2 s", "slow", {"seconds": 30}, CallTimeout, 0.2),
]


@contextmanager
def serve(target: str, *options: str) -> Iterator[tuple[subprocess.Popen[str], list[dict[str, Any]]]]:
    """Start a server process that publishes `target` over HTTP on a free port, and stop it at the end.

    Args:
        target: the MODULE:TARGET argument of `portal serve`.
        options: further options of `portal serve`.

    Returns: the process and the rows of its published functions.

    Raises: RuntimeError with the server's log if the server ends before it is ready.
    """
    command = [sys.executable, "-m", "portal", "serve", target, "--http", "127.0.0.1:0", "--json", *options]
    # The log goes to a file, because a full pipe without a reader would block the server.
    with TemporaryFile("w+") as log, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            if not line:
                code = server.wait()
                log.seek(0)
                raise RuntimeError(f"the server ended with exit code {code} before it was ready:\n{log.read().strip()}")
            yield server, json.loads(line)["functions"]
        finally:
            stop(server)


def stop(server: subprocess.Popen[str]) -> int:
    """Terminate the server, kill it after ten seconds, and return its exit code."""
    server.terminate()
    try:
        return server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()
        return server.wait()


class Report:
    """Makes the calls, prints a line for each, and counts the failed checks."""

    def __init__(self, consumer: Consumer, console: Console) -> None:
        self.consumer = consumer
        self.console = console
        self.failed = 0

    def successful(self, calls: Iterable[SuccessfulCall], portals: Iterable[dict[str, str]]) -> None:
        """Print a table with the result of every call at every portal.

        Args:
            portals: for each portal, the addresses by function name.
        """
        table = Table("function", "address", "result", "ms", title="Successful calls", title_justify="left")
        table.caption = "The first calls over the network are slower: they load a client, connect and fetch schemas."
        table.caption_justify = "left"
        portals = list(portals)
        for call in calls:
            for addresses in portals:
                table.add_row(*self._row(call, addresses[call.function]))
        self.console.print(table)

    def _row(self, call: SuccessfulCall, address: str) -> tuple[str, str, str, str]:
        started = perf_counter()
        try:
            result = self._call(address, call.params, stream=isinstance(call.expected, list))
            passed = result == call.expected
            text = call.show(result) if passed else f"got {result!r}, expected {call.expected!r}"
        except PortalError as error:
            passed, text = False, f"{type(error).__name__}: {error}"
        self.failed += not passed
        milliseconds = f"{(perf_counter() - started) * 1000:.1f}"
        return call.function, address, text if passed else f"WRONG: {text}", milliseconds

    def failing(self, call: FailingCall, address: str, *, consumer: Consumer | None = None) -> None:
        """Print one line for a call that must fail with the expected error class.

        Args:
            consumer: a Consumer for this call in place of the usual one.
        """
        try:
            result = (consumer or self.consumer).call_at(address, call.params, timeout=call.timeout)
            passed, text = False, f"returned {result!r}"
        except PortalError as error:
            passed, text = type(error) is call.error, f"{type(error).__name__}: {error}"
        self.failed += not passed
        scheme = address.partition(":")[0]
        self.console.print(f"  {'ok' if passed else 'WRONG':<6} {scheme:<6} {call.title:<19} {text}")

    def subscription(self) -> None:
        """Subscribe to a topic, replace its server, and print what the subscription gets."""
        config = WebSocketConfig(goaway_delay=0)  # clients connect again at once
        with Consumer() as consumer:
            with WebSocketPortal(config=config) as first:
                port = first.port
                prices = first.topic("prices")
                subscription = consumer.subscribe(prices.address)
                prices.publish(1.07)
                found: list[Any] = [subscription.next(timeout=20)]
            second = WebSocketPortal(port=port, config=config)
            prices = second.topic("prices")  # before the portal serves: the client connects again at once
            with second:
                prices.publish(1.08)
                found += [subscription.next(timeout=20) for _ in range(2)]
        shown = [one.data if isinstance(one, Event) else one for one in found]
        passed = shown == [1.07, Gap(None, "epoch"), 1.08]
        self.failed += not passed
        self.console.print(f"  {'ok' if passed else 'WRONG':<6} ws     {', '.join(map(str, shown))}")

    def lost_server(self) -> None:
        """Kill one of two servers under load, and print what the callers saw: nothing."""
        target = "portal.examples.orders:service"
        with Consumer() as consumer, serve(target) as (first, rows), serve(target) as (_, others):
            addresses = [by_name(one)["quote"] for one in (rows, others)]
            seen = call_while_one_dies(consumer, addresses, {"sku": "PEN-001"}, first.kill)
        table = Table("", "calls", "errors that callers saw", title_justify="left")
        table.add_row("both servers", str(seen.before), "")
        table.add_row("one was killed", str(seen.after), "; ".join(seen.errors[:3]) or "none")
        self.console.print(table)
        self.failed += bool(seen.errors)

    def _call(self, address: str, params: dict[str, Any], *, stream: bool) -> Any:
        if stream:
            return list(self.consumer.stream_at(address, params))
        return self.consumer.call_at(address, params)


def by_name(rows: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Return addresses by function name, and for `subtract` an address where no function is published."""
    addresses = {row["name"]: row["address"] for row in rows}
    addresses["subtract"] = addresses["add"].replace("/add/", "/subtract/")
    return addresses


def portal_command() -> str:
    """Return the command `portal` in a form that the shell finds."""
    return "portal" if which("portal") else f"{quote(sys.executable)} -m portal"


def main() -> int:
    """Run the demo. Returns: 0 if every check passed, else 1."""
    console = Console(markup=False, highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 140)
    console.print("This demo calls an order service over HTTP and WebSocket, in this process and in a test portal.")
    console.print("The service is in portal/examples/orders.py. The calls are in portal/examples/demo.py.\n")
    with (
        serve("portal.examples.orders:service", "--ws", "--token", f"demo={TOKEN}") as (server, rows),
        LocalPortal() as local,
        TestingPortal() as testing,
        Consumer(auth=TOKEN) as consumer,
        Consumer() as anonymous,
    ):
        portals = [by_name(row for row in rows if row["address"].startswith(scheme)) for scheme in ("http:", "ws:")]
        for portal in (local, testing):
            portal.apply_service(service)
            published = portal.functions().items()
            portals.append(by_name({"name": schema.name, "address": str(address)} for address, schema in published))
        report = Report(consumer, console)
        report.successful(SUCCESSFUL, portals)
        console.print("\nCalls that must fail with the same error class at every address")
        for call in FAILING:
            for addresses in portals:
                report.failing(call, addresses[call.function])
        add = portals[0]["add"]
        no_credential = FailingCall("no credential", "add", {"a": 1, "b": 2}, AuthenticationError)
        report.failing(no_credential, add, consumer=anonymous)
        code = stop(server)
        report.failing(FailingCall("stopped server", "add", {"a": 1, "b": 2}, TransportError), add)
        console.print("\nA subscription whose server is replaced: its events, and the gap in between")
        report.subscription()
        console.print("\nFour threads call two servers, one of which is killed in the middle")
        report.lost_server()
    result = f"{report.failed} checks failed" if report.failed else "All checks passed"
    console.print(f"\n{result}. The server stopped with exit code {code}.")
    if not report.failed:
        console.print("To try the functions in a browser, run this command and open http://127.0.0.1:8080/docs")
        console.print(f"  {portal_command()} serve portal.examples.orders:service")
    return 0 if code == 0 and report.failed == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
