"""Requests that compute wait for each other and not for others; each way out gives the place back."""

from __future__ import annotations

import http.client
import itertools
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from time import monotonic, thread_time
from typing import Any

import pytest
import requests

from portal import HTTPPortal, function
from portal.serving import ServingConfig
from portal.serving.loop.busy_lane import BusyLane, Pass
from portal.serving.loop.first_requests import FirstRequests
from portal.serving.loop.request_queue import RequestQueue
from tests.support.waiting import eventually


class Server:
    """A portal with one place for requests that compute."""

    def __init__(self, **settings: float) -> None:
        self.running = threading.Event()  # set while `compute` holds
        self.goes_on = threading.Event()
        self.holds = False
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()
        self.portal = HTTPPortal(config=ServingConfig(workers=8, max_computing=1, **settings))  # type: ignore[arg-type]
        self.portal.apply(function(self.compute))
        self.portal.apply(function(self.ping))

    def compute(self) -> int:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        began = thread_time()
        while thread_time() - began < 0.004:
            pass
        if self.holds:
            self.running.set()
            end = monotonic() + 20.0
            while not self.goes_on.is_set() and monotonic() < end:  # computes, as one that waits leaves the lane
                pass
        with self._lock:
            self._now -= 1
        return 1

    def ping(self) -> int:
        return 1

    def call(self, name: str, **headers: str) -> int:
        response = requests.post(
            f"http://127.0.0.1:{self.portal.port}/api/{name}", json={}, headers=headers, timeout=20.0
        )
        return response.status_code

    def call_from(self, address: str, name: str) -> int:
        """Call from another address of this machine, which is another client."""
        port = self.portal.port
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20.0, source_address=(address, 0))) as link:
            link.request("POST", f"/api/{name}", "{}")
            return link.getresponse().status

    def stat(self, name: str) -> int:
        return int(self.portal.stats()["listener"][name])

    def is_free(self) -> bool:
        """Return whether nothing computes any more. A place is given back just after the response."""
        end = monotonic() + 10.0
        while self.stat("computing") and monotonic() < end:
            threading.Event().wait(0.005)
        return (self.stat("computing"), self.stat("computing_waiting")) == (0, 0)


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody in for a request that waits: on a busy machine, one that computes may look like it for a moment."""
    monkeypatch.setattr("portal.serving.loop.request_queue._SATURATED", -1.0)


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    with found.portal:
        assert found.call("compute") == 200  # from now on it is known to compute
        yield found
        found.goes_on.set()


@pytest.mark.usefixtures("strict")
def test_requests_that_compute_run_one_after_the_other(server: Server) -> None:
    server.most = 0
    with ThreadPoolExecutor(8) as callers:
        assert set(callers.map(server.call, ["compute"] * 24)) == {200}
    assert server.most == 1
    assert server.is_free()


def test_other_requests_do_not_wait_for_one_that_computes(server: Server) -> None:
    server.holds = True
    with ThreadPoolExecutor(2) as callers:
        held = callers.submit(server.call, "compute")
        assert server.running.wait(10.0)
        assert server.call("ping") == 200
        server.goes_on.set()
        assert held.result(10.0) == 200


@pytest.mark.usefixtures("strict")
def test_a_request_that_waits_past_its_deadline_is_rejected_and_does_not_run(server: Server) -> None:
    server.holds = True
    with ThreadPoolExecutor(2) as callers:
        held = callers.submit(server.call, "compute")
        assert server.running.wait(10.0)
        assert server.call("compute", **{"X-Portal-Timeout": "100"}) == 504
        server.goes_on.set()
        assert held.result(10.0) == 200
    assert server.most == 1


def test_a_long_request_leaves_the_lane(server: Server) -> None:
    server.holds = True
    with ThreadPoolExecutor(2) as callers:
        first = callers.submit(server.call, "compute")
        assert server.running.wait(10.0)
        server.holds = False
        assert server.call("compute") == 200  # while the first one still runs
        assert not first.done()
        server.goes_on.set()
        assert first.result(10.0) == 200
    assert server.is_free()


def test_calls_that_compute_and_then_wait_run_side_by_side(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.serving.loop.busy_lane.MAX_TURN", 1000.0)
    together = threading.Barrier(6)

    def query() -> int:
        server.compute()
        if server.holds:
            together.wait(20.0)  # none of them ends before all run
        return 1

    server.portal.apply(function(query))
    assert server.call("query") == 200
    server.holds = True
    server.goes_on.set()
    with ThreadPoolExecutor(6) as callers:
        assert set(callers.map(server.call, ["query"] * 6)) == {200}
    assert server.is_free()


def test_a_call_that_fails_gives_its_place_back(server: Server) -> None:
    def fail() -> int:
        began = thread_time()
        while thread_time() - began < 0.004:
            pass
        raise RuntimeError

    server.portal.apply(function(fail))
    assert [server.call("fail") for _ in range(5)] == [500] * 5
    assert server.is_free()


@pytest.mark.usefixtures("strict")
def test_first_requests_that_compute_do_not_all_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # On a busy machine, one that computes may get no processor for the usual time until the look.
    monkeypatch.setattr("portal.serving.loop.first_requests.LOOK", 5.0)
    server = Server()
    with server.portal, ThreadPoolExecutor(8) as callers:
        assert set(callers.map(server.call, ["compute"] * 24)) == {200}
        assert server.most <= 2  # the first one runs on when it is judged, and one in the lane
        assert server.is_free()


def test_first_requests_that_wait_run_side_by_side() -> None:
    together = threading.Barrier(6)

    def meet() -> bool:
        together.wait(20.0)  # none of them ends before all run
        return True

    server = Server()
    with server.portal, ThreadPoolExecutor(6) as callers:
        server.portal.apply(function(meet))
        assert set(callers.map(server.call, ["meet"] * 6)) == {200}


def test_a_first_request_of_a_client_without_a_worker_does_not_hold_up_other_clients() -> None:
    server = Server(max_running_per_function=8, max_running_per_client=2, max_wait=1.0)
    goes_on, together, entered = threading.Event(), threading.Barrier(5), threading.Semaphore(0)

    def hold() -> bool:
        entered.release()
        return goes_on.wait(20.0)

    def meet() -> bool:
        together.wait(20.0)
        return True

    with server.portal, ThreadPoolExecutor(12) as callers:
        server.portal.apply(function(hold))
        server.portal.apply(function(meet))
        held = [callers.submit(server.call_from, "127.0.0.2", "hold") for _ in range(2)]
        assert [entered.acquire(timeout=20.0) for _ in held] == [True, True]
        waiting = [callers.submit(server.call_from, "127.0.0.2", "meet")]
        eventually(lambda: server.stat("waiting") == 1)
        others = [callers.submit(server.call_from, f"127.0.0.{number}", "meet") for number in range(3, 8)]
        assert {one.result(20.0) for one in others} == {200}
        assert {one.result(20.0) for one in waiting} == {503}  # it has waited for too long
        goes_on.set()
        assert {one.result(20.0) for one in held} == {200}


@pytest.mark.usefixtures("strict")
@pytest.mark.usefixtures("strict")
def test_requests_that_are_found_to_compute_while_they_wait_for_a_worker_do_not_all_run_at_once() -> None:
    server = Server(max_running_per_function=8, max_running_per_client=8)
    server.holds = True

    def late() -> None:
        if server.holds:
            server.goes_on.wait(20.0)
            began = thread_time()
            while thread_time() - began < 0.02:
                pass
        else:
            server.compute()

    with server.portal, ThreadPoolExecutor(32) as callers:
        server.portal.apply(function(late))
        calls = [callers.submit(server.call, "late") for _ in range(8)]  # all workers
        eventually(lambda: server.stat("unfinished") == 8)
        calls += [callers.submit(server.call, "late") for _ in range(24)]
        eventually(lambda: server.stat("waiting") == 24)
        server.holds = False
        server.goes_on.set()
        assert {one.result(20.0) for one in calls} == {200}
        assert server.most == 1
        assert server.is_free()


def test_a_first_request_is_judged_in_time_though_nothing_else_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.serving.loop.upkeep._SWEEP", 60.0)  # the leading thread would sleep for so long
    server = Server(linger=0.001)
    together = threading.Barrier(4)

    def meet() -> bool:
        together.wait(20.0)
        return True

    with server.portal:
        assert server.call("ping") == 200
        for number in range(8):
            server.portal.apply(function(meet, name=f"meet{number}"))
            links = [socket.create_connection(("127.0.0.1", server.portal.port), 20.0) for _ in range(4)]
            one = "POST /api/{} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{{}}"
            for link in links:  # a worker serves the first and adds the second
                link.sendall((one.format("compute") + one.format(f"meet{number}")).encode())
            for link in links:
                data = b""
                while data.count(b"HTTP/1.1 200 ") < 2:
                    data += link.recv(65536)
                link.close()


def test_a_first_request_that_is_rejected_leaves_its_place_to_the_next() -> None:
    server = Server(max_running_per_function=8, max_running_per_client=8)
    together = threading.Barrier(9)

    def hold() -> bool:
        together.wait(20.0)
        return True

    with server.portal, ThreadPoolExecutor(12) as callers:
        server.portal.apply(function(hold))
        held = [callers.submit(server.call, "hold") for _ in range(8)]  # all workers
        eventually(lambda: together.n_waiting == 8)
        timed = [callers.submit(server.call, "ping", **{"X-Portal-Timeout": "100"}) for _ in range(3)]
        assert {one.result(20.0) for one in timed} == {504}
        together.wait(20.0)
        assert {one.result(20.0) for one in held} == {200}
        assert server.call("ping") == 200


STEPS = [
    *(
        (RequestQueue, name)
        for name in ("_start_ready", "_give_back", "_leave", "_submit", "_go_on", "_next_look", "look")
    ),
    *((RequestQueue, name) for name in ("reject_overdue", "_is_due", "_enter", "_run")),
    *((BusyLane, name) for name in ("enter", "leave", "look", "pass_long", "take_back", "_admit_waiting")),
    *((Pass, name) for name in ("__init__", "start", "waits")),
    *((FirstRequests, name) for name in ("begin", "end", "_end_all", "look", "take_back")),
]


@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize(("owner", "name"), STEPS, ids=lambda one: getattr(one, "__name__", one))
def test_an_exception_in_the_queue_loses_no_request(
    owner: type, name: str, before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = getattr(owner, name), itertools.count()

    def failing(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == before:
            raise RuntimeError("a fault")
        return original(*args, **kwargs)

    server = Server()
    monkeypatch.setattr(owner, name, failing)
    with server.portal, ThreadPoolExecutor(10) as callers:
        made = [callers.submit(server.call, "compute") for _ in range(10)]
        outcomes = [type(one.exception()) if one.exception() else one.result() for one in made]
        assert set(outcomes) <= {200, 500, 503, requests.ConnectionError}
        assert outcomes.count(200) >= 5
        assert server.is_free()
