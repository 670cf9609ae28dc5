"""Four servers are killed, stopped, frozen, slowed and restarted under constant calls of their group."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from time import monotonic

import pytest

from portal import Balancing, Breaker, Consumer, Policy, PortalError, Retry, RetryBudget

ROOT = Path(__file__).parents[2]
WAIT = 120.0  # for any one thing
pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs POSIX signals")


class Server:
    """A process that serves `counting_service`, always on the same port."""

    def __init__(self, directory: Path) -> None:
        self._log = directory / "servers.log"
        self._environment = os.environ | {
            "EXECUTIONS": str(directory / "executions"),
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests" / "support"))),
        }
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.port = listening.getsockname()[1]
        self.base = f"http://127.0.0.1:{self.port}/api"

    def start(self) -> None:
        command = ["-m", "portal", "serve", "counting_service:work", "counting_service:safe"]
        with self._log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, *command, "--http", f"127.0.0.1:{self.port}"],
                env=self._environment,
                stdout=log,
                stderr=log,
            )

    def end(self, number: int) -> None:
        self.process.send_signal(number)
        self.process.wait(WAIT)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(WAIT)


class Callers:
    """Threads that call `safe`, which is idempotent, and `work`, which is not."""

    def __init__(self, servers: list[Server], threads: int, policy: Policy) -> None:
        self.made = 0
        self.slowest = 0.0
        self.failed: Counter[str] = Counter()
        self.lost: list[PortalError] = []  # idempotent calls without a result
        self.errors: list[BaseException] = []
        self._targets = {name: [f"{one.base}/{name}" for one in servers] for name in ("safe", "work")}
        self._numbers = count(1)
        self._over = threading.Event()
        self._changed = threading.Condition()
        self.consumer = Consumer(policy=policy)
        self._threads = [threading.Thread(target=self._run, args=(index,)) for index in range(threads)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def _run(self, index: int) -> None:
        try:
            while not self._over.is_set():
                self._call("safe" if index % 2 else "work")
        except BaseException as error:
            self.errors.append(error)

    def _call(self, name: str) -> None:
        number = next(self._numbers) if name == "safe" else -next(self._numbers)
        raised: PortalError | None = None
        started = monotonic()
        try:
            self.consumer.call(self._targets[name], {"number": number})
        except PortalError as error:
            raised = error
        seconds = monotonic() - started
        with self._changed:
            self.made += 1
            self.slowest = max(self.slowest, seconds)
            if raised is not None:
                self.failed[f"{name}: {type(raised).__name__}"] += 1
                if name == "safe":
                    self.lost.append(raised)
            self._changed.notify_all()

    def make(self, calls: int) -> None:
        """Wait until so many more calls have ended."""
        with self._changed:
            goal = self.made + calls
            assert self._changed.wait_for(lambda: self.made >= goal or self.errors, WAIT), self.failed
        assert self.errors == []

    def close(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(WAIT)
            assert not thread.is_alive()
        self.consumer.close()


@contextmanager
def frozen(server: Server) -> Iterator[None]:
    server.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.process.send_signal(signal.SIGCONT)


def disturb(action: str, server: Server, callers: Callers, calls: int) -> None:
    """Disturb a server while so many calls are made, and let it serve again."""
    if action in ("kill", "stop"):
        server.end(signal.SIGKILL if action == "kill" else signal.SIGTERM)
        callers.make(calls)
        server.start()
    elif action == "freeze":
        with frozen(server):
            callers.make(calls)
    else:  # slow: it runs only some of the time
        for _ in range(4):
            with frozen(server):
                callers.make(max(1, calls // 8))
            callers.make(max(1, calls // 8))


@pytest.mark.parametrize(
    ("threads", "calls", "rounds", "timeout", "margin"),
    # The small version allows for a machine that is busy with other things.
    [pytest.param(8, 400, 4, 60.0, 30.0, id="small"), pytest.param(16, 50_000, 40, 5.0, 0.1, id="long")],
)
def test_no_idempotent_call_is_lost_and_no_other_runs_twice(
    tmp_path: Path, threads: int, calls: int, rounds: int, timeout: float, margin: float
) -> None:
    budget = RetryBudget(1000, token_ratio=100)
    balancing = Balancing(picker="peak_ewma", attempt_timeout=timeout / 10, budget=budget)
    breaker = Breaker(failures=3, open_duration=1.0)
    policy = Policy(timeout=timeout, retry=Retry(attempts=20, budget=budget), breaker=breaker, balance=balancing)
    servers = [Server(tmp_path) for _ in range(4)]
    callers = Callers(servers, threads, policy)
    chance = random.Random(16)
    try:
        for server in servers:
            server.start()
        for server in servers:
            wait_until_served(server)
        callers.start()
        callers.make(threads)
        actions = ["kill", "stop", "freeze", "slow"] * (rounds // 4)
        for action in actions:
            disturb(action, chance.choice(servers), callers, calls // rounds)
        callers.make(threads)
    finally:
        callers.close()
        for server in servers:
            server.close()
    executed = Counter((tmp_path / "executions").read_text().split())
    print(
        f"\n{callers.made} calls, {sum(callers.failed.values())} without a result ({dict(callers.failed)}), "
        f"the slowest took {callers.slowest:.2f} s of {timeout:g}"
    )
    assert callers.lost == []
    assert callers.slowest < timeout + margin
    assert len(executed) > calls / 2
    # The numbers of `work` are negative.
    assert [number for number, times in executed.items() if times > 1 and number.startswith("-")] == []


def wait_until_served(server: Server) -> None:
    end = monotonic() + WAIT
    with Consumer() as consumer:
        while True:
            try:
                consumer.call_at(f"{server.base}/safe", {"number": 0}, timeout=WAIT)
                return
            except PortalError:
                assert monotonic() < end
                assert server.process.poll() is None
                threading.Event().wait(0.05)
