"""DaskResolver: addresses and outcomes, without a cluster."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("distributed", reason="the package distributed is not installed")

from portal import (
    AddressError,
    AuthorizationError,
    CallContext,
    CallTimeout,
    Consumer,
    FunctionError,
    ProtocolError,
    RegistryError,
)
from portal.address import Address
from portal.cluster.causes import pack_error
from portal.cluster.connection import ClusterConnection
from portal.cluster.resolver import ClusterFunction, DaskResolver, result_of
from portal.errors import TransportError
from portal.schema import FunctionSchema


@pytest.fixture
def function() -> ClusterFunction:
    resolver = DaskResolver()
    address = Address.parse("dask://host:8786/add/1")
    connection = ClusterConnection("host:8786")
    return ClusterFunction(resolver, connection, b"", schema=FunctionSchema("add"), address=address, timeout=None)


def test_other_schemes_are_rejected() -> None:
    with pytest.raises(AddressError):
        DaskResolver().resolve_function("http://host/add")


@pytest.mark.parametrize("address", ["dask://host/add", "dask://host:0/add", "dask://host"])
def test_an_address_without_a_port_is_rejected_at_once(address: str) -> None:
    with Consumer() as consumer:
        for question in (consumer.resolve, consumer.list_at):
            with pytest.raises(AddressError, match="must have the port of a scheduler") as caught:
                question(address)
            assert not caught.value.may_have_executed


def test_one_connection_for_each_scheduler() -> None:
    resolver = DaskResolver()
    assert resolver.connection("a:1") is resolver.connection("a:1")
    assert resolver.connection("a:1") is not resolver.connection("b:1")
    resolver.close()


@pytest.mark.parametrize(
    ("outcome", "kind", "may"),
    [
        (("late", None), CallTimeout, False),
        (("absent", "ImportError: x"), RegistryError, False),
        (("error", pack_error(AuthorizationError("no", delivery="executed"))), AuthorizationError, True),
        (("error", pack_error(LookupError("no"))), FunctionError, True),
    ],
)
def test_outcomes(function: ClusterFunction, outcome: Any, kind: type[Exception], may: bool) -> None:
    assert result_of(function, ("ok", 5), "r1") == 5
    with pytest.raises(kind) as caught:
        result_of(function, outcome, "r1")
    assert caught.value.may_have_executed is may  # type: ignore[attr-defined]
    assert caught.value.request_id == "r1"  # type: ignore[attr-defined]


def test_a_stream_is_rejected(function: ClusterFunction) -> None:
    with pytest.raises(ProtocolError):
        function.iterate({}, CallContext())


def test_an_error_of_a_chunk_is_one_of_each_call(function: ClusterFunction) -> None:
    cause = OSError("gone")
    error = TransportError("the worker has died", context={"request_id": "chunk"}, cause=cause)
    for request_id in ("r1", "r2"):
        with pytest.raises(TransportError, match="has died") as caught:
            result_of(function, ("failed", error), request_id)
        assert caught.value.request_id == request_id
        assert caught.value.__cause__ is cause
    assert error.request_id == "chunk"
