"""Calls of map_at in messages of several calls: over sockets, and the timeout of calls that are made again."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import pytest

from portal import CallContext, Consumer, HTTPPortal, Identity, Policy, Retry, Service, function
from portal.auth.authenticators import BearerAuth
from portal.consumer.batches import bundles as module
from portal.consumer.batches.bundles import Bundles
from portal.errors import (
    AuthorizationError,
    CallTimeout,
    FunctionError,
    PortalError,
    RateLimitError,
    RegistryError,
    ValidationError,
)
from portal.http import HTTPClient
from portal.serving import Request, Response

WAIT = 20.0


class FixedSize:
    """Stands for BundleSize: eight calls in each message, until calls must be made alone."""

    def __init__(self, window: int) -> None:
        self.value = 8

    def began(self, calls: int) -> None:
        """Do nothing."""

    def ended(self, calls: int, seconds: float) -> None:
        """Do nothing."""

    def failed(self, calls: int) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Make further calls alone."""
        self.value = 1


@pytest.fixture(autouse=True)
def fixed_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BundleSize", FixedSize)


def submit_here(call: Any, *args: Any, **options: Any) -> Future[Any]:
    """Run a call at once."""
    future: Future[Any] = Future()
    future.set_result(call(*args, **options))
    return future


class Paths:
    """HTTP middleware that notes the path of each POST, and may reject JSON-RPC."""

    def __init__(self, status: int | None = None) -> None:
        self.status = status
        self.seen: list[str] = []

    def __call__(self, request: Request, request_next: Callable[[Request], Response]) -> Response:
        if request.method == "POST" and "late" not in request.notes:  # a response at a deadline passes again
            self.seen.append(request.path)
            if self.status is not None and request.path.endswith("/rpc"):
                return Response(self.status, [("Content-Type", "text/plain")], b"no")
        return request_next(request)

    @property
    def batches(self) -> int:
        return sum(path.endswith("/rpc") for path in self.seen)


@dataclass
class Point:
    x: int
    y: int


@function(idempotent=True)
def square(n: int) -> int:
    if n == 13:
        raise ValueError("unlucky")
    return n * n


@function
def careful(n: int) -> int:
    return n * n


@function(idempotent=True)
def point(n: int) -> Point:
    return Point(n, -n)


@pytest.fixture
def paths() -> Paths:
    return Paths()


@pytest.fixture
def http(paths: Paths) -> Iterator[HTTPPortal]:
    with HTTPPortal(http_middleware=[paths]) as portal:
        yield portal


def numbers(count: int) -> Iterator[dict[str, int]]:
    return ({"n": n} for n in range(count))


def test_many_calls_are_few_requests(http: HTTPPortal, paths: Paths) -> None:
    with Consumer() as consumer:
        results = list(consumer.map_at(http.apply(square), numbers(100), return_exceptions=True))
    assert isinstance(results.pop(13), FunctionError)
    assert results == [n * n for n in range(100) if n != 13]
    assert paths.batches == len(paths.seen) == 13


@pytest.mark.parametrize("kind", [ValueError, AuthorizationError, RateLimitError])
def test_an_error_says_the_same_as_that_of_a_call_alone(http: HTTPPortal, kind: type[Exception]) -> None:
    @function(idempotent=True)
    def fails(n: int) -> int:
        raise kind("unlucky")

    address = http.apply(fails)
    with Consumer() as consumer:
        with pytest.raises(PortalError) as alone:
            consumer.call_at(address, {"n": 1})
        first, *_ = consumer.map_at(address, numbers(8), return_exceptions=True)
    assert type(first) is type(alone.value)
    expected, found = (json.dumps(one.to_dict()).replace(one.request_id, "id") for one in (alone.value, first))
    assert json.loads(found) == json.loads(expected)


def test_the_first_failure_is_raised_in_its_place(http: HTTPPortal) -> None:
    with Consumer() as consumer:
        results = consumer.map_at(http.apply(square), numbers(100))
        assert [next(results) for _ in range(13)] == [n * n for n in range(13)]
        with pytest.raises(FunctionError):
            next(results)


def test_results_as_they_come_have_their_number(http: HTTPPortal, paths: Paths) -> None:
    with Consumer() as consumer:
        results = consumer.map_at(http.apply(point), numbers(40), as_completed=True, returns=Point)
        assert dict(results) == {n: Point(n, -n) for n in range(40)}
    assert paths.batches == 5


def test_a_result_that_does_not_fit_is_an_error_of_its_call(http: HTTPPortal) -> None:
    @function(idempotent=True)
    def sometimes(n: int) -> int | str:
        return "text" if n == 3 else n

    with Consumer() as consumer:
        found = list(consumer.map_at(http.apply(sometimes), numbers(8), returns=int, return_exceptions=True))
    assert isinstance(found.pop(3), ValidationError)
    assert found == [0, 1, 2, 4, 5, 6, 7]


def test_parameters_that_do_not_fit_are_an_error_of_their_call(http: HTTPPortal) -> None:
    with Consumer() as consumer:
        params: list[dict[str, Any]] = [{"n": 1}, {"n": "x"}, {"m": 1}, {"n": 2}]
        found = list(consumer.map_at(http.apply(square), params, return_exceptions=True))
    assert [found[0], found[3]] == [1, 4]
    assert [type(one) for one in found[1:3]] == [ValidationError, ValidationError]


def test_a_function_that_is_not_idempotent_is_called_alone(http: HTTPPortal, paths: Paths) -> None:
    with Consumer() as consumer:
        assert list(consumer.map_at(http.apply(careful), numbers(40))) == [n * n for n in range(40)]
    assert (paths.batches, len(paths.seen)) == (0, 40)


@pytest.mark.parametrize("policy", [Policy(), Policy(retry=Retry())], ids=["empty", "retry"])
def test_calls_with_a_policy_pass_their_stages_alone(http: HTTPPortal, paths: Paths, policy: Policy) -> None:
    address = http.apply(square)
    with Consumer(policy=policy) as consumer:
        assert list(consumer.map_at(address, numbers(10))) == [n * n for n in range(10)]
    with Consumer() as consumer:
        assert list(consumer.map_at(address, numbers(10), policy=policy)) == [n * n for n in range(10)]
    assert paths.batches == 0


def test_calls_with_middleware_pass_it_alone(http: HTTPPortal, paths: Paths) -> None:
    seen = []

    def middleware(call: Any, call_next: Any) -> Any:
        seen.append(call.params["n"])
        return call_next(call)

    with Consumer(middleware=[middleware]) as consumer:
        assert list(consumer.map_at(http.apply(square), numbers(10))) == [n * n for n in range(10)]
    assert sorted(seen) == list(range(10))
    assert paths.batches == 0


@pytest.mark.parametrize("status", [400, 403, 404, 405, 413, 415, 429, 500, 503])
def test_a_server_that_rejects_batches_gets_single_calls(status: int) -> None:
    paths = Paths(status)
    with HTTPPortal(http_middleware=[paths]) as http, Consumer() as consumer:
        assert list(consumer.map_at(http.apply(careful), numbers(1))) == [0]
        found = list(consumer.map_at(http.apply(square), numbers(60), return_exceptions=True))
    assert isinstance(found.pop(13), FunctionError)
    assert found == [n * n for n in range(60) if n != 13]
    assert paths.seen.count(paths.seen[-1]) == 60


def test_the_functions_of_a_service_are_called_in_batches(http: HTTPPortal, paths: Paths) -> None:
    address = http.apply_service(Service("shapes", [square]))
    with Consumer() as consumer:
        where = consumer.list_at(address)["functions"][0]["address"]
        assert list(consumer.map_at(where, numbers(10))) == [n * n for n in range(10)]
    assert paths.seen.count("/api/rpc") == 2
    assert set(paths.seen) == {"/api/shapes/rpc", "/api/rpc"}  # the first one is a guess


def test_functions_with_random_ids_are_called_in_batches() -> None:
    paths = Paths()
    with HTTPPortal(http_middleware=[paths], unique_ids="random") as http, Consumer() as consumer:
        assert list(consumer.map_at(http.apply(square), numbers(10))) == [n * n for n in range(10)]
    assert paths.batches == len(paths.seen) == 2


@pytest.mark.parametrize("auth", ["secret", lambda address: "secret"], ids=["token", "callable"])
def test_batches_carry_the_credential(auth: Any) -> None:
    paths = Paths()
    bearer = BearerAuth({"secret": Identity("ann")})
    with HTTPPortal(http_middleware=[paths], auth=bearer) as http, Consumer(auth=auth) as consumer:
        assert list(consumer.map_at(http.apply(square), numbers(10))) == [n * n for n in range(10)]
    assert paths.batches == 2


def test_a_credential_for_the_address_of_a_function_goes_nowhere_else(http: HTTPPortal, paths: Paths) -> None:
    address = http.apply(square)
    client = HTTPClient(auth=lambda called: "secret" if called == address else "other")
    with Consumer(http=client) as consumer:
        assert list(consumer.map_at(address, numbers(10))) == [n * n for n in range(10)]
    assert paths.batches == 0


def test_an_unknown_function_is_the_error_of_each_call(http: HTTPPortal) -> None:
    address = f"http://127.0.0.1:{http.port}/api/nothing/01234567"
    with Consumer() as consumer:
        found = list(consumer.map_at(address, numbers(5), return_exceptions=True))
    assert [type(one) for one in found] == [RegistryError] * 5


def test_one_call_that_hangs_takes_nothing_from_the_others(
    http: HTTPPortal, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_WAIT", 0.2)
    calls: list[int] = []
    cancelled = threading.Event()

    @function(idempotent=True)
    def first_hangs(n: int, context: CallContext) -> int:
        calls.append(n)
        if n == 5 and calls.count(5) == 1:
            context.on_cancel(cancelled.set)
            assert cancelled.wait(WAIT)
        return n

    with Consumer() as consumer:
        results = list(consumer.map_at(http.apply(first_hangs), numbers(8), timeout=WAIT))
    assert results == list(range(8))
    assert calls.count(5) == 2
    assert paths.batches == 1


def test_a_call_that_always_hangs_fails_by_itself(http: HTTPPortal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_WAIT", 0.2)

    @function(idempotent=True, timeout=1.0)
    def hangs(n: int, context: CallContext) -> int:
        ended = threading.Event()
        context.on_cancel(ended.set)
        if n == 5:
            assert ended.wait(WAIT)
        return n

    with Consumer() as consumer:
        results = list(consumer.map_at(http.apply(hangs), numbers(8), timeout=WAIT, return_exceptions=True))
    assert isinstance(results.pop(5), CallTimeout)
    assert results == [0, 1, 2, 3, 4, 6, 7]


def test_calls_stop_if_the_results_are_not_wanted(http: HTTPPortal) -> None:
    begun, cancelled = threading.Event(), threading.Event()
    calls: list[int] = []

    @function(idempotent=True)
    def second_message_waits(n: int, context: CallContext) -> int:
        calls.append(n)
        if n == 8:
            context.on_cancel(cancelled.set)
            begun.set()
            assert cancelled.wait(WAIT)
        return n

    with Consumer(timeout=None) as consumer:
        results = consumer.map_at(http.apply(second_message_waits), numbers(16), max_in_flight=16)
        assert next(results) == 0
        assert begun.wait(WAIT)
        results.close()  # type: ignore[attr-defined]
        assert cancelled.wait(WAIT)
    assert 9 not in calls


def test_a_call_that_is_made_again_has_the_rest_of_its_timeout() -> None:
    timeouts: list[float] = []
    now = [100.0]

    def alone(params: Any, *, timeout: float, context: CallContext) -> None:
        timeouts.append(timeout)

    found = Bundles(submit_here, lambda params, context: {}, alone, 32, 10.0, clock=lambda: now[0])
    now[0] = 101.0
    found.submit_again({}, 100.0)
    now[0] = 200.0
    found.submit_again({}, 100.0)
    assert timeouts == [9.0, 0.0]


@pytest.mark.parametrize(("timeout", "wait"), [(None, 2.0), (30.0, 2.0), (5.0, 0.5), (0.1, 0.01)])
def test_a_message_is_given_up_early(timeout: float | None, wait: float) -> None:
    lefts: list[float | None] = []

    def together_(params: Any, *, context: CallContext) -> dict[int, Any]:
        lefts.append(context.remaining())
        return {}

    Bundles(submit_here, together_, lambda *args, **options: None, 32, timeout).submit([{}, {}])
    [left] = lefts
    assert left is not None
    assert left <= wait
