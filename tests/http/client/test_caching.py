from __future__ import annotations

from typing import Any

import pytest

from portal import FunctionError, ResponseCache
from portal.function import ResolvedFunction
from portal.http.client.caching import CachedCalls
from portal.http.client.request import ClientRequest
from portal.http.client.result import ReceivedResponse
from portal.schema import FunctionSchema
from tests.support.scripted_transport import ADDRESS, request_of

FUNCTION = ResolvedFunction(None, schema=FunctionSchema("add", cacheable=True), address=ADDRESS)  # type: ignore[arg-type]


class Server:
    """Return the given responses in turn, and keep the conditions of the requests."""

    def __init__(self, *responses: ReceivedResponse | Exception) -> None:
        self.responses = list(responses)
        self.conditions: list[str | None] = []

    def __call__(self, request: ClientRequest) -> ReceivedResponse:
        self.conditions.append(request.headers.get("If-None-Match"))
        response = self.responses.pop(0)
        if isinstance(response, Exception):
            raise response
        return response


def response(value: str, *, status: int = 200, age: int = 60) -> ReceivedResponse:
    return ReceivedResponse(status, {"etag": f'"{value}"', "cache-control": f"max-age={age}"}, value.encode())


def calls_to(server: Server, cache: ResponseCache, scope: str = "") -> CachedCalls:
    return CachedCalls(cache, server, lambda request: scope)


def invoke(calls: CachedCalls, **params: Any) -> Any:
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
