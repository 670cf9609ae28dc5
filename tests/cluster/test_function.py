"""ClusterFunction and MapCalls: what is sent to the cluster, and how long it may take, without a cluster."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, cast

import pytest

pytest.importorskip("distributed", reason="the package distributed is not installed")

from portal import CallContext, ValidationError
from portal.address import Address
from portal.cluster import DaskResolver
from portal.cluster.chunk import ChunkResult
from portal.cluster.connection import ClusterConnection
from portal.cluster.function import ClusterFunction, MapCalls
from tests.support import cluster_functions as functions

ADDRESS = Address.parse("dask://host:8786/square/1")


class Connection:
    """Runs no calls: the outcome of each is the number of calls in its chunk."""

    def __init__(self) -> None:
        self.submitted: list[CallContext] = []
        self.waited: list[CallContext] = []

    def submit(self, name: str, data: bytes, calls: Any, context: CallContext, *, idempotent: bool) -> Any:
        assert (name, data, idempotent) == ("square", b"data", False)
        self.submitted.append(context)
        future: Future[ChunkResult] = Future()
        future.set_result(ChunkResult([("ok", len(calls))] * len(calls), 0.0))
        return future

    def wait(self, name: str, future: Future[ChunkResult], context: CallContext) -> ChunkResult:
        self.waited.append(context)
        return future.result()


@pytest.fixture
def connection() -> Connection:
    return Connection()


def function_at(connection: Connection, *, timeout: float | None = None) -> ClusterFunction:
    """Return the function of a cluster, with a timeout of its own."""
    schema = functions.square.schema
    made = ClusterFunction(
        DaskResolver(), cast(ClusterConnection, connection), b"data", schema=schema, address=ADDRESS, timeout=None
    )
    made.schema = type(schema).from_dict({**schema.to_dict(), "timeout": timeout})
    return made


def test_a_call_is_a_chunk_of_one(connection: Connection) -> None:
    context = CallContext()
    assert function_at(connection).call_on_cluster({"n": 3}, context) == 1
    assert connection.submitted == connection.waited == [context]


def test_a_call_has_the_timeout_of_its_function(connection: Connection) -> None:
    assert function_at(connection, timeout=5.0).call_on_cluster({"n": 3}, CallContext()) == 1
    [context] = connection.waited
    remaining = context.remaining()
    assert remaining is not None
    assert 0.0 < remaining <= 5.0


def test_parameters_that_do_not_fit_are_not_sent(connection: Connection) -> None:
    function = function_at(connection)
    with pytest.raises(ValidationError):
        function.call_on_cluster({"n": "x"}, CallContext())
    calls = MapCalls(function, CallContext, timeout=None)
    [error] = calls.results([{"n": "x"}], return_exceptions=True, chunks=1)
    assert isinstance(error, ValidationError)
    assert error.request_id
    assert connection.submitted == []


@pytest.mark.parametrize(
    ("own", "default", "seconds"), [(None, None, None), (5.0, None, 15.0), (None, 4.0, 12.0), (5.0, 4.0, 12.0)]
)
def test_a_chunk_has_the_timeout_of_all_its_calls(
    connection: Connection, own: float | None, default: float | None, seconds: float | None
) -> None:
    calls = MapCalls(function_at(connection, timeout=own), CallContext, timeout=default)
    assert list(calls.results([{"n": 1}] * 3, return_exceptions=False, chunks=1, size=3)) == [3, 3, 3]
    [context] = connection.waited
    remaining = context.remaining()
    assert (remaining is None) is (seconds is None)
    assert remaining is None or seconds is None or seconds - 1.0 < remaining <= seconds
