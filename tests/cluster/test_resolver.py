"""DaskResolver: addresses and outcomes, without a cluster."""

from __future__ import annotations

import pytest

pytest.importorskip("distributed", reason="the package distributed is not installed")

from portal import (
    AddressError,
    CallContext,
    Consumer,
    ProtocolError,
)
from portal.address import Address
from portal.cluster.connection import ClusterConnection
from portal.cluster.function import ClusterFunction
from portal.cluster.resolver import DaskResolver
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


def test_a_stream_is_rejected(function: ClusterFunction) -> None:
    with pytest.raises(ProtocolError):
        function.iterate({}, CallContext())
