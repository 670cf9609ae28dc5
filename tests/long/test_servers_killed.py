"""Servers are reloaded, stopped, frozen and killed under constant calls: no call is executed twice or lost silently."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import pytest

from portal import Consumer, OverloadedError, PortalError, TransportError
from portal.resilience.retry import Retry, RetryBudget

ROOT = Path(__file__).parents[2]
WAIT = 60.0  # for any one thing
pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs POSIX signals")


class Made(NamedTuple):
    """One call that a client made, what was done to the server as it began and as it ended, and how it ended."""

    number: int
    name: str
    retried: bool
    phases: frozenset[str]
    error: PortalError | None
    pid: int


class Server:
    """`portal serve`, or gunicorn with two workers, always on the same port."""

    def __init__(self, kind: str, directory: Path, executions: Path) -> None:
        self.kind = kind
        self._log = directory / "server.log"
        self._environment = os.environ | {
            "EXECUTIONS": str(executions),
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests" / "support"))),
        }
        self._listening: socket.socket | None = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listening.getsockname()[1]
        self.base = f"http://127.0.0.1:{self.port}/api"
        if kind == "serve":
            self._listening.close()
            self._listening = None
        self.start()

    def start(self) -> None:
        if self._listening is None:
            where = ("--http", f"127.0.0.1:{self.port}")
            command = ["-m", "portal", "serve", "counting_service:work", "counting_service:safe", *where]
            passed: list[int] = []
        else:
            passed = [self._listening.fileno()]
            command = ["-m", "gunicorn", "-k", "portal.serving.gunicorn.Worker", "-w", "2", "--graceful-timeout", "20"]
            command += ["-b", f"fd://{passed[0]}", "counting_service:http"]
        with self._log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, *command], env=self._environment, stdout=log, stderr=log, pass_fds=passed
            )
        self.await_response()

    def await_response(self) -> None:
        end = monotonic() + WAIT
        while True:
            with suppress(PortalError), Consumer() as consumer:
                consumer.call_at(f"{self.base}/safe", {"number": 0}, timeout=WAIT)
                return
            assert self.process.poll() is None, self._log.read_text()
            assert monotonic() < end, self._log.read_text()
            threading.Event().wait(0.02)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(WAIT)

    def close(self) -> None:
        if self.process.poll() is None:
            self.end()
        if self._listening is not None:
            self._listening.close()


class Clients:
    """Threads that call all the time: functions that may be done twice and others, with retries and without."""

    def __init__(self, base: str, threads: int) -> None:
        self.made: list[Made] = []
        self.phase = "before"
        self._base = base
        self._numbers = count(1)
        self._over = threading.Event()
        self._more = threading.Condition()
        self._threads = [threading.Thread(target=self._run, args=(index,)) for index in range(threads)]
        for thread in self._threads:
            thread.start()

    def _run(self, index: int) -> None:
        name, retried = ("work", "safe")[index % 2], index % 4 >= 2
        budget = RetryBudget(1000, token_ratio=1000)
        retries = [Retry(attempts=10_000, initial_backoff=0.05, max_backoff=0.2, budget=budget)] if retried else []
        with Consumer(middleware=retries) as consumer:
            while not self._over.is_set():
                number, phase, error, pid = next(self._numbers), self.phase, None, 0
                try:
                    pid = consumer.call_at(f"{self._base}/{name}", {"number": number}, timeout=WAIT)
                except PortalError as raised:
                    error = raised
                    self._over.wait(0.005)  # most likely no server listens
                with self._more:
                    phases = frozenset({phase, self.phase})
                    self.made.append(Made(number, name, retried, phases, error, pid))
                    self._more.notify_all()

    def serve_more(self, calls: int) -> set[int]:
        """Wait until so many more calls have a response; return the processes that responded."""
        with self._more:
            begun = len(self.made)

            def found() -> list[int]:
                return [one.pid for one in self.made[begun:] if one.pid]

            assert self._more.wait_for(lambda: len(found()) >= calls, WAIT), Counter(
                repr(one.error) for one in self.made[begun:]
            )
            return set(found())

    def close(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(2 * WAIT)
            assert not thread.is_alive()


@contextmanager
def chaos(kind: str, directory: Path, threads: int) -> Iterator[tuple[Server, Clients, Callable[[], Counter[int]]]]:
    executions = directory / "counted"
    with ExitStack() as stack:
        server = Server(kind, directory, executions)
        stack.callback(server.close)
        clients = Clients(server.base, threads)
        stack.callback(clients.close)
        yield server, clients, lambda: Counter(map(int, executions.read_text().split()))


def check(made: list[Made], executed: Counter[int], gentle: frozenset[str]) -> None:
    """Check what holds for every call in spite of failing servers."""
    for one in made:
        times, error = executed[one.number], one.error
        if one.name == "work":
            assert times <= 1, one
        if error is None:
            assert times >= 1, one
            continue
        assert type(error) in (TransportError, OverloadedError), one
        if isinstance(error, OverloadedError) or not error.may_have_executed:
            assert times == 0, one
        if one.retried and one.name == "safe":
            pytest.fail(f"a call that may be repeated, by a client that does, failed: {one}")
        if one.retried and one.phases <= gentle:
            # The one that is left: bytes of a request that met the closing of a connection that had rested.
            assert isinstance(error, TransportError), one
            assert error.may_have_executed, one
            assert times == 0, one


def freeze(pid: int, seconds: float) -> None:
    os.kill(pid, signal.SIGSTOP)
    try:
        threading.Event().wait(seconds)
    finally:
        os.kill(pid, signal.SIGCONT)


SIZES = [pytest.param(8, 1, 100, 0.1, id="small"), pytest.param(16, 6, 2000, 1.0, id="long")]


@pytest.mark.parametrize(("threads", "rounds", "calls", "seconds"), SIZES)
def test_gunicorn_workers_are_killed_and_replaced(
    tmp_path: Path, threads: int, rounds: int, calls: int, seconds: float
) -> None:
    pytest.importorskip("gunicorn")

    def act(name: str, server: Server, clients: Clients, worker: int) -> None:
        if name == "reload":
            server.process.send_signal(signal.SIGHUP)
        elif name == "freeze":
            freeze(worker, seconds)
        else:
            os.kill(worker, signal.SIGTERM if name == "term" else signal.SIGKILL)

    with chaos("gunicorn", tmp_path, threads) as (server, clients, executed):
        before = clients.serve_more(calls)
        for _ in range(rounds):
            for phase in ("reload", "term", "freeze", "kill"):
                clients.phase = phase
                worker = max(before)
                act(phase, server, clients, worker)
                if phase != "freeze":
                    end = monotonic() + WAIT
                    while worker in (before := clients.serve_more(calls)):
                        assert monotonic() < end
                clients.phase = "calm"
                before = clients.serve_more(calls)
        clients.phase = "end"
        clients.close()
        assert server.end() == 0
        check(clients.made, executed(), frozenset({"before", "reload", "term", "freeze", "calm"}))
        assert all(one.error is None for one in clients.made if one.phases == {"before"})


@pytest.mark.parametrize(("threads", "rounds", "calls", "seconds"), SIZES)
def test_a_server_that_is_frozen_stopped_and_killed(
    tmp_path: Path, threads: int, rounds: int, calls: int, seconds: float
) -> None:
    with chaos("serve", tmp_path, threads) as (server, clients, executed):
        clients.serve_more(calls)
        for _ in range(rounds):
            clients.phase = "freeze"
            freeze(server.process.pid, seconds)
            clients.serve_more(calls)
            for phase, number in (("stop", signal.SIGTERM), ("kill", signal.SIGKILL)):
                clients.phase = phase
                assert server.end(number) == (0 if number == signal.SIGTERM else -signal.SIGKILL)
                server.start()
                clients.serve_more(calls)
                clients.phase = "calm"
                clients.serve_more(calls)
        clients.phase = "end"
        clients.close()
        check(clients.made, executed(), frozenset({"before", "freeze"}))


def test_running_calls_complete_when_a_worker_stops(tmp_path: Path) -> None:
    """Every connection has a call under way at the moment of the signal."""
    with chaos("serve", tmp_path, 0) as (server, _, executed):
        results: list[Any] = []
        with Consumer() as consumer:
            consumer.resolve(f"{server.base}/work")
            futures = [consumer.submit_at(f"{server.base}/work", {"number": one}, timeout=WAIT) for one in range(1, 41)]
            server.process.send_signal(signal.SIGTERM)
            for future in futures:
                try:
                    results.append(future.result(WAIT))
                except PortalError as error:
                    results.append(error)
        assert server.process.wait(WAIT) == 0
        times = executed()
        for number, result in enumerate(results, 1):
            if isinstance(result, PortalError):
                assert type(result) in (TransportError, OverloadedError)
                if isinstance(result, OverloadedError) or not result.may_have_executed:
                    assert times[number] == 0
                assert times[number] <= 1
            else:
                assert times[number] == 1
