"""HTTPTransport, over connections that are scripted."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest

from portal import Address, CallCancelled, CallContext, CallTimeout, HTTPPortal, ProtocolError, TransportError
from portal.http import ClientTLS
from portal.http.client.pool import ConnectionLimits, ConnectionPools
from portal.http.client.request import ClientRequest
from portal.http.client.tls_pool import TLSConnectionPools
from portal.http.client.transport import HTTPTransport
from portal.http.client.urllib3_transport import Urllib3Transport
from portal.network.dial import NotSent, StaleConnection
from portal.network.proxies import Proxies
from tests.support.scripted_transport import ScriptedResponse, request_of


class ScriptedPools(ConnectionPools):
    """Hand out connections whose exchanges have the given outcomes, in turn."""

    def __init__(self, *outcomes: ScriptedResponse | Exception) -> None:
        super().__init__(ConnectionLimits(), {"orders.local": "/run/orders.sock"})
        self.outcomes = list(outcomes)
        self.sent: list[bytes] = []

    def acquire(self, address: Address, deadline: float | None) -> Any:
        return self

    def exchange(self, data: bytes, deadline: float | None, pieces: object = ()) -> ScriptedResponse:
        self.sent.append(data)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def transport_of(pools: ConnectionPools, tls: ClientTLS | None = None) -> HTTPTransport:
    limits, settings = ConnectionLimits(), tls or ClientTLS()
    return HTTPTransport(pools, TLSConnectionPools(limits, settings), Urllib3Transport(limits, settings), Proxies())


def test_a_request_and_its_response() -> None:
    response, request = ScriptedResponse(), request_of()
    pools = ScriptedPools(response)
    assert transport_of(pools).send(request) is response
    assert pools.sent == [request.encode()]


@pytest.mark.parametrize(("repeatable", "sent"), [(True, 2), (False, 1)])
def test_only_a_repeatable_request_is_sent_again_on_a_stale_connection(repeatable: bool, sent: int) -> None:
    pools = ScriptedPools(StaleConnection("closed"), StaleConnection("closed"))
    with pytest.raises(TransportError) as caught:
        transport_of(pools).send(request_of()._replace(repeatable=repeatable))
    assert caught.value.may_have_executed
    assert len(pools.sent) == sent


def test_a_second_attempt_may_succeed() -> None:
    response = ScriptedResponse()
    pools = ScriptedPools(StaleConnection("closed"), response)
    assert transport_of(pools).send(request_of()._replace(repeatable=True)) is response


def test_the_error_of_a_second_attempt_tells_of_the_first() -> None:
    pools = ScriptedPools(StaleConnection("closed"), NotSent("refused"))
    with pytest.raises(TransportError, match="an earlier attempt may have been executed") as caught:
        transport_of(pools).send(request_of()._replace(repeatable=True))
    assert caught.value.may_have_executed
    assert not caught.value.retryable


def cancelled() -> CallContext:
    context = CallContext()
    context.cancel()
    return context


@pytest.mark.parametrize(
    ("context", "error"),
    [(cancelled, CallCancelled), (lambda: CallContext(deadline=monotonic() - 1.0), CallTimeout)],
)
def test_nothing_is_sent_for_a_call_that_is_over(context: Callable[[], CallContext], error: type[Exception]) -> None:
    pools = ScriptedPools()
    with pytest.raises(error):
        transport_of(pools).send(request_of(context=context()))
    assert pools.sent == []


def test_errors_name_the_address() -> None:
    pools = ScriptedPools(ProtocolError("bad head"), ConnectionResetError("reset"))
    for error, words in ((ProtocolError, "add: bad head"), (TransportError, "lost the connection to 127.0.0.1:1")):
        with pytest.raises(error, match=words) as caught:
            transport_of(pools).send(request_of())
        assert (caught.value.address, caught.value.scheme) == ("http://127.0.0.1:1/api/add", "http")


def ready() -> bool:
    return True


def test_the_hint_for_a_portal_of_this_process_that_is_not_started() -> None:
    portal = HTTPPortal()
    address = portal.apply(ready)
    request = ClientRequest("GET", address, None, CallContext())
    with pytest.raises(TransportError, match=r"is not started; use `with portal:` or portal.start\(\)"):
        transport_of(ConnectionPools(ConnectionLimits(), {})).send(request)
    portal.close()


def test_the_identity_of_a_transport() -> None:
    transport = transport_of(ScriptedPools())
    assert transport.identity(Address.parse("http://orders.local/api")) == ("/run/orders.sock",)
    assert transport.identity(Address.parse("http://other.local/api")) == (None,)
    assert transport.identity(Address.parse("https://orders.local/api")) == (None, None)
