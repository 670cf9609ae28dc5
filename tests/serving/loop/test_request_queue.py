"""Requests that compute wait for each other and not for others; each way out gives the place back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, thread_time

import pytest
import requests

from portal import HTTPPortal, function
from portal.serving import ServingConfig
from tests.support.waiting import eventually


class Server:
    """A portal with one place for requests that compute."""

    def __init__(self, **settings: float) -> None:
        self.running = threading.Event()  # set while `compute` waits
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
            self.goes_on.wait(20.0)
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

    def stat(self, name: str) -> int:
        return int(self.portal.stats()["listener"][name])

    def is_free(self) -> bool:
        """Return whether nothing computes any more. A place is given back just after the response."""
        end = monotonic() + 10.0
        while self.stat("computing") and monotonic() < end:
            threading.Event().wait(0.005)
        return (self.stat("computing"), self.stat("computing_waiting")) == (0, 0)


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    with found.portal:
        assert found.call("compute") == 200  # from now on it is known to compute
        yield found
        found.goes_on.set()


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


def test_a_call_that_fails_gives_its_place_back(server: Server) -> None:
    def fail() -> int:
        began = thread_time()
        while thread_time() - began < 0.004:
            pass
        raise RuntimeError

    server.portal.apply(function(fail))
    assert [server.call("fail") for _ in range(5)] == [500] * 5
    assert server.is_free()


def test_first_requests_that_compute_do_not_all_run_at_once() -> None:
    server = Server()
    with server.portal, ThreadPoolExecutor(8) as callers:
        assert set(callers.map(server.call, ["compute"] * 24)) == {200}
        assert server.most <= 2  # the first one, and one in the lane
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
