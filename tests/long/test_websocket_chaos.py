"""A WebSocket server is killed and restarted under constant calls, and connections are cut.

Every call ends with its own response, or with an error that says whether it may have been executed. No call is executed
twice. Every subscriber gets each event once, or a Gap in its place.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from portal import Consumer, PortalError
from portal.websocket import Event, Gap, Reconnect, WebSocketClient
from tests.support.ports import free_port

WAIT = 120.0
RECONNECT = Reconnect(initial_backoff=0.01, max_backoff=0.2, patience=WAIT)


class Made(NamedTuple):
    number: int
    name: str
    result: Any
    error: PortalError | None


class Callers:
    """Threads that call through many connections until enough calls have ended."""

    def __init__(self, base: str, connections: int, calls: int, threads: int) -> None:
        self.clients = [WebSocketClient(reconnect=RECONNECT, timeout=WAIT) for _ in range(connections)]
        self.consumers = [Consumer(websocket=client, timeout=WAIT) for client in self.clients]
        self.made: list[Made] = []
        self.changed = threading.Condition()
        self._base = base
        self._calls = calls
        self._numbers = count(1)
        self._threads = [threading.Thread(target=self._run, args=(index,)) for index in range(threads)]
        for thread in self._threads:
            thread.start()

    def _run(self, index: int) -> None:
        chosen = random.Random(index)
        while (number := next(self._numbers)) <= self._calls:
            name = ("work", "safe")[number % 2]
            result, error = None, None
            try:
                result = chosen.choice(self.consumers).call_at(f"{self._base}/{name}", {"number": number})
            except PortalError as raised:
                error = raised
            with self.changed:
                self.made.append(Made(number, name, result, error))
                self.changed.notify_all()

    def wait_for(self, calls: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.made) >= min(calls, self._calls), WAIT)

    def cut(self, share: float, chosen: random.Random) -> None:
        """End a share of the connections without a close frame."""
        for client in self.clients:
            for link in client._links.all():
                transport: Any = link._transport
                if transport is not None and chosen.random() < share:
                    transport.abort("cut")

    def join(self) -> None:
        for thread in self._threads:
            thread.join(WAIT)
            assert not thread.is_alive()

    def close(self) -> None:
        for consumer in self.consumers:
            consumer.close()


class Reader:
    """One subscriber: it checks that each event comes once, or is part of a Gap."""

    def __init__(self, consumer: Consumer, address: str) -> None:
        self.events = self.gaps = 0
        self.faults: list[str] = []
        self.last: tuple[str, int] | None = None
        self.subscription = consumer.subscribe(address, slow="drop_oldest", max_bytes=64 * 1024 * 1024)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        missed: list[Gap] = []
        for item in self.subscription:
            if isinstance(item, Gap):
                self.gaps += 1
                missed.append(item)
                continue
            self._check(item, missed)
            missed = []

    def _check(self, event: Event[Any], missed: list[Gap]) -> None:
        self.events += 1
        before, self.last = self.last, (event.epoch, event.offset)
        if event.data != event.offset:
            self.faults.append(f"{event} has the data of another event")
        if before is None:
            return
        if before[0] != event.epoch:
            if not missed:
                self.faults.append(f"a new epoch without a Gap: {before} {event}")
            return
        told = None if any(gap.count is None for gap in missed) else sum(gap.count or 0 for gap in missed)
        if event.offset <= before[1] or (told is not None and event.offset != before[1] + 1 + told):
            self.faults.append(f"{event} after {before} and {missed}")

    def join(self) -> None:
        self.subscription.close()
        self._thread.join(WAIT)
        assert not self._thread.is_alive()


def run_chaos(
    run: Callable[..., Any], tmp_path: Path, *, connections: int, subscriptions: int, kills: int, calls: int
) -> None:
    executions = tmp_path / "executions"
    executions.touch()
    settings = {"port": free_port(), "executions": str(executions)}
    base = f"ws://127.0.0.1:{settings['port']}/ws"
    server = run("serve_chaos.py", **settings)
    server.read()
    callers = Callers(base, connections, calls, threads=16)
    chosen = random.Random(1)
    readers = [Reader(callers.consumers[index % connections], f"{base}/numbers") for index in range(subscriptions)]
    try:
        for kill in range(1, kills + 1):
            step = calls // (kills + 1)
            callers.wait_for(kill * step - step // 2)
            callers.cut(0.5, chosen)
            callers.wait_for(kill * step)
            server.close()
            server = run("serve_chaos.py", **settings)
            server.read()
        callers.join()
    finally:
        for reader in readers:
            reader.join()
        callers.close()
    check_calls(callers.made, Counter(map(int, executions.read_text().split())), calls)
    assert [reader.faults for reader in readers] == [[]] * subscriptions
    assert all(reader.events for reader in readers)
    lost = sum(1 for one in callers.made if one.error is not None)
    gaps = sum(reader.gaps for reader in readers)
    print(f"\n{calls} calls, {lost} errors, {sum(reader.events for reader in readers)} events, {gaps} gaps")
    assert gaps >= subscriptions  # a killed server loses its memory


def check_calls(made: list[Made], executed: Counter[int], calls: int) -> None:
    assert len(made) == calls
    for one in made:
        times = executed[one.number]
        if one.name == "work":
            assert times <= 1, one
        if one.error is None:
            assert one.result == one.number
            assert times >= 1
        elif not one.error.may_have_executed:
            assert times == 0, one
        assert one.name != "safe" or one.error is None or one.error.may_have_executed, one


def test_a_server_that_is_killed(run: Callable[..., Any], tmp_path: Path) -> None:
    run_chaos(run, tmp_path, connections=10, subscriptions=4, kills=2, calls=600)


def test_a_server_that_is_killed_long(run: Callable[..., Any], tmp_path: Path) -> None:
    run_chaos(run, tmp_path, connections=200, subscriptions=20, kills=20, calls=20_000)
