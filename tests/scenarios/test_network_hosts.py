"""Two hosts on a network, each with two gunicorn workers, behind one Valkey server.

The server is killed and comes back, the cable of a host is cut and mended, and a host stops, while calls go on.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from time import monotonic
from typing import Any

import pytest

pytest.importorskip("gunicorn", reason="gunicorn is not installed")

from portal import Consumer, OverloadedError, RateLimitError
from portal.directory import PolledDirectory, open_directory
from portal.resilience import Hedge, Policy
from tests.support import valkey
from tests.support.network_hosts import NetworkHost, network_hosts
from tests.support.races import in_threads
from tests.support.shop_host import KEY, LIMIT, TOKEN
from tests.support.valkey import ROOT
from tests.support.waiting import eventually

WAIT = 240.0
PORT, STORE = 8080, 17379  # outside the range of ports that connections use
SHORT, LONG = 4.0, 600.0  # leases: one that ends in the test, and one that does not
SERVER = ("-m", "gunicorn", "-k", "portal.serving.gunicorn.Worker", "-w", "2", "-c", "python:portal.cli.gunicorn")


@contextmanager
def shop(host: NetworkHost, store: str, lease: float) -> Iterator[subprocess.Popen[Any]]:
    """Serve the shop on a host."""
    facts = {"SHOP_STORE": store, "SHOP_ADDRESS": f"{host.address}:{PORT}", "SHOP_LEASE": str(lease)}
    command = [
        sys.executable,
        *SERVER,
        "-b",
        f"0.0.0.0:{PORT}",
        "--log-level",
        "error",
        "tests.support.shop_host:make()",
    ]
    process = subprocess.Popen(
        host.command(*command), cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)} | facts, stdin=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(WAIT)


@contextmanager
def store_of(hosts: list[NetworkHost]) -> Iterator[Any]:
    here = hosts[0].gateway
    with valkey.running(port=STORE, host=here, config={"bind": here, "protected-mode": "no"}) as server:
        yield server


class Load:
    """Calls a function by name, again and again, in threads.

    Attributes:
        failures: what calls raised.
        calls: how many were made.
    """

    def __init__(self, consumer: Consumer, threads: int = 2) -> None:
        self._consumer = consumer
        self._over = threading.Event()
        self._workers: list[str] = []
        self.failures: list[str] = []
        self.calls = 0
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(WAIT)

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self._workers.append(self._consumer.call("worker", timeout=WAIT))
            except BaseException as error:
                self.failures.append(f"{type(error).__name__}: {error}")
            self.calls += 1

    def hosts_of_next(self, count: int) -> set[str]:
        """Return the hosts that run the next calls."""
        begun = self.calls + len(self._threads)  # those in flight may have begun before
        eventually(lambda: self.calls >= begun, WAIT)
        number = len(self._workers)
        eventually(lambda: len(self._workers) >= number + count, WAIT)
        return {worker.partition(":")[0] for worker in self._workers[number : number + count]}


def serving(directory: PolledDirectory) -> set[str]:
    return {one.address.host for one in directory.instances("worker")}


def call(host: NetworkHost, name: str, params: dict[str, Any] | None = None, **options: Any) -> Any:
    """Call a function of one host over a new connection, which any of its workers may take."""
    with Consumer(auth=TOKEN) as consumer:
        return consumer.call_at(f"http://{host.address}:{PORT}/api/{name}", params, timeout=WAIT, **options)


def limited(host: NetworkHost) -> str | None:
    """Return the worker that ran the limited function; None if the limit was reached."""
    try:
        return str(call(host, "limited"))
    except RateLimitError:
        return None


def is_one_call(hosts: list[NetworkHost], key: str) -> bool:
    """Return whether calls with one idempotency key at all hosts ran once. Without the store they are rejected."""
    try:
        return len({call(hosts[number % 2], "once", idempotency_key=key) for number in range(8)}) == 1
    except OverloadedError:
        return False


def test_state_joins_cuts_and_leaves_over_two_hosts() -> None:
    with ExitStack() as stack:
        one, two = hosts = stack.enter_context(network_hosts(2))
        url = f"redis://{one.gateway}:{STORE}/0"
        store = stack.enter_context(ExitStack())
        store.enter_context(store_of(hosts))
        directory = stack.enter_context(closing(open_directory(f"{url}#hosts", key=KEY)))
        policy = Policy(hedge=Hedge(initial_delay=0.3, min_delay=0.1))
        consumer = stack.enter_context(Consumer(directory=directory, policy=policy, auth=TOKEN))
        times: dict[str, float] = {}

        def when(event: str, begun: float, *expected: NetworkHost) -> None:
            eventually(lambda: serving(directory) == {host.address for host in expected}, WAIT)
            times[event] = monotonic() - begun

        stack.enter_context(shop(one, url, SHORT))
        stopping = stack.enter_context(ExitStack())
        second = stopping.enter_context(shop(two, url, LONG))
        when("start of both", monotonic(), one, two)
        load = stack.enter_context(Load(consumer))

        # limits, idempotency keys and topics hold over all four workers
        ran = [worker for worker in in_threads(2 * LIMIT, lambda number: limited(hosts[number % 2])) if worker]
        assert len(ran) == LIMIT
        print(f"\n{LIMIT} calls of {2 * LIMIT} at a time were allowed, by {len(set(ran))} workers of 4")
        assert [limited(host) for host in hosts] == [None, None]
        assert is_one_call(hosts, "first")
        events = [
            stack.enter_context(closing(consumer.subscribe(f"ws://{host.address}:{PORT}/ws/orders", timeout=WAIT)))
            for host in hosts
        ]
        for number in range(4):
            call(hosts[number % 2], "announce", {"text": f"order {number}"})
        for subscription in events:
            received = iter(subscription)
            assert [next(received).data for _ in range(4)] == [f"order {number}" for number in range(4)]

        # the store is killed and comes back without its memory
        store.close()
        eventually(lambda: directory.problem is not None, WAIT)
        assert "may be out of date" in str(consumer.explain("worker"))
        assert load.hosts_of_next(20) == {one.address, two.address}
        assert limited(one)
        store.enter_context(store_of(hosts))
        begun = monotonic()
        eventually(lambda: directory.problem is None, WAIT)  # although the lease of the second host goes on
        times["store back, all registered"] = monotonic() - begun
        eventually(lambda: is_one_call(hosts, f"later-{monotonic()}"), WAIT)
        eventually(lambda: limited(one) is None, WAIT)

        # a cable is cut: the lease ends, and nobody calls the host until it is mended
        one.cut()
        when("cut cable", monotonic(), two)
        assert load.hosts_of_next(50) == {two.address}
        one.mend()
        when("mended cable", monotonic(), one, two)
        eventually(lambda: one.address in load.hosts_of_next(20), WAIT)

        # a host stops: it withdraws its records, whose leases are long
        second.terminate()
        when("stop of a host", monotonic(), one)
        assert load.hosts_of_next(20) == {one.address}
        stopping.close()

    print("\n" + "\n".join(f"{event}: {seconds:.2f} s" for event, seconds in times.items()))
    print(f"{load.calls} calls, {len(load.failures)} failed")
    assert load.failures == []
    assert load.calls > 0
