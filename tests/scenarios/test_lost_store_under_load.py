"""A store that is frozen, killed and started again under constant calls to a portal that counts and remembers on it."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from itertools import count
from typing import Any

import pytest

from portal import Consumer, HTTPPortal, OverloadedError, PortalError
from portal.idempotency.middleware import Idempotency
from portal.limits.rate_limit import RateLimit
from tests.support import valkey
from tests.support.ports import free_port
from tests.support.waiting import eventually

WAIT = 30.0
THREADS = 8


class Load:
    """Threads that call all the time, each call under an idempotency key of its own, sent twice."""

    def __init__(self, address: str) -> None:
        self.wrong: list[PortalError] = []
        self.overloaded = self.succeeded = 0
        self._address = address
        self._numbers, self._over, self._more = count(), threading.Event(), threading.Condition()
        self._threads = [threading.Thread(target=self._run) for _ in range(THREADS)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        with Consumer() as consumer:
            while not self._over.is_set():
                number = next(self._numbers)
                for _ in range(2):
                    self._call(consumer, number)

    def _call(self, consumer: Consumer, number: int) -> None:
        error: PortalError | None = None
        try:
            consumer.call_at(self._address, {"number": number}, timeout=WAIT, idempotency_key=f"key-{number}")
        except PortalError as raised:
            error = raised
        with self._more:
            if error is None:
                self.succeeded += 1
            elif isinstance(error, OverloadedError):
                self.overloaded += 1
            else:
                self.wrong.append(error)
            self._more.notify_all()

    def await_more(self, name: str, calls: int = 40) -> None:
        with self._more:
            least = getattr(self, name) + calls
            assert self._more.wait_for(lambda: getattr(self, name) >= least, WAIT), (self.succeeded, self.overloaded)

    def close(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(2 * WAIT)
            assert not thread.is_alive()


@pytest.mark.parametrize("on_lost_store", ["open", "closed"])
def test_calls_follow_on_lost_store_while_the_store_comes_and_goes(on_lost_store: Any) -> None:
    ran: Counter[int] = Counter()
    counting = threading.Lock()

    def work(number: int) -> int:
        with counting:
            ran[number] += 1
        return number

    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    limit = RateLimit("1000000/second", store=url, on_lost_store=on_lost_store)
    once = Idempotency(store=url, on_lost_store=on_lost_store)
    lost = "succeeded" if on_lost_store == "open" else "overloaded"
    with HTTPPortal(name="shop", middleware=[limit, once]) as portal:
        address = str(portal.apply(work))
        with valkey.running(port=port) as server:
            load = Load(address)
            try:
                process = server._process
                assert process is not None
                load.await_more("succeeded")
                os.kill(process.pid, signal.SIGSTOP)
                load.await_more(lost)
                os.kill(process.pid, signal.SIGCONT)
                load.await_more("succeeded")
                if on_lost_store == "closed":
                    with counting:
                        assert max(ran.values()) == 1
                process.kill()  # and all that it remembered is gone
                process.wait(WAIT)
                load.await_more(lost)
                with valkey.running(port=port):
                    load.await_more("succeeded", 200)
                    load.close()
            finally:
                load.close()
        assert not load.wrong
        eventually(lambda: portal.stats()["listener"]["unfinished"] == 0)
        if on_lost_store == "closed":
            # Without a store no call runs; twice can only run what was between its two calls when the memory went.
            assert max(ran.values()) <= 2
            assert sum(times == 2 for times in ran.values()) <= THREADS
        else:
            assert load.overloaded == 0
