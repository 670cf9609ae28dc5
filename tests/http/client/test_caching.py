from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from portal import FunctionError, OverloadedError, ResponseCache, TransportError
from portal.cache import cached_calls
from portal.function import ResolvedFunction
from portal.http.client.caching import CachedHTTPCalls
from portal.http.client.request import ClientRequest
from portal.http.client.result import ReceivedResponse
from portal.schema import FunctionSchema
from tests.support.clocks import Clock
from tests.support.scripted_transport import ADDRESS, request_of

FUNCTION = ResolvedFunction(None, schema=FunctionSchema("add", cacheable=True), address=ADDRESS)  # type: ignore[arg-type]


class Server:
    """Return the given responses in turn, and keep the conditions of the requests."""

    def __init__(self, *responses: ReceivedResponse | BaseException) -> None:
        self.responses = list(responses)
        self.conditions: list[str | None] = []

    def __call__(self, request: ClientRequest) -> ReceivedResponse:
        self.conditions.append(request.headers.get("If-None-Match"))
        response = self.responses.pop(0)
        if isinstance(response, BaseException):
            raise response
        return response


def response(value: str, *, status: int = 200, age: int = 60) -> ReceivedResponse:
    return ReceivedResponse(status, {"etag": f'"{value}"', "cache-control": f"max-age={age}"}, value.encode())


def calls_to(server: Server, cache: ResponseCache, scope: str = "") -> CachedHTTPCalls:
    return CachedHTTPCalls(cache, server, lambda request: scope)


def invoke(calls: CachedHTTPCalls, **params: Any) -> Any:
    return calls.invoke(FUNCTION, params, request_of())


def test_a_fresh_response_needs_no_request() -> None:
    server = Server(response("1"), response("2"))
    calls = calls_to(server, ResponseCache())
    assert [invoke(calls, a=1), invoke(calls, a=1), invoke(calls, a=2), invoke(calls, a=1)] == [1, 1, 2, 1]
    assert server.conditions == [None, None]


def test_a_stale_response_is_requested_under_its_entity_tag() -> None:
    server = Server(response("1", age=0), response("1", status=304, age=0), response("2"))
    calls = calls_to(server, ResponseCache())
    assert [invoke(calls), invoke(calls), invoke(calls), invoke(calls)] == [1, 1, 2, 2]
    assert server.conditions == [None, '"1"', '"1"']


def test_responses_are_kept_apart_by_scope() -> None:
    cache = ResponseCache()
    ann, bob = Server(response("1")), Server(response("2"))
    assert [invoke(calls_to(ann, cache, "ann")), invoke(calls_to(bob, cache, "bob"))] == [1, 2]


def test_an_error_is_not_kept() -> None:
    server = Server(FunctionError("no"), response("1"))
    calls = calls_to(server, ResponseCache())
    with pytest.raises(FunctionError):
        invoke(calls)
    assert invoke(calls) == 1


def test_a_response_is_not_kept_where_the_server_forbids_it() -> None:
    never = ReceivedResponse(200, {"cache-control": "no-store", "etag": '"1"'}, b"1")
    server = Server(never, never)
    calls = calls_to(server, ResponseCache(default_age=60.0))
    assert [invoke(calls), invoke(calls)] == [1, 1]
    assert server.conditions == [None, None]


def stale(server: Server, clock: Clock, **options: float) -> CachedHTTPCalls:
    """Return calls whose response has been stale for 5 seconds."""
    calls = calls_to(server, ResponseCache(clock=clock, **options))
    invoke(calls, a=1)
    clock.now += 65.0
    return calls


def test_a_stale_response_is_used_if_the_server_cannot_respond() -> None:
    clock = Clock()
    server = Server(response("1"), TransportError("t"), FunctionError("f"), TransportError("t"))
    calls = stale(server, clock, stale_if_error=10.0)
    assert invoke(calls, a=1) == 1
    with pytest.raises(FunctionError):  # the server has responded
        invoke(calls, a=1)
    clock.now += 10.0
    with pytest.raises(TransportError):
        invoke(calls, a=1)


def test_a_server_may_forbid_stale_responses() -> None:
    strict = ReceivedResponse(200, {"cache-control": "max-age=60, must-revalidate"}, b"1")
    calls = stale(Server(strict, TransportError("t")), Clock(), stale_if_error=10.0, stale_while_revalidate=10.0)
    with pytest.raises(TransportError):
        invoke(calls, a=1)


def test_a_stale_response_is_used_at_once_and_requested_again() -> None:
    clock, requested = Clock(), threading.Event()

    class Watched(Server):
        def __call__(self, request: ClientRequest) -> ReceivedResponse:
            try:
                return super().__call__(request)
            finally:
                if len(self.conditions) == 2:
                    requested.set()

    server = Watched(response("1"), response("2"))
    calls = stale(server, clock, stale_while_revalidate=10.0)
    assert invoke(calls, a=1) == 1
    assert requested.wait(10.0)
    found = [1]
    pause = threading.Event()
    for _ in range(10_000):  # until the thread has stored it
        if (found := [invoke(calls, a=1)]) == [2]:
            break
        pause.wait(0.001)
    assert found == [2]
    assert server.conditions == [None, '"1"']


class Pool:
    """The shared pool of threads: it runs each job here and at once, or raises."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error

    def submit(self, run: Callable[[], None]) -> None:
        if self.error is not None:
            raise self.error
        run()


def use(pool: Pool, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(cached_calls, "shared_executor", lambda: pool)


FAULTS: list[BaseException] = [ZeroDivisionError("wrong"), MemoryError(), RecursionError(), SystemExit(3)]


@pytest.mark.parametrize("error", FAULTS, ids=lambda error: type(error).__name__)
def test_a_request_in_the_background_that_raises_is_logged_and_made_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    use(Pool(), monkeypatch)
    server = Server(response("1"), error, response("2"))
    calls = stale(server, Clock(), stale_while_revalidate=10.0)
    assert invoke(calls, a=1) == 1
    assert [record.getMessage() for record in caplog.records] == ["add could not be revalidated"]
    assert caplog.records[0].exc_info is not None
    assert caplog.records[0].exc_info[1] is error
    assert [invoke(calls, a=1), invoke(calls, a=1)] == [1, 2]
    assert server.conditions == [None, '"1"', '"1"']


def test_a_log_line_that_fails_does_not_keep_a_stale_response(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise MemoryError

    use(Pool(), monkeypatch)
    handler = Failing()
    logging.getLogger("portal.cache").addHandler(handler)
    try:
        calls = stale(Server(response("1"), MemoryError(), response("2")), Clock(), stale_while_revalidate=10.0)
        assert [invoke(calls, a=1), invoke(calls, a=1), invoke(calls, a=1)] == [1, 1, 2]
    finally:
        logging.getLogger("portal.cache").removeHandler(handler)


@pytest.mark.parametrize("error", [OverloadedError("full"), MemoryError(), RuntimeError("shut down")])
def test_a_stale_response_is_used_although_no_thread_requests_it_again(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    calls = stale(Server(response("1"), response("2")), Clock(), stale_while_revalidate=10.0)
    with monkeypatch.context() as patch:
        use(Pool(error), patch)
        assert invoke(calls, a=1) == 1
    use(Pool(), monkeypatch)
    assert [invoke(calls, a=1), invoke(calls, a=1)] == [1, 2]


def test_a_signal_while_a_thread_is_asked_for_leaves_nothing_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = stale(Server(response("1"), response("2")), Clock(), stale_while_revalidate=10.0)
    with monkeypatch.context() as patch:
        use(Pool(KeyboardInterrupt()), patch)
        with pytest.raises(KeyboardInterrupt):
            invoke(calls, a=1)
    use(Pool(), monkeypatch)
    assert [invoke(calls, a=1), invoke(calls, a=1)] == [1, 2]


def test_a_child_requests_again_what_its_parent_was_requesting(monkeypatch: pytest.MonkeyPatch) -> None:
    class Never(Pool):
        def submit(self, run: Callable[[], None]) -> None:
            """Take the job; its thread is not in the child."""

    calls = stale(Server(response("1"), response("2")), Clock(), stale_while_revalidate=10.0)
    with monkeypatch.context() as patch:
        use(Never(), patch)
        assert [invoke(calls, a=1), invoke(calls, a=1)] == [1, 1]
    use(Pool(), monkeypatch)
    assert invoke(calls, a=1) == 1  # the thread of the parent has the request
    calls.after_fork()
    assert [invoke(calls, a=1), invoke(calls, a=1)] == [1, 2]
