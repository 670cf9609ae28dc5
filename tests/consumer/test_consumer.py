from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from portal import (
    AddressError,
    CallContext,
    CallTimeout,
    Consumer,
    ConsumerError,
    FunctionError,
    HTTPPortal,
    LocalPortal,
    RegistryError,
    ValidationError,
    function,
)
from portal.calls.middleware import Call, CallNext

WAIT = 10.0


def add(a: float, b: float) -> float:
    return a + b


def fail() -> None:
    raise ValueError("no")


@pytest.fixture
def local() -> Iterator[LocalPortal]:
    with LocalPortal() as portal:
        portal.apply(add)
        portal.apply(fail)
        yield portal


def test_portals_of_this_process_are_found(local: LocalPortal) -> None:
    with Consumer() as consumer:
        assert consumer.call_at("local://add", {"a": 1, "b": 2}) == 3.0
        assert consumer.portals() == []


def test_the_newest_that_has_it_answers(local: LocalPortal) -> None:
    def only_here() -> str:
        return "here"

    with LocalPortal() as newer, Consumer() as consumer:
        newer.apply(only_here)
        assert consumer.call_at("local://only_here") == "here"
        assert consumer.call_at("local://add", {"a": 1, "b": 2}) == 3.0
    with Consumer() as consumer, pytest.raises(RegistryError):
        consumer.call_at("local://only_here")


def test_given_portals_alone(local: LocalPortal) -> None:
    with LocalPortal() as empty, Consumer([empty]) as consumer:
        with pytest.raises(RegistryError):
            consumer.call_at("local://add", {"a": 1, "b": 2})
        with pytest.raises(RegistryError, match="no portal answers"):
            consumer.call_at("http://127.0.0.1:1/api/add")
        consumer.register_portal(local)
        assert consumer.call_at("local://add", {"a": 1, "b": 2}) == 3.0
        assert consumer.portals() == [local, empty]


@pytest.mark.parametrize("address", ["add", "", "local://", "http://", "local://a b", 3])
def test_bad_addresses(address: Any) -> None:
    with Consumer() as consumer, pytest.raises(AddressError):
        consumer.call_at(address)


def test_an_unknown_scheme() -> None:
    with Consumer() as consumer, pytest.raises(RegistryError, match="gopher"):
        consumer.call_at("gopher://add")


def test_middleware(local: LocalPortal) -> None:
    seen: list[str] = []

    def note(call: Call, call_next: CallNext) -> Any:
        seen.append(f"{call.function.name} {call.address}")
        return call_next(call)

    with Consumer([local], middleware=[note]) as consumer:
        assert consumer.use(note) is consumer
        assert consumer.call_at("local://add", {"a": 1, "b": 2}) == 3.0
    assert seen == ["add local://add"] * 2


def test_map_is_lazy_bounded_and_stops(local: LocalPortal) -> None:
    taken: list[int] = []

    def params() -> Iterator[dict[str, int]]:
        n = 0
        while True:
            taken.append(n)
            yield {"a": n, "b": 0}
            n += 1

    with Consumer([local]) as consumer:
        results = consumer.map_at("local://add", params(), max_in_flight=4)
        assert taken == []
        assert [next(results) for _ in range(3)] == [0.0, 1.0, 2.0]
        assert len(taken) <= 7
        results.close()  # type: ignore[attr-defined]
        with pytest.raises(ValidationError):
            consumer.map_at("local://add", [], max_in_flight=0)
        with pytest.raises(FunctionError):
            list(consumer.map_at("local://fail", [{}, {}]))


def test_an_executor_of_ones_own(local: LocalPortal) -> None:
    with ThreadPoolExecutor(1) as pool, Consumer([local], executor=pool) as consumer:
        assert consumer.submit_at("local://add", {"a": 1, "b": 2}).result(WAIT) == 3.0


def test_notifications_tell_the_log(local: LocalPortal, caplog: pytest.LogCaptureFixture) -> None:
    logged = threading.Event()

    class Seen(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            logged.set()

    def broken(call: Call, call_next: CallNext) -> Any:
        raise KeyError("broken")

    handler, logger = Seen(), logging.getLogger("portal.consumer")
    logger.addHandler(handler)
    try:
        with Consumer([local]) as consumer:
            consumer.notify_at("local://fail")
            assert logged.wait(WAIT)
            logged.clear()
            consumer.use(broken)
            consumer.notify_at("local://add", {"a": 1, "b": 2}, timeout=5)
            assert logged.wait(WAIT)
            with pytest.raises(RegistryError):
                consumer.notify_at("local://nobody")
    finally:
        logger.removeHandler(handler)
    assert "notification of fail failed" in caplog.text


def test_closed(local: LocalPortal) -> None:
    consumer = Consumer([local])
    consumer.submit_at("local://add", {"a": 1, "b": 2}).result(WAIT)
    consumer.close()
    consumer.close()
    for use in (consumer.call_at, consumer.resolve, consumer.submit_at):
        with pytest.raises(ConsumerError, match="closed"):
            use("local://add")
    assert not local.closed


def test_a_timeout_that_has_passed(local: LocalPortal) -> None:
    with Consumer([local]) as consumer, pytest.raises(CallTimeout):
        consumer.call_at("local://add", {"a": 1, "b": 2}, timeout=-1)


def test_lists(local: LocalPortal) -> None:
    with HTTPPortal() as http, Consumer() as consumer:
        http.apply(add)
        assert consumer.list_at(str(http.base))["functions"][0]["name"] == "add"
        with pytest.raises(RegistryError):
            consumer.list_at("local://add")


def test_a_contract_that_changed_is_asked_for_again() -> None:
    with HTTPPortal() as http, Consumer() as consumer:
        address = http.apply(add)
        bare = str(http.generate_address("add"))
        assert consumer.call_at(bare, {"a": 1, "b": 2}) == 3.0
        http.remove(address)

        def add_one(a: float) -> float:
            return a + 1

        add_one.__name__ = "add"
        http.apply(add_one)
        with pytest.raises(ValidationError):
            consumer.call_at(bare, {"a": 1})
        assert consumer.call_at(bare, {"a": 1}) == 2.0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_opens_connections_of_its_own() -> None:
    with HTTPPortal() as http, Consumer() as consumer:
        address = str(http.apply(add))
        assert consumer.call_at(address, {"a": 1, "b": 2}) == 3.0
        child = os.fork()
        if child == 0:  # pragma: no cover
            code = 1
            try:
                code = 0 if consumer.call_at(address, {"a": 2, "b": 2}, timeout=WAIT) == 4.0 else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert consumer.call_at(address, {"a": 3, "b": 2}) == 5.0


def test_many_threads_share_one_consumer() -> None:
    with HTTPPortal() as http, Consumer() as consumer:
        address = http.apply(add)
        results: list[float] = []

        def work(base: int) -> None:
            results.extend(consumer.call_at(address, {"a": base, "b": n}) - base for n in range(50))

        threads = [threading.Thread(target=work, args=(n * 1000,)) for n in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(results) == sorted([float(n) for n in range(50)] * 16)


def test_what_is_kept_of_this_process_follows_every_change() -> None:
    def add(a: float, b: float) -> float:
        return a + b

    older = function(add)
    newer = function(add)
    newer.target = lambda a, b: -a - b
    with LocalPortal() as first, Consumer() as consumer:
        first.apply(older)
        resolved = consumer.resolve("local://add")
        for _ in range(3):
            assert consumer.call_at("local://add", {"a": 1, "b": 2}) == 3.0
        with LocalPortal() as second:
            second.apply(newer)
            assert consumer.call_at("local://add", {"a": 1, "b": 2}) == -3.0  # the newest portal answers
            assert resolved(a=1.0, b=2.0) == 3.0  # what was resolved stays where it was
        assert consumer.call_at("local://add", {"a": 1, "b": 2}) == 3.0
        first.remove("local://add")
        with pytest.raises(RegistryError):
            consumer.call_at("local://add", {"a": 1, "b": 2})
        with pytest.raises(RegistryError):
            resolved(a=1.0, b=2.0)
        first.apply(newer)
        assert consumer.call_at("local://add", {"a": 1, "b": 2}) == -3.0
        assert resolved(a=1.0, b=2.0) == -3.0


def test_a_straight_call_is_as_every_call() -> None:
    """The shortest way, a resolved function of this process, keeps context, counters and errors."""
    seen: list[CallContext | None] = []

    def probe(n: int) -> int:
        seen.append(CallContext.current())
        if n < 0:
            raise ValueError("negative")
        return n if n else None  # type: ignore[return-value]

    with LocalPortal() as portal, Consumer() as consumer:
        resolved = consumer.resolve(portal.apply(probe))
        assert resolved(n=5) == 5
        with pytest.raises(FunctionError, match="negative") as caught:
            resolved(n=-1)
        assert (caught.value.executed, caught.value.private) == (True, True)
        assert caught.value.request_id == seen[1].request_id  # type: ignore[union-attr]
        assert isinstance(caught.value.__cause__, ValueError)
        with pytest.raises(FunctionError, match="does not fit") as wrong:
            resolved(n=0)
        assert wrong.value.request_id
        with pytest.raises(ValidationError):
            resolved(n="5")
        assert seen[0] is not None
        assert seen[0] is not seen[1]
        assert CallContext.current() is None
        assert portal.stats() == {"functions": 1, "calls": 3, "failed": 2, "running": 0}
        outer = CallContext(request_id="outer")
        with outer.active():
            assert resolved(n=6) == 6
        assert seen[-1] is not None
        assert seen[-1].request_id == "outer"


@pytest.mark.parametrize("step", ["_remote", "_workers"])
def test_closed_by_another_thread_in_the_middle_of_a_call(step: str) -> None:
    consumer = Consumer()
    lock = consumer._lock

    class Late:
        """Stands for the lock, which another thread gives back only after it has closed the consumer."""

        def __enter__(self) -> None:
            consumer._lock = lock
            consumer.close()
            lock.acquire()

        def __exit__(self, *exc: object) -> None:
            lock.release()

    consumer._lock = Late()  # type: ignore[assignment]
    with pytest.raises(ConsumerError):
        getattr(consumer, step)(*(["http"] if step == "_remote" else []))
    assert consumer.portals() == []
    assert consumer._own_pool is None


def test_threads_that_call_when_the_consumer_is_closed() -> None:
    with HTTPPortal() as http:
        address = str(http.apply(add))
        consumer, called, wrong = Consumer(), threading.Semaphore(0), []

        def call() -> None:
            try:
                for number in range(1_000_000):
                    assert consumer.call_at(address, {"a": number, "b": 1}) == number + 1
                    called.release()
            except ConsumerError:
                return
            except BaseException as error:
                wrong.append(error)

        threads = [threading.Thread(target=call) for _ in range(8)]
        for thread in threads:
            thread.start()
        for _ in range(200):
            assert called.acquire(timeout=WAIT)
        consumer.close()
        for thread in threads:
            thread.join(WAIT)
            assert not thread.is_alive()
        assert not wrong
        assert consumer.portals() == []
