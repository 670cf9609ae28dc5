"""No caller gets the response of another, erases its keys or runs its call twice: over HTTP, JSON-RPC and WSGI."""

from __future__ import annotations

import http.client
import io
import json
from collections.abc import Callable
from typing import Any, NamedTuple
from wsgiref.util import setup_testing_defaults

import pytest

from portal import CallContext, Consumer, HTTPPortal, Idempotency
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
