"""A failed call leaves nothing that only the garbage collector can free.

A frame that keeps the exception which has passed through it is a cycle: exception, traceback, frame, exception. Under a
flood of errors the collector would pause all threads for long to free them, and requests would stay in memory.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from portal import (
    AuthenticationError,
    BearerAuth,
    ConfigError,
    FunctionSchema,
    HTTPPortal,
    Idempotency,
    Identity,
    function,
)
from portal.http import AuthFailureLimit, Compression
from tests.support.garbage import cyclic_exceptions

CALLS = 10
LATE = {"X-Portal-Timeout": "20"}
TIMED = {"X-Portal-Timeout": "20000"}
GOOD = {"Authorization": "Bearer good"}


class Marked(Exception):
    """Raised by a function of this module."""


@function
def decline() -> None:
    raise AuthenticationError("the card was declined")


@function
def fail() -> None:
    raise Marked("no")


@function
def broken_result() -> int:
    return "x"  # type: ignore[return-value]


@function
def add(a: int) -> int:
    return a


@function
def sleep() -> None:
    threading.Event().wait(0.05)


@function
def ticks() -> Iterator[int]:
    yield 1
    raise Marked("no")


@pytest.fixture(scope="module")
def portal() -> Iterator[HTTPPortal]:
    limits = [AuthFailureLimit("100000/hour"), Compression()]
    bearer = BearerAuth({"good": Identity("ann")})
    with HTTPPortal(auth=bearer, http_middleware=limits, middleware=[Idempotency(max_entries=1000)]) as portal:
        for one in (decline, fail, broken_result, add, sleep, ticks):
            portal.apply(one)
        yield portal


def batch(method: str, params: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"jsonrpc": "2.0", "method": method, "params": params, "id": number} for number in range(3)]


def request(port: int, path: str, body: Any, headers: dict[str, str]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30.0)
    connection.request("POST", path, json.dumps(body), {"Connection": "close", **headers})
    with suppress(http.client.IncompleteRead):  # a stream that fails ends without its last chunk
        connection.getresponse().read()
    connection.close()


def kept_errors(make: Callable[[], object]) -> list[str]:
    """Return the exceptions that are in cycles after some calls, if at least half of the calls leave one."""
    return cyclic_exceptions(make, CALLS, at_least=CALLS // 2)


@pytest.mark.parametrize(
    "headers", [GOOD, GOOD | TIMED, GOOD | {"Idempotency-Key": "k"}], ids=["plain", "timed", "key"]
)
@pytest.mark.parametrize(
    ("path", "body"),
    [
        pytest.param("/api/decline", {}, id="declined"),
        pytest.param("/api/fail", {}, id="failed"),
        pytest.param("/api/broken_result", {}, id="result"),
        pytest.param("/api/add", {"a": "x"}, id="invalid"),
        pytest.param("/api/add", [], id="no object"),
        pytest.param("/api/addx", {}, id="unknown"),
        pytest.param("/api/ticks", {}, id="stream"),
        pytest.param("/api/rpc", batch("decline", {}), id="declined in a batch"),
        pytest.param("/api/rpc", batch("fail", {}), id="failed in a batch"),
        pytest.param("/api/rpc", batch("add", {"a": "x"}), id="invalid in a batch"),
        pytest.param("/api/rpc", batch("addx", {}), id="unknown in a batch"),
        pytest.param("/api/rpc", batch("decline", {})[0], id="declined by JSON-RPC"),
    ],
)
def test_an_error_of_a_call(portal: HTTPPortal, path: str, body: Any, headers: dict[str, str]) -> None:
    assert kept_errors(lambda: request(portal.port, path, body, headers)) == []


@pytest.mark.parametrize("body", [{}, batch("sleep", {}), batch("sleep", {})[0]], ids=["call", "batch", "rpc"])
def test_an_error_at_the_deadline(portal: HTTPPortal, body: Any) -> None:
    path = "/api/rpc" if body else "/api/sleep"
    assert kept_errors(lambda: request(portal.port, path, body, GOOD | LATE)) == []


def test_a_caller_without_a_credential(portal: HTTPPortal) -> None:
    assert kept_errors(lambda: request(portal.port, "/api/add", {}, {})) == []


def test_a_schema_that_cannot_be_compiled() -> None:
    def use() -> None:
        schema = FunctionSchema("f", input={"type": "object", "properties": {"a": {"pattern": "(?=x)"}}})
        for _ in range(2):
            with pytest.raises(ConfigError):
                schema.validate_input({"a": "x"})

    assert cyclic_exceptions(use, CALLS) == []
