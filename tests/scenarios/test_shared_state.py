"""Objects that threads share, under threads that are switched after almost every instruction.

Each test has a step that goes wrong if another thread comes in between: check and set, read and add, copy and change.
On a CPython without the GIL the threads run at the same time.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from portal import Address, CallContext, Consumer, LocalPortal, Service, function
from portal._internal.redis_client import StoreClient, StoreUnavailable
from portal.calls.deadlines import DeadlineWatch
from portal.calls.middleware import Call
from portal.consumer.function_cache import FunctionCache
from portal.consumer.resolvers import ResolverTable
from portal.function import Function
from portal.http11 import response_head
from portal.http11.host_patterns import AllowedHosts
from portal.metrics import CallMetrics, CallRecord, Observe
from portal.network import host_check
from portal.network.function import RemoteFunction
from portal.network.host_check import HostCheck
from portal.portal import Resolver
from portal.schema import FunctionSchema
from tests.support.clocks import Clock
from tests.support.http_messages import request_of
from tests.support.races import fast_switches, in_threads

WAIT = 30.0


@pytest.fixture(autouse=True)
def races() -> Iterator[None]:
    with fast_switches():
        yield


def add(a: float, b: float) -> float:
    return a + b


def rounds(number: int, threads: int, work: Callable[[int, int], Any]) -> list[list[Any]]:
    """Return the results of `work(round, thread)` by thread; all threads begin each round together."""
    together = threading.Barrier(threads)

    def run(thread: int) -> list[Any]:
        found = []
        for one in range(number):
            together.wait(WAIT)
            found.append(work(one, thread))
        return found

    return in_threads(threads, run)


# contexts


def test_a_context_has_one_request_id() -> None:
    roots = [CallContext() for _ in range(1000)]
    nested = [[root.child() for root in roots] for _ in range(4)]
    found = rounds(1000, 4, lambda one, thread: nested[thread][one].request_id)
    assert all(len(set(ids)) == 1 for ids in zip(*found, strict=True))


def test_a_cancelled_call_cancels_every_nested_call() -> None:
    """Nested calls begin to listen, and others end, while their outer call is cancelled."""
    outer = [CallContext() for _ in range(300)]

    def work(one: int, thread: int) -> bool:
        if thread == 0:
            outer[one].cancel()
            return True
        heard = threading.Event()
        for _ in range(5):
            outer[one].child().on_cancel(lambda: None)  # ends at once
        nested = outer[one].child().child()
        nested.on_cancel(heard.set)
        return heard.wait(WAIT)

    assert all(map(all, rounds(300, 4, work)))


# deadlines


def test_every_deadline_is_enforced() -> None:
    watch, fired, drawn = DeadlineWatch(), threading.Semaphore(0), random.Random(7)
    delays = [[drawn.random() / 50 for _ in range(400)] for _ in range(4)]

    def work(thread: int) -> list[bool]:
        kept = []
        for index, delay in enumerate(delays[thread]):
            token = watch.add(watch._clock() + delay, fired.release)
            if index % 2:
                kept.append(watch.discard(token))
        return kept

    discarded = sum(map(sum, in_threads(4, work)))
    for _ in range(4 * 400 - discarded):
        assert fired.acquire(timeout=WAIT)
    assert not fired.acquire(blocking=False)
    assert not watch._entries
    watch.close()


def test_a_deadline_before_all_others_wakes_the_thread() -> None:
    watch = DeadlineWatch()
    far = watch.add(watch._clock() + 3600.0, lambda: None)
    for _ in range(200):
        done: Future[None] = Future()
        watch.add(watch._clock() + 0.0005, lambda done=done: done.set_result(None))  # type: ignore[misc]
        done.result(WAIT)
    assert watch.discard(far)
    watch.close()


# consumers


class Meddled(ResolverTable):
    """Resolvers that change while an address is resolved: `meddle` runs once."""

    meddle: Callable[[], object] | None = None

    def resolvers_for(self, address: Address) -> Any:
        found = super().resolvers_for(address)
        meddle, self.meddle = self.meddle, None
        if meddle is not None:
            meddle()
        return found


def remote_portal(value: float) -> Resolver:
    class Remote(Resolver):
        schemes = ("far",)

        def resolve_function(self, address: Address | str) -> Function:
            return function(name="add")(lambda: value)

    return Remote()


def test_a_function_found_before_the_resolvers_changed_is_not_kept() -> None:
    with LocalPortal() as older, LocalPortal() as newer:
        for portal, value in ((older, 1.0), (newer, 2.0)):
            portal.apply(function(name="add")(lambda value=value: value))
        table = Meddled([older], make_built_in=lambda _: None)
        cache = FunctionCache(table)

        def register() -> None:
            table.register(newer)
            cache.clear()

        table.meddle = register
        first, _ = cache.find("local://add", "local://add")
        assert first.invoke({}, CallContext()) == 1.0
        assert "local://add" not in cache.local
        second, _ = cache.find("local://add", "local://add")
        assert second.invoke({}, CallContext()) == 2.0


def test_a_remote_function_found_before_the_resolvers_changed_is_not_kept() -> None:
    table = Meddled([remote_portal(1.0)], make_built_in=lambda _: None)
    cache = FunctionCache(table)

    def register() -> None:
        table.register(remote_portal(2.0))
        cache.clear()

    table.meddle = register
    first, _ = cache.find("far://x/add", "far://x/add")
    assert first.invoke({}, CallContext()) == 1.0  # as the call began
    second, _ = cache.find("far://x/add", "far://x/add")
    assert second.invoke({}, CallContext()) == 2.0


@pytest.mark.parametrize("scheme", ["far", "local"])
def test_no_function_from_before_a_change_of_the_resolvers_is_found_after_it(scheme: str) -> None:
    """Three threads look a function up again and again while another one replaces the resolver that has it."""
    portals = [LocalPortal() for _ in range(150)] if scheme == "local" else []
    for number, portal in enumerate(portals):
        portal.apply(function(name="add")(lambda number=number: float(number)))
    resolvers: list[Any] = portals or [remote_portal(float(number)) for number in range(150)]
    table = ResolverTable(resolvers[:1], make_built_in=lambda _: None)
    cache = FunctionCache(table)
    target = f"{scheme}://{'x/' if scheme == 'far' else ''}add"
    latest, over = [0], threading.Event()

    def work(thread: int) -> int:
        if thread == 0:
            for number in range(1, len(resolvers)):
                table.register(resolvers[number])
                cache.clear()
                latest[0] = number
            over.set()
            return len(resolvers)
        looks = 0
        while not over.is_set() or looks < 10:
            least = latest[0]
            found, _ = cache.find(target, target)
            assert found.invoke({}, CallContext()) >= least
            looks += 1
        return looks

    assert min(in_threads(4, work)) >= 10
    found, _ = cache.find(target, target)
    assert found.invoke({}, CallContext()) == len(resolvers) - 1
    for portal in portals:
        portal.close()


def test_a_consumer_calls_while_portals_come_and_go() -> None:
    with LocalPortal() as portal, Consumer() as consumer:
        portal.apply(add)

        def work(one: int, thread: int) -> float:
            if thread == 0:
                with LocalPortal() as other:
                    other.apply(function(name="other")(lambda: 1.0))
                return 3.0
            if thread == 1:
                consumer._functions.clear()
            found: float = consumer.call_at("local://add", {"a": 1, "b": 2})
            return found

        assert {value for values in rounds(150, 4, work) for value in values} == {3.0}


def test_resolvers_are_found_while_others_drop_them() -> None:
    made = remote_portal(1.0)
    table = ResolverTable([], make_built_in=lambda scheme: made if scheme == "far" else None)
    address = Address.parse("far://x/add")

    def work(one: int, thread: int) -> bool:
        if thread == 0:
            table.after_fork()
            return True
        return all(table.resolvers_for(address)[0] is made for _ in range(5))

    assert all(map(all, rounds(500, 3, work)))


class Deployed:
    """A server whose schema another thread has fetched anew while this thread waits for an older response."""

    timeout = None

    def __init__(self) -> None:
        self.now: Callable[[], FunctionSchema] = lambda: FunctionSchema("add", version="1")

    def describe(self, address: Address) -> FunctionSchema:
        return self.now()

    def invoke(self, *_: Any) -> Any:
        raise NotImplementedError

    iterate = invoke


def test_a_late_schema_does_not_replace_a_newer_one() -> None:
    server = Deployed()
    remote = RemoteFunction(server, Address.parse("http://h/api/add"))  # type: ignore[arg-type]
    known, newest = remote.schema, FunctionSchema("add", version="3")

    def late() -> FunctionSchema:
        remote.schema = newest
        return FunctionSchema("add", version="2")

    server.now = late
    remote._fetched_at = float("-inf")
    assert remote.has_newer_schema(known, CallContext())
    assert remote.schema is newest


# portals


def test_a_portal_that_many_threads_close_stops_once() -> None:
    class Counted(LocalPortal):
        stops = 0

        def stop(self, grace: float = 5.0) -> None:
            with lock:
                self.stops += 1
            super().stop(grace)

    lock = threading.Lock()
    portals = [Counted() for _ in range(100)]
    rounds(100, 4, lambda one, thread: portals[one].close())
    assert {portal.stops for portal in portals} == {1}


def test_a_call_while_its_service_is_removed_ends() -> None:
    portal = LocalPortal()

    class Gone(dict[str, Service]):
        """The services, of which another thread removes one just after the look-up of its function."""

        def get(self, name: str, default: Any = None) -> Any:
            found = super().get(name, default)
            self.pop(name, None)
            return found

    portal.apply_service(Service("stock", [add]))
    portal._services = Gone(portal._services)
    entry = portal.entry_for_call(Address.parse("local://stock/add"))
    assert entry.function.name == "add"
    portal.close()


# stores, logs, counts


def test_one_thread_tries_a_store_after_its_failure() -> None:
    class Client:
        def register_script(self, text: str) -> Any:
            return None

    clock = Clock()
    store = StoreClient(Client(), path="store", pause=1.0, clock=clock)
    tries = [0] * 300
    lock = threading.Lock()

    def work(one: int, thread: int) -> None:
        def fail(_: Any) -> None:
            with lock:
                tries[one] += 1
            raise ConnectionError("closed")

        with pytest.raises(StoreUnavailable):
            store.run(fail)
        if turn.wait(WAIT) == 0:
            clock.now += 1.0
        turn.wait(WAIT)

    turn = threading.Barrier(4)
    with pytest.raises(StoreUnavailable):
        store.run(lambda _: 1 / 0)
    clock.now += 1.0
    rounds(300, 4, work)
    assert set(tries) == {1}


def test_a_failing_hook_is_logged_once_by_many_threads(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()

    def fail(_: CallRecord) -> None:
        raise ValueError("wrong")

    observe = Observe(fail, clock=clock)
    made = function(add)
    rounds(200, 4, lambda one, thread: observe(Call(made, {}, CallContext()), lambda _: None))
    assert len(caplog.records) == 1


def test_a_function_counts_under_its_name_when_threads_see_it_first_together() -> None:
    metrics = [CallMetrics(max_functions=1) for _ in range(300)]
    rounds(300, 4, lambda one, thread: metrics[one](CallRecord("add", 0.1, "ok")))
    for one in metrics:
        assert {name: counts.calls for name, counts in one.snapshot().items()} == {"add": 4}


def test_counts_are_read_while_threads_count_and_end() -> None:
    metrics, done = CallMetrics(), threading.Event()

    def work(thread: int) -> None:
        if thread == 0:
            before = 0
            while not done.is_set():
                now = sum(one.calls for one in metrics.snapshot().values())
                assert now >= before
                before = now
            return
        for number in range(60):
            in_threads(2, lambda _, number=number: metrics(CallRecord(f"f{number % 7}", 0.1, f"code{number % 3}")))
        if thread == 1:
            done.set()

    in_threads(3, work)
    assert sum(one.calls for one in metrics.snapshot().values()) == 2 * 60 * 2


def test_threads_together_remember_no_more_hosts_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_check, "_MAX_KNOWN", 4)
    check, most = HostCheck(AllowedHosts(("*.example",))), [0] * 4

    def work(one: int, thread: int) -> None:
        assert check.accepts(request_of(host=f"h{one}-{thread}.example"))
        most[thread] = max(most[thread], len(check.known))

    rounds(400, 4, work)
    assert max(most) <= 4


def test_threads_together_remember_no_more_header_names_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(response_head, "_checked_names", frozenset())
    monkeypatch.setattr(response_head, "_MAX_NAMES", 5)
    rounds(300, 4, lambda one, thread: response_head.check_field(f"X-{one}-{thread}", "v"))
    assert len(response_head._checked_names) <= 5
