"""A server of known capacity under twice its load, over sockets: its adaptive limit keeps it useful.

Time is counted in ticks. A tick comes when every caller waits: for its call, which needs a slot of the resource for
some ticks, or after a rejection. So the figures do not depend on the speed of the machine.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

import pytest

from portal import AdaptiveLimit, Consumer, HTTPPortal, OverloadedError, ServingConfig, function

WAIT = 600.0
SLOTS, WORK = 4, 4  # calls at a time, and the ticks that each takes
TICK = 0.1  # seconds on the clock of the limit
PAUSE = 2  # ticks for which a caller waits after a rejection
CALLERS = 16


class _Waiting:
    def __init__(self, until: int, arrived: int) -> None:
        self.until = until  # the tick at which it ends; 0 while it waits for a slot
        self.arrived = arrived
        self.over = threading.Event()


class Resource:
    """What the function needs, and the clock of the test.

    Threads: any; one thread calls `run`.
    """

    def __init__(self) -> None:
        self.now = 0
        self.stopped = False
        self.latencies: list[int] = []
        self._changed = threading.Condition()
        self._callers = 0
        self._queue: deque[_Waiting] = deque()
        self._running: list[_Waiting] = []
        self._pausing: list[_Waiting] = []

    def use(self) -> None:
        """Hold a slot for WORK ticks, after the calls that came before."""
        one = _Waiting(0, self.now)
        with self._changed:
            self._queue.append(one)
            self._fill()
            self._changed.notify()
        assert one.over.wait(WAIT)

    def pause(self) -> None:
        """Wait for PAUSE ticks."""
        one = _Waiting(self.now + PAUSE, self.now)
        with self._changed:
            self._pausing.append(one)
            self._changed.notify()
        assert one.over.wait(WAIT)

    def enter(self, change: int = 1) -> None:
        """Count a caller that begins, or with -1 one that ends."""
        with self._changed:
            self._callers += change
            self._changed.notify()

    def _fill(self) -> None:
        while self._queue and len(self._running) < SLOTS:
            one = self._queue.popleft()
            one.until = self.now + WORK
            self._running.append(one)

    def _all_wait(self) -> bool:
        return len(self._queue) + len(self._running) + len(self._pausing) == self._callers

    def run(self, ticks: int) -> list[int]:
        """Let time pass, or all callers end once `stopped` is set. Return the ticks that each call took."""
        self.latencies = []
        end = self.now + ticks
        while self.now < end or (self.stopped and self._callers):
            with self._changed:
                assert self._changed.wait_for(self._all_wait, WAIT)
                self.now += 1
                ended = [one for one in self._running if one.until <= self.now]
                self.latencies += [self.now - one.arrived for one in ended]
                ended += [one for one in self._pausing if one.until <= self.now]
                for group in (self._running, self._pausing):
                    group[:] = [one for one in group if one.until > self.now]
                self._fill()
                for one in ended:
                    one.over.set()
        return self.latencies


class Callers:
    """Threads that call again and again.

    Attributes:
        rejected: how many calls the server has rejected.
    """

    def __init__(self, count: int, resource: Resource, consumer: Consumer, address: Any) -> None:
        self.rejected = 0
        self.failures: list[BaseException] = []
        self._resource, self._consumer, self._address = resource, consumer, address
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(count)]
        for thread in self._threads:
            resource.enter()
            thread.start()

    def _run(self) -> None:
        try:
            while not self._resource.stopped:
                try:
                    self._consumer.call_at(self._address, timeout=WAIT)
                except OverloadedError:
                    with self._lock:
                        self.rejected += 1
                    self._resource.pause()
        except BaseException as error:
            self.failures.append(error)
        finally:
            self._resource.enter(-1)

    def stop(self) -> None:
        self._resource.stopped = True
        self._resource.run(0)
        for thread in self._threads:
            thread.join(WAIT)
        assert self.failures == []
        self._resource.stopped = False


@pytest.mark.parametrize(("warm", "ticks"), [pytest.param(300, 500, id="small"), pytest.param(600, 5_000, id="long")])
def test_an_overloaded_server_keeps_its_throughput(warm: int, ticks: int) -> None:
    resource = Resource()

    @function
    def work() -> None:
        resource.use()

    limit = AdaptiveLimit(queue=1, clock=lambda: resource.now * TICK)
    config = ServingConfig(workers=2 * CALLERS)
    with HTTPPortal(middleware=[limit], config=config) as portal, Consumer() as consumer:
        address = portal.apply(work)
        few = Callers(SLOTS // 2, resource, consumer, address)
        quiet = sorted(resource.run(warm))
        few.stop()
        assert few.rejected == 0
        many = Callers(CALLERS, resource, consumer, address)
        resource.run(warm)  # the limit finds its value
        before = many.rejected
        busy = sorted(resource.run(ticks))
        rejected = many.rejected - before
        many.stop()
        stats = limit.stats()[""]
    capacity = ticks * SLOTS / WORK
    p99 = [found[int(0.99 * (len(found) - 1))] for found in (quiet, busy)]
    print(
        f"\n{len(busy)} of {capacity:.0f} calls, {rejected} rejected, p99 {p99[0]} -> {p99[1]} ticks, "
        f"limit {stats['limit']:.0f}"
    )
    assert len(busy) + rejected >= 2 * capacity, "it is overloaded"
    assert len(busy) >= 0.9 * capacity
    assert p99[1] < 3 * p99[0], p99
    assert stats["running"] == 0
