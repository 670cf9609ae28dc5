"""Child processes that are forked during calls: no lock is held, and no thread of the parent is waited for."""

from __future__ import annotations

import multiprocessing
import os
import pathlib
import threading
from collections.abc import Callable
from contextlib import ExitStack
from time import monotonic

import pytest
import trustme

from portal import CallContext, Certificate, Consumer, HTTPPortal, LocalPortal, ServingConfig, TLSConfig
from portal._internal import at_fork as forks
from portal._internal.executor import WorkerPool
from portal.calls.middleware import Call
from portal.calls.singleflight import SingleFlight
from portal.function import function
from portal.http.client.client import HTTPClient
from portal.idempotency.middleware import Idempotency
from portal.network.tls import ClientTLS
from portal.resilience.breaker import Breaker
from portal.resilience.retry import Retry
from tests.support.raising import failing_log_handler

WAIT = 20.0
pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # these tests fork a process with threads
]


def in_child(work: Callable[[], object]) -> None:
    """Run `work` in a forked child, which must succeed in time."""
    child = os.fork()
    if child == 0:  # pragma: no cover
        code = 1
        try:
            threading.Timer(WAIT, os._exit, [3]).start()
            work()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def double(number: int) -> int:
    return 2 * number


def call_all(consumer: Consumer, addresses: list[str]) -> None:
    for address in addresses:
        assert consumer.call_at(address, {"number": 2}, timeout=WAIT) == 4
        assert consumer.submit_at(address, {"number": 3}).result(WAIT) == 6
    context = CallContext(deadline=monotonic() + WAIT)
    woken = threading.Event()
    context.on_cancel(woken.set)
    context.cancel()
    assert woken.is_set()


def test_a_lock_that_another_thread_holds_is_free_in_the_child() -> None:
    held, done = threading.Event(), threading.Event()
    with LocalPortal() as local, HTTPPortal() as http, Consumer(middleware=[Retry(), Breaker()]) as consumer:
        addresses = [str(local.apply(double)), str(http.apply(double))]
        call_all(consumer, addresses)

        def hold() -> None:
            with ExitStack() as stack:
                for lock in list(forks._locks):
                    stack.enter_context(lock)
                held.set()
                done.wait(WAIT)

        holder = threading.Thread(target=hold)
        holder.start()
        assert held.wait(WAIT)
        # Functions that the parent serves would need its locks, so the child publishes its own.
        child = os.fork()
        if child == 0:  # pragma: no cover
            code = 1
            try:
                threading.Timer(WAIT, os._exit, [3]).start()
                with HTTPPortal() as own:
                    call_all(consumer, [addresses[0], str(own.apply(double))])
                code = 0
            finally:
                os._exit(code)
        status = os.waitpid(child, 0)[1]
        done.set()
        holder.join(WAIT)
        assert os.waitstatus_to_exitcode(status) == 0
        call_all(consumer, addresses)


class Renewed:
    """An object that notes that it was renewed, and then may raise."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error
        self.renewed = 0

    def after_fork(self) -> None:
        self.renewed += 1
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize("error", [RuntimeError("scripted"), MemoryError(), SystemExit(3), KeyboardInterrupt()])
def test_the_others_are_renewed_after_one_that_raises(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = [Renewed(error if number % 2 else None) for number in range(6)]
    monkeypatch.setattr(forks, "_renewed", made)  # only these, in this order
    in_child(lambda: check_renewed(made, caplog, type(error).__name__))
    assert [one.renewed for one in made] == [0] * 6


def check_renewed(made: list[Renewed], caplog: pytest.LogCaptureFixture, error: str) -> None:
    """Check in the child that every object was renewed, and that the log names each that failed."""
    assert [one.renewed for one in made] == [1] * 6
    found = [one for one in caplog.records if "Renewed" in one.getMessage()]
    assert len(found) == 3
    assert [one.exc_info and one.exc_info[0] and one.exc_info[0].__name__ for one in found] == [error] * 3
    with forks.new_lock():  # the child goes on
        pass


def test_a_log_handler_that_raises_ends_no_renewal(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [Renewed(ValueError("scripted")), Renewed(ValueError("scripted")), Renewed(None)]
    monkeypatch.setattr(forks, "_renewed", made)
    with failing_log_handler():
        in_child(lambda: require([one.renewed for one in made] == [1, 1, 1]))


def require(condition: bool) -> None:
    assert condition


def test_many_threads_of_the_child_start_at_once() -> None:
    """The first calls after a fork must not find objects that are only partly renewed."""
    with LocalPortal() as local, HTTPPortal() as http, Consumer() as consumer:
        addresses = [str(local.apply(double)), str(http.apply(double))]
        call_all(consumer, addresses)

        def storm() -> None:
            start, failed = threading.Barrier(8), []

            def one() -> None:
                start.wait(WAIT)
                try:
                    call_all(consumer, addresses)
                except BaseException as error:
                    failed.append(error)
                    raise

            threads = [threading.Thread(target=one) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(WAIT)
            assert not failed

        in_child(storm)


def test_a_waiting_job_of_the_parent_does_not_run_in_the_child() -> None:
    pool, gate = WorkerPool(1, 8), threading.Event()
    entered = threading.Event()
    ran: list[int] = []

    def hold() -> None:
        entered.set()
        gate.wait(WAIT)

    pool.submit(hold)
    assert entered.wait(WAIT)
    waiting = pool.submit(ran.append, os.getpid())

    def work() -> None:
        assert pool.stats() == {"threads": 0, "waiting": 0, "unfinished": 0}
        assert pool.submit(double, 4).result(WAIT) == 8
        assert not ran

    in_child(work)
    gate.set()
    waiting.result(WAIT)
    assert ran == [os.getpid()]
    pool.shutdown(timeout=WAIT)


def test_a_child_does_not_wait_for_a_flight_of_its_parent() -> None:
    flights: SingleFlight[str] = SingleFlight()
    inside, leave = threading.Event(), threading.Event()

    def slow() -> str:
        inside.set()
        assert leave.wait(WAIT)
        return "from the parent"

    def child() -> None:
        for key in ("shared", "other"):
            assert flights.run(key, CallContext.for_call(WAIT), "f", lambda: "from the child") == "from the child"

    leader = threading.Thread(target=flights.run, args=("shared", CallContext.for_call(WAIT), "f", slow))
    leader.start()
    try:
        assert inside.wait(WAIT)
        in_child(child)
    finally:
        leave.set()
        leader.join(WAIT)
    assert len(flights) == 0


def test_a_child_does_not_use_the_tls_connection_of_its_parent(tmp_path: pathlib.Path) -> None:
    authority = trustme.CA()
    pem, ca = tmp_path / "server.pem", tmp_path / "ca.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(pem))
    authority.cert_pem.write_to_path(str(ca))
    config = ServingConfig(tls=TLSConfig(Certificate(str(pem))))
    caller = HTTPPortal(http=HTTPClient(tls=ClientTLS(ca=str(ca))))
    with HTTPPortal(config=config) as http, caller, Consumer([caller]) as consumer:
        address = str(http.apply(double))
        for number in range(3):
            assert consumer.call_at(address, {"number": number}, timeout=WAIT) == 2 * number
            before = http.listener.stats()["accepted"]

            def call(number: int = number) -> None:
                assert consumer.call_at(address, {"number": -number}, timeout=WAIT) == -2 * number

            in_child(call)
            assert http.listener.stats()["accepted"] > before
            assert consumer.call_at(address, {"number": number}, timeout=WAIT) == 2 * number


def _call_from_new_consumer(address: str) -> int:
    with Consumer() as consumer:
        return int(consumer.call_at(address, {"number": 21}, timeout=WAIT))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_process_of_a_pool_can_call(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(pathlib.Path(__file__).parents[2])
    monkeypatch.syspath_prepend(root)
    with HTTPPortal() as http:
        address = str(http.apply(double))
        assert _call_from_new_consumer(address) == 42
        code = f"from portal import Consumer\nwith Consumer() as c: print(c.call_at({address!r}, {{'number': 21}}))"
        process = multiprocessing.get_context(method).Process(target=exec, args=(code, {}))
        process.start()
        process.join(WAIT)
        assert process.exitcode == 0


def test_a_child_does_not_wait_for_a_call_of_its_parent_with_the_same_idempotency_key() -> None:
    once = Idempotency(wait=WAIT / 4)
    inside, leave = threading.Event(), threading.Event()

    def call_with(key: str) -> Call:
        return Call(function(double), {"number": 2}, CallContext(idempotency_key=key))

    def slow(_: Call) -> str:
        inside.set()
        assert leave.wait(WAIT)
        return "from the parent"

    def child() -> None:
        assert once(call_with("shared"), lambda _: "from the child") == "from the child"
        assert once(call_with("shared"), lambda _: "again") == "from the child"

    parent_call = threading.Thread(target=lambda: once(call_with("shared"), slow))
    parent_call.start()
    try:
        assert inside.wait(WAIT)
        in_child(child)
    finally:
        leave.set()
        parent_call.join(WAIT)
    assert once(call_with("shared"), lambda _: "again") == "from the parent"


def test_a_call_that_forks_releases_its_idempotency_key_in_both_processes() -> None:
    once = Idempotency()

    def call() -> Call:
        return Call(function(double), {"number": 2}, CallContext(idempotency_key="key"))

    def fork_during_call(_: Call) -> int:
        forked.append(os.fork())
        return forked[-1]

    forked: list[int] = []
    result = once(call(), fork_during_call)
    code = 0 if once(call(), lambda _: -1) == result == forked[0] else 1
    if forked[0] == 0:  # pragma: no cover
        os._exit(code)
    assert code == 0
    assert os.waitstatus_to_exitcode(os.waitpid(forked[0], 0)[1]) == 0
