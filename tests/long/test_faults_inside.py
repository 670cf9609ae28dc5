"""A server goes on although exceptions hit its own functions, threads and files, one after the other, by seed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count, pairwise
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import pytest

from portal import Consumer, OverloadedError, PortalError
from portal.errors import CallTimeout, ProtocolError
from tests.support import valkey
from tests.support.command import first_address, serving
from tests.support.ports import free_port
from tests.support.stalls import Interval, Stalls, overlap

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WAIT = 60.0
LOST = 12.0  # seconds after which a call without a response is lost
SILENT = 1.0  # seconds without any result after which the log must say that the server is not ready
WORKERS = 8  # of the module


class Made(NamedTuple):
    """One call: its number, what was called, with a key or not, how it ended, and when."""

    number: int
    name: str
    keyed: bool
    error: PortalError | None
    ended: float


class FaultyServer:
    """`portal serve` or gunicorn with one worker, with faults inside."""

    def __init__(self, kind: str, directory: Path, store: str, seed: int) -> None:
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}/api"
        self.executions, self.log = directory / "executions", directory / "server.log"
        settings = {"seed": seed, "port": self.port, "store": store, "log": str(directory / "requests.log")}
        environment = os.environ | {
            "EXECUTIONS": str(self.executions),
            "FAULTS": json.dumps(settings),
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(HERE))),
        }
        if kind == "serve":
            command = ["-m", "portal", "serve", "faulty_module:http"]
        else:
            command = ["-m", "gunicorn", "-k", "portal.serving.gunicorn.Worker", "-w", "1", "faulty_module:http"]
            command += ["-b", f"127.0.0.1:{self.port}", "--graceful-timeout", "5"]
        with self.log.open("a") as log:
            self.process = subprocess.Popen([sys.executable, *command], env=environment, stdout=log, stderr=log)
        self.call("state")

    def call(self, name: str, params: dict[str, Any] | None = None) -> Any:
        """Call a function, until that succeeds."""
        end = monotonic() + WAIT
        while True:
            with suppress(PortalError), Consumer() as consumer:
                return consumer.call_at(f"{self.base}/{name}", params, timeout=LOST)
            assert self.process.poll() is None, self.log.read_text()[-5000:]
            assert monotonic() < end, self.log.read_text()[-5000:]
            threading.Event().wait(0.02)

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Clients:
    """Threads that call until they are told to stop."""

    def __init__(self, base: str, threads: int) -> None:
        self.made: list[Made] = []
        self._base = base
        self._numbers = count(1)
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(index,)) for index in range(threads)]
        for thread in self._threads:
            thread.start()

    def _run(self, index: int) -> None:
        with Consumer() as consumer:
            while not self._over.is_set():
                number = next(self._numbers)
                if number % 10 == 9:
                    self._stream(consumer, number)
                else:
                    self._call(consumer, number, ("work", "slow")[number % 5 == 4], keyed=number % 2 == 1)

    def _call(self, consumer: Consumer, number: int, name: str, *, keyed: bool) -> None:
        timeout = 0.02 if name == "slow" and number % 3 == 0 else LOST
        for _ in range(8 if keyed else 1):
            key = f"{self._base}-{number}".replace("/", "-") if keyed else None
            error: PortalError | None = None
            try:
                consumer.call_at(f"{self._base}/{name}", {"number": number}, timeout=timeout, idempotency_key=key)
            except PortalError as raised:
                error = raised
            own = timeout < LOST and isinstance(error, CallTimeout)
            self.made.append(Made(number, name, keyed, None if own else error, monotonic()))
            if error is None or isinstance(error, ProtocolError):
                return
            self._over.wait(0.01)

    def _stream(self, consumer: Consumer, number: int) -> None:
        error: PortalError | None = None
        try:
            found = list(consumer.stream_at(f"{self._base}/items", {"number": number}, timeout=LOST))
            assert found == list(range(number, number + 20))
        except PortalError as raised:
            error = raised
        self.made.append(Made(number, "items", False, error, monotonic()))

    def close(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(2 * WAIT)
            assert not thread.is_alive()


class Reports:
    """Notes when the log of a server says that it is not ready."""

    def __init__(self, log: Path) -> None:
        self.moments: list[float] = []
        self._log = log
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def _follow(self) -> None:
        with self._log.open("rb") as file:
            known = 0
            text = b""
            while not self._over.wait(0.01):
                text += file.read()
                if (found := text.count(b"not ready")) > known:
                    known = found
                    self.moments.append(monotonic())

    def close(self) -> None:
        self._over.set()
        self._thread.join()


def silences(made: list[Made], stalls: list[Interval]) -> list[tuple[float, float, float]]:
    """Return when there were no results, and for how long without the time for which a process stood still."""
    ended = sorted(one.ended for one in made if one.error is None)
    return [(one, other, other - one - overlap(stalls, one, other)) for one, other in pairwise(ended)]


def check_silences(found: list[tuple[float, float, float]], reports: list[float], order: list[Any]) -> None:
    """Check that the server has said that it is not ready within a second, or went on."""
    for begun, ended, seconds in found:
        if seconds > SILENT:
            until = begun + SILENT + (ended - begun - seconds)
            near = [f"  {row[0] - begun:+.3f} s: {row[1:]}" for row in order if begun - 1.0 < row[0] < ended]
            said = [round(moment - begun, 3) for moment in reports]
            assert any(begun - SILENT < moment < until for moment in reports), "\n".join(
                [f"{seconds:.2f} s without a result; not ready at {said}", *near]
            )


def describe(lost: list[Made], order: list[Any]) -> str:
    """Return the faults around each lost call."""
    lines = []
    for one in lost:
        begun = one.ended - LOST
        lines.append(f"{one.name} {one.number}:")
        lines += [f"  {row[0] - begun:+.3f} s: {row[1:]}" for row in order if -1.5 < row[0] - begun < 0.3]
    return "\n".join(lines)


def was_lost(one: Made, stalls: list[Interval]) -> bool:
    """Return whether no response to a call came, although the processes ran for most of the time."""
    return isinstance(one.error, CallTimeout) and overlap(stalls, one.ended - LOST, one.ended) < LOST / 2


def check(made: list[Made], executed: Counter[int], order: list[Any], stalls: list[Interval]) -> None:
    """Check every call: none is lost, and none runs twice."""
    lost = [one for one in made if was_lost(one, stalls)]
    assert lost == [], describe(lost, order)
    twice = {number for number, times in executed.items() if times > 1}
    assert twice == set()
    for one in made:
        if one.error is None and one.name == "work":
            assert executed[one.number] == 1, one
        if isinstance(one.error, OverloadedError) and not one.keyed:
            assert executed[one.number] == 0, one


def settled(server: FaultyServer, is_settled: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return the state of the server once it is settled, or the last one."""
    end = monotonic() + 10
    while True:
        found: dict[str, Any] = server.call("state")
        if is_settled(found) or monotonic() > end:
            return found
        threading.Event().wait(0.1)


def claims(state: dict[str, Any]) -> dict[str, int]:
    """Return what is claimed beyond the call that asks."""
    listener = state["listener"]
    return {
        "connections": listener["connections"] - 1,
        "active": listener["active"] - 1,
        "running": state["running"] - 1,
        "unfinished": max(0, listener["unfinished"] - 1),
        "keys": state["middleware"]["idempotency_keys"],
        **{name: listener[name] for name in ("handshakes", "streams", "output_buffered", "input_buffered")},
    }


SIZES = [pytest.param(4, 3.0, id="small"), pytest.param(6, 60.0, id="long")]


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    with valkey.running() as server:
        yield str(server.connection_url)


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Callable[[], object]]:
    """A call of another server, without faults: while it takes long, the machine is busy with other things."""
    folder = tmp_path / "control"
    folder.mkdir()
    (folder / "controls.py").write_text("def control() -> bool:\n    return True\n")
    with serving(folder, "controls:control", "--http", "127.0.0.1:0", "--json") as process:
        address = first_address(process)
        with Consumer() as consumer:
            yield lambda: consumer.call_at(address, timeout=10 * WAIT)


@pytest.mark.skipif(not hasattr(signal, "SIGTERM") or sys.platform != "linux", reason="the faults are in epoll, too")
@pytest.mark.parametrize("kind", ["serve", "gunicorn"])
@pytest.mark.parametrize(("threads", "seconds"), SIZES)
def test_a_server_goes_on_with_faults_inside(
    tmp_path: Path, store: str, control: Callable[[], object], kind: str, threads: int, seconds: float
) -> None:
    if kind == "gunicorn":
        pytest.importorskip("gunicorn")
    seed = int(os.environ.get("PORTAL_FAULT_SEED", "7"))
    server = FaultyServer(kind, tmp_path, store, seed)
    try:
        pid = server.call("begin", {"seconds": seconds})
        reports, stalls = Reports(server.log), Stalls(control)
        clients = Clients(server.base, threads)
        threading.Event().wait(seconds)
        clients.close()
        reports.close()
        stalls.close()
        found = settled(server, lambda state: not any(claims(state).values()))
        stood_still = [*stalls.intervals, *map(tuple, found["stalls"])]
        silent = silences(clients.made, stood_still)
        print(
            f"\n{kind}: calls={len(clients.made)} errors={sum(one.error is not None for one in clients.made)}"
            f" faults={sum(found['fired'].values())} of {len(found['fired'])} kinds"
            f" longest silence={max(row[2] for row in silent):.2f} s, with those of the server without faults"
            f" {max(row[1] - row[0] for row in silent):.2f} s; said not ready: {len(reports.moments)}"
        )
        executed = Counter(map(int, server.executions.read_text().split()))
        check(clients.made, executed, found["order"], stood_still)
        check_silences(silent, reports.moments, found["order"])
        assert found["pid"] == pid
        assert found["listener"]["ready"]
        assert found["listener"]["failing"] == []
        assert claims(found) == dict.fromkeys(claims(found), 0)
        with Consumer() as consumer:  # every worker is there
            assert [
                future.result(WAIT) for future in [consumer.submit_at(f"{server.base}/meet") for _ in range(WORKERS)]
            ]
        assert server.end() == 0
    finally:
        server.close()
