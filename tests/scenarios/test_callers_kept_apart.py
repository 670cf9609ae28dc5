"""No caller gets the response of another, erases its keys or runs its call twice: over HTTP, JSON-RPC and WSGI."""

from __future__ import annotations

import http.client
import io
import json
from collections.abc import Callable
from typing import Any, NamedTuple
from wsgiref.util import setup_testing_defaults

import pytest

from portal import (
    CallContext,
    Consumer,
    Function,
    HTTPPortal,
    Idempotency,
    Identity,
    LocalPortal,
    Service,
    function,
)
from portal.calls.item_key import ItemKey

WAIT = 10.0


class Reply(NamedTuple):
    """The status, the headers by lower-case name, and the JSON body of a response."""

    status: int
    headers: dict[str, str]
    body: Any


Send = Callable[..., Reply]


def over_http(portal: HTTPPortal, path: str, body: Any, *, client: str = "127.0.0.1", **headers: str) -> Reply:
    """Post JSON from a loopback address."""
    connection = http.client.HTTPConnection("127.0.0.1", portal.port, timeout=WAIT, source_address=(client, 0))
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request("POST", f"/api/{path}", json.dumps(body), {"Content-Type": "application/json", **names})
        response = connection.getresponse()
        data = response.read()
    finally:
        connection.close()
    rows = {name.lower(): value for name, value in response.getheaders()}
    return Reply(response.status, rows, json.loads(data) if data else None)


def over_wsgi(portal: HTTPPortal, path: str, body: Any, *, client: str = "127.0.0.1", **headers: str) -> Reply:
    """Post JSON to the portal as a WSGI application."""
    data = json.dumps(body).encode()
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": f"/api/{path}",
        "REMOTE_ADDR": client,
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(data)),
        "wsgi.input": io.BytesIO(data),
        **{f"HTTP_{name.upper()}": value for name, value in headers.items()},
    }
    setup_testing_defaults(environ)
    found: list[Any] = []

    def start(status: str, rows: list[tuple[str, str]], error: Any = None) -> None:
        found[:] = [int(status.split()[0]), {name.lower(): value for name, value in rows}]

    text = b"".join(portal(environ, start))
    return Reply(found[0], found[1], json.loads(text) if text else None)


def over_rpc(portal: HTTPPortal, path: str, body: Any, **settings: Any) -> Reply:
    """Send one call as a JSON-RPC message; return its result, or its error with the HTTP status of its code."""
    message = {"jsonrpc": "2.0", "id": 1, "method": path.replace("/", "."), "params": body}
    reply = over_http(portal, "rpc", message, **settings)
    error = reply.body.get("error")
    return reply._replace(body=reply.body["result"]) if error is None else Reply(0, reply.headers, error["data"])


@pytest.fixture(params=[over_http, over_wsgi, over_rpc])
def send(request: pytest.FixtureRequest) -> Any:
    """Return a function that makes one call of a portal, over each protocol."""
    return request.param


# a key of a batch item is never a single key


def batch(method: str, count: int) -> list[dict[str, Any]]:
    return [{"jsonrpc": "2.0", "id": number, "method": method, "params": {"cents": 5}} for number in range(count)]


def charges(ran: list[str | None]) -> Callable[..., int]:
    def charge(cents: int, context: CallContext) -> int:
        ran.append(context.idempotency_key)
        return len(ran)

    return charge


@pytest.mark.parametrize(
    ("key", "index", "single"),
    [
        ("order", 0, "order.0"),
        ("order", 11, "order.11"),
        ("order.0", 0, "order.0.0"),
        ("o" * 253, 1, "o" * 253 + ".1"),
        ("order", 0, "order"),
        ("order", 1, ItemKey.of("order", 1)),
    ],
)
@pytest.mark.parametrize("post", [over_http, over_wsgi])
def test_a_batch_item_and_a_single_call_never_share_a_key(post: Send, key: str, index: int, single: str) -> None:
    ran: list[str | None] = []
    with HTTPPortal(middleware=[Idempotency()]) as portal:
        portal.apply(charges(ran))
        of_batch = post(portal, "rpc", batch("charge", index + 1), idempotency_key=key)
        assert [one["result"] for one in of_batch.body] == list(range(1, index + 2))
        alone = post(portal, "charge", {"cents": 5}, idempotency_key=single)
        assert (alone.body, alone.headers.get("idempotent-replayed")) == (index + 2, None)
        again = post(portal, "rpc", batch("charge", index + 1), idempotency_key=key)
        assert again.body == of_batch.body
    assert len(ran) == index + 2


def test_a_function_may_pass_the_key_of_its_item_on() -> None:
    """The server that gets it cannot confuse it with a single key either."""
    ran: list[str | None] = []
    with HTTPPortal(middleware=[Idempotency()]) as inner, HTTPPortal() as outer, Consumer() as consumer:
        address = inner.apply(charges(ran))

        def order(cents: int, context: CallContext) -> int:
            found: int = consumer.call_at(address, {"cents": cents}, idempotency_key=context.idempotency_key)
            return found

        outer.apply(order)
        for _ in range(2):
            reply = over_http(outer, "rpc", batch("order", 2), idempotency_key="order")
            assert [one["result"] for one in reply.body] == [1, 2]
        assert over_http(outer, "order", {"cents": 5}, idempotency_key="order.0").body == 3


# callers without identity are their networks


def is_first(send: Send, portal: HTTPPortal, **settings: str) -> bool:
    """Call with the key "k"; return whether the function ran."""
    reply = send(portal, "charge", {"cents": 5}, idempotency_key="k", **settings)
    assert isinstance(reply.body, int)
    return "idempotent-replayed" not in reply.headers


def test_callers_without_identity_do_not_share_keys(send: Send) -> None:
    ran: list[str | None] = []
    with HTTPPortal(middleware=[Idempotency()]) as portal:
        portal.apply(charges(ran))
        assert is_first(send, portal, client="127.0.0.2")
        assert is_first(send, portal, client="127.0.0.3")
        assert not is_first(send, portal, client="127.0.0.2")
        assert not is_first(send, portal, client="127.0.0.3")
    assert len(ran) == 2


def test_an_ipv6_network_is_one_caller() -> None:
    with HTTPPortal(middleware=[Idempotency()]) as portal:
        portal.apply(charges([]))
        assert is_first(over_wsgi, portal, client="2001:db8::1")
        assert not is_first(over_wsgi, portal, client="2001:db8::ffff:2")
        assert is_first(over_wsgi, portal, client="2001:db8:0:1::1")
        assert is_first(over_wsgi, portal, client="192.0.2.1")
        assert not is_first(over_wsgi, portal, client="::ffff:192.0.2.1")


def optional_identity(request: Any) -> Identity | None:
    return Identity(request.headers["x-token"]) if "x-token" in request.headers else None


def test_a_caller_is_its_identity_at_any_address(send: Send) -> None:
    with HTTPPortal(auth=optional_identity, middleware=[Idempotency()]) as portal:
        portal.apply(charges([]))
        for token in ("ann", "network:127.0.0.2", "identity:ann", "None"):
            assert is_first(send, portal, client="127.0.0.2", x_token=token)
            assert not is_first(send, portal, client="127.0.0.3", x_token=token)


def test_an_identity_is_not_a_network() -> None:
    """A middleware may set an identity for some callers only."""

    def identify(call: Any, call_next: Any) -> Any:
        name = call.params["cents"]
        call.context.identity = None if not name else Identity({1: "network:", 2: ""}[name])
        call.params = {"cents": 0}
        return call_next(call)

    ran: list[str | None] = []
    with LocalPortal(middleware=[identify, Idempotency()]) as portal, Consumer([portal]) as consumer:
        address = portal.apply(charges(ran))
        for _ in range(2):
            for number in range(3):
                assert consumer.call_at(address, {"cents": number}, idempotency_key="k") == number + 1
    assert len(ran) == 3


def test_clients_behind_a_trusted_proxy_are_kept_apart(send: Send) -> None:
    with HTTPPortal(middleware=[Idempotency()], trusted_proxies=["127.0.0.2"]) as portal:
        portal.apply(charges([]))
        for client in ("192.0.2.1", "192.0.2.2", "evil, 192.0.2.3"):
            assert is_first(send, portal, client="127.0.0.2", x_forwarded_for=client)
            assert not is_first(send, portal, client="127.0.0.2", x_forwarded_for=client)
        assert not is_first(send, portal, client="127.0.0.2", x_forwarded_for="192.0.2.1, 192.0.2.3")


def test_a_caller_cannot_choose_its_network(send: Send) -> None:
    with HTTPPortal(middleware=[Idempotency()]) as portal:
        portal.apply(charges([]))
        assert is_first(send, portal, client="127.0.0.2")
        assert is_first(send, portal, client="127.0.0.3", x_forwarded_for="127.0.0.2", forwarded="for=127.0.0.2")


def named(value: str) -> Function:
    """Return a function charge, without parameters, that returns the value."""

    @function
    def charge() -> str:
        return value

    return charge


def test_services_of_a_local_portal_do_not_share_keys() -> None:
    with LocalPortal(middleware=[Idempotency()]) as portal, Consumer([portal]) as consumer:
        for name in ("east", "west"):
            portal.apply_service(Service(name, [named(name)]))
        for _ in range(2):
            for name in ("east", "west"):
                assert consumer.call_at(f"local://{name}/charge", idempotency_key="k") == name


def test_a_consumer_does_not_take_the_response_of_another_server() -> None:
    with HTTPPortal() as east, HTTPPortal() as west, Consumer(middleware=[Idempotency()]) as consumer:
        addresses = [east.apply(named("east")), west.apply(named("west"))]
        for _ in range(2):
            assert [consumer.call_at(address, idempotency_key="k") for address in addresses] == ["east", "west"]
