"""Items of a subscription that go to a callback."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

import pytest

from portal import Address
from portal.errors import OverloadedError, TransportError, ValidationError
from portal.websocket import Event, Gap, Subscription
from portal.websocket.client.delivery import deliver
from portal.websocket.events import EventReceived, GapReceived

WAIT = 20.0
TOPIC = Address.parse("ws://h/ws/ticks")


class Calls:
    """A callback that notes what it gets."""

    def __init__(self, until: int) -> None:
        self.got: list[Any] = []
        self.done = threading.Event()
        self.until = until

    def __call__(self, item: Any) -> None:
        self.got.append(item.data if isinstance(item, Event) else item)
        if len(self.got) == self.until:
            self.done.set()
        if item == Gap(1, "dropped"):
            raise RuntimeError("scripted")


def put(subscription: Subscription[Any], *offsets: int) -> None:
    for offset in offsets:
        subscription.on_event(EventReceived("s", "e", offset, offset, None), 1)


def test_items_come_in_order_whatever_the_callback_raises(caplog: pytest.LogCaptureFixture) -> None:
    subscription, calls = Subscription[Any](TOPIC), Calls(301)
    put(subscription, *range(1, 101))
    with ThreadPoolExecutor(4) as threads:
        deliver(subscription, calls, threads)
        subscription.on_gap(GapReceived("s", 1, "dropped", None, None))
        put(subscription, *range(101, 301))
        assert calls.done.wait(WAIT)
    assert calls.got == [*range(1, 101), Gap(1, "dropped"), *range(101, 301)]
    assert "the callback of a subscription failed" in caplog.text


def test_data_that_does_not_fit_is_logged_and_the_next_event_follows(caplog: pytest.LogCaptureFixture) -> None:
    def load(data: Any) -> Any:
        if data == 2:
            raise ValidationError("no")
        return data

    subscription, calls = Subscription[Any](TOPIC, load=load), Calls(2)
    with ThreadPoolExecutor(1) as threads:
        deliver(subscription, calls, threads)
        put(subscription, 1, 2, 3)
        assert calls.done.wait(WAIT)
    assert calls.got == [1, 3]
    assert "does not fit returns=" in caplog.text


@pytest.mark.parametrize("error", [None, TransportError("gone")])
def test_the_end_is_the_end(error: TransportError | None, caplog: pytest.LogCaptureFixture) -> None:
    subscription, calls = Subscription[Any](TOPIC), Calls(1)
    with ThreadPoolExecutor(1) as threads:
        deliver(subscription, calls, threads)
        put(subscription, 1)
        subscription.on_end(error)
    assert calls.got == [1]
    assert subscription.error is error
    assert ("has ended" in caplog.text) is (error is not None)


class Full(Executor):
    """Rejects the first job."""

    def __init__(self) -> None:
        self.jobs: list[Callable[[], Any]] = []
        self.full = True

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self.full:
            self.full = False
            raise OverloadedError("full")
        self.jobs.append(fn)
        return Future()


def test_without_a_thread_the_next_item_tries_again() -> None:
    subscription, calls, threads = Subscription[Any](TOPIC), Calls(2), Full()
    deliver(subscription, calls, threads)
    put(subscription, 1)
    assert threads.jobs == []
    put(subscription, 2)
    threads.jobs.pop()()
    assert calls.got == [1, 2]


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("injected"), SystemExit(1)])
def test_a_job_that_was_not_begun_keeps_no_later_item(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(ThreadPoolExecutor):
        broken = True

        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            if not self.broken:
                return super().submit(fn, *args, **kwargs)
            self.broken = False
            future: Future[Any] = Future()
            future.set_exception(error)
            return future

    subscription, calls = Subscription[Any](TOPIC), Calls(2)
    with Broken(1) as threads:
        deliver(subscription, calls, threads)
        put(subscription, 1)
        put(subscription, 2)
        assert calls.done.wait(WAIT)
    assert calls.got == [1, 2]
    assert "no thread for the callback" in caplog.text
