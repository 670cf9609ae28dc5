"""What a hostile user, page or server tries above the parsers; each over real sockets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import requests

from portal import (
    ApiKeyAuth,
    AuthenticationError,
    BasicAuth,
    BearerAuth,
    CallContext,
    CallTimeout,
    Consumer,
    FunctionError,
    HTTPPortal,
    RateLimitError,
    function,
    service,
)
from portal.http import HTTPClient
from portal.http.client import pool
from portal.http.documents import pages as documents
from portal.http.middleware.request_log import RequestLog
from portal.idempotency.middleware import Idempotency
from portal.jsonrpc.openrpc import openrpc_document
from portal.limits.rate_limit import RateLimit
from portal.serving import Request, Response

WAIT = 10.0


class CallCounter:
    """A function that says how often it ran."""

    def __init__(self) -> None:
        self.calls = 0

    def reset(self, to: int = 0) -> int:
        self.calls += 1
        return to


@pytest.fixture
def counter() -> CallCounter:
    return CallCounter()


# pages of other origins, which a browser lets send what needs no preflight (Fetch standard, section 2.2.2)

SIMPLE = [
    ("/api/reset", b"", {}),
    ("/api/reset", b"{}", {}),
    ("/api/reset", b'{"to": 1}', {"Content-Type": "text/plain"}),
    ("/api/reset", b'{"to": 1}', {"Content-Type": "text/plain;charset=UTF-8,application/json"}),
    ("/api/reset", b"", {"Content-Type": "application/x-www-form-urlencoded"}),
    ("/api/rpc", b'{"jsonrpc": "2.0", "method": "reset", "id": 1}', {}),
    ("/api/rpc", b'[{"jsonrpc": "2.0", "method": "reset"}]', {}),
    ("/api/rpc", b'{"jsonrpc": "2.0", "method": "reset", "id": 1}', {"Content-Type": "text/plain"}),
]


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
@pytest.mark.parametrize(("path", "body", "headers"), SIMPLE)
def test_a_cross_origin_request_without_a_preflight_is_rejected(
    counter: CallCounter, path: str, body: bytes, headers: dict[str, str], origin: str
) -> None:
    """The browser adds the credentials it knows: a password, a client certificate."""
    with HTTPPortal(auth=BasicAuth({"ann": "pass"})) as portal:
        portal.apply(function(counter.reset))
        url = f"http://127.0.0.1:{portal.port}{path}"
        request = requests.Request("POST", url, {"Origin": origin, **headers}, data=body, auth=("ann", "pass"))
        prepared = request.prepare()
        if "Content-Type" not in headers:
            prepared.headers.pop("Content-Type", None)
        with requests.Session() as session:
            response = session.send(prepared, timeout=WAIT)
        assert response.status_code == 415
        assert counter.calls == 0


@pytest.mark.parametrize("headers", [{}, {"Origin": "https://shop.example", "Content-Type": "application/json"}])
def test_an_empty_body_needs_no_content_type(counter: CallCounter, headers: dict[str, str]) -> None:
    with HTTPPortal() as portal:
        address = portal.apply(function(counter.reset))
        assert requests.post(str(address), headers=headers, timeout=WAIT).json() == 0


# the same key for two functions that have one name


def shop(name: str, ran: list[str]) -> Any:
    @service(name=name)
    class Shop:
        def charge(self, cents: int) -> str:
            ran.append(name)
            return name

    return Shop()


def test_idempotency_keys_are_scoped_to_service_and_function() -> None:
    ran: list[str] = []
    with HTTPPortal(middleware=[Idempotency()]) as portal, Consumer() as consumer:
        for name in ("east", "west"):
            portal.apply_service(shop(name, ran))
        for _ in range(2):
            for name in ("east", "west"):
                address = portal.base.child(name, "charge")
                assert consumer.call_at(address, {"cents": 1}, idempotency_key="order-17") == name
    assert ran == ["east", "west"]


def test_a_rate_limit_of_a_function_is_scoped_to_its_service() -> None:
    with HTTPPortal(middleware=[RateLimit("1/hour", per="function")]) as portal, Consumer() as consumer:
        for name in ("east", "west"):
            portal.apply_service(shop(name, []))
        for name in ("east", "west"):
            address = portal.base.child(name, "charge")
            assert consumer.call_at(address, {"cents": 1}) == name
            with pytest.raises(RateLimitError):
                consumer.call_at(address, {"cents": 1})


# a refusal that the function itself passed on


def test_an_executed_call_is_not_sent_again_with_another_credential() -> None:
    ran: list[str] = []

    def pay() -> None:
        ran.append("paid")
        raise AuthenticationError("the bank does not know us")

    with HTTPPortal(auth=BearerAuth({"t0ken": "ann"})) as portal:
        address = portal.apply(pay)
        with Consumer(auth=lambda _: "t0ken") as consumer, pytest.raises(AuthenticationError, match="the bank") as info:
            consumer.call_at(address)
    assert ran == ["paid"]
    assert info.value.executed


def test_a_rejected_credential_is_fetched_once_more() -> None:
    given: list[str] = []

    def credential(_: Any) -> str:
        given.append(["old", "new"][min(1, len(given))])
        return given[-1]

    with HTTPPortal(auth=BearerAuth({"new": "ann"})) as portal:
        address = portal.apply(_one)
        with Consumer(auth=credential) as consumer:
            assert consumer.call_at(address) == 1
    assert given[:2] == ["old", "new"]


def _one() -> int:
    return 1


def test_a_credential_that_stays_the_same_is_not_sent_twice() -> None:
    seen: list[str] = []

    def door(request: Any) -> None:
        seen.append(request.method)
        raise AuthenticationError("no")

    with HTTPPortal(auth=door) as portal:
        address = portal.apply(_one)
        with Consumer(auth=lambda _: "t0ken") as consumer, pytest.raises(AuthenticationError):
            consumer.call_at(address)
    assert seen == ["GET"]


# a server that says that its functions are elsewhere


def test_the_functions_of_a_service_are_called_at_the_host_of_the_service() -> None:
    """Whoever describes a service does not decide which other server the caller's credential goes to."""
    requested: list[str] = []

    def spy(request: Request, call_next: Any) -> Response:
        requested.append(request.path)
        response: Response = call_next(request)
        return response

    ran: list[str] = []
    with HTTPPortal(http_middleware=[spy]) as bank:
        bank.apply_service(shop("shop", ran))

        def lie(request: Request, call_next: Any) -> Response:
            response: Response = call_next(request)
            here, there = (str(portal.port).encode() for portal in (evil, bank))
            assert isinstance(response.body, bytes)
            response.body = response.body.replace(b":" + here, b":" + there)
            return response

        with HTTPPortal(http_middleware=[lie]) as evil, HTTPPortal() as client:
            evil.apply_service(shop("shop", ran))
            found = client.resolve_service(evil.base.child("shop"))
            assert found.functions["charge"](cents=1) == "shop"
            where = found.functions["charge"].address
            assert where is not None
            assert where.authority == evil.base.authority
    assert requested == []


# secrets in the log


def test_the_request_log_hides_the_key_at_the_place_the_portal_reads_it() -> None:
    lines: list[str] = []
    auth = [ApiKeyAuth({"s3cret": "ann"}, header="X-Tenant", query="k")]
    with HTTPPortal(auth=auth, http_middleware=[RequestLog(lines.append, headers=["X-Tenant"])]) as portal:
        address = portal.apply(_one)
        assert requests.post(f"{address}?k=s3cret&%6b=s3cret", json={}, timeout=WAIT).status_code == 401
        assert requests.post(f"{address}?x=1&k=s3cret", json={}, timeout=WAIT).json() == 1
        assert requests.post(str(address), json={}, headers={"X-Tenant": "s3cret"}, timeout=WAIT).json() == 1
        assert requests.get(f"{portal.base}/nothing?k=s3cret", timeout=WAIT).status_code == 404
    assert len(lines) == 4
    assert "s3cret" not in "".join(lines)
    assert "x=1" in lines[1]


# what one caller does to another's request


def test_changes_of_a_middleware_do_not_reach_other_requests() -> None:
    """Heads that are equal are read once: one that could be changed would be another client's as well."""
    rejected: list[type[Exception]] = []

    def mark(request: Request, call_next: Any) -> Response:
        try:
            request.headers["x-user"] = "ann"  # type: ignore[index]
        except TypeError as error:
            rejected.append(type(error))
        response: Response = call_next(request)
        return response

    with HTTPPortal(http_middleware=[mark]) as portal:
        address = portal.apply(_one)
        for _ in range(4):
            assert requests.post(str(address), json={}, timeout=WAIT).json() == 1
    assert rejected == [TypeError] * 4


def test_a_function_that_changes_the_claims_changes_its_own_copy() -> None:
    jwt = pytest.importorskip("jwt")
    from portal.auth.jwt.authenticator import JWTAuth

    secret = "k" * 32

    def grow(context: CallContext) -> list[str]:
        assert context.identity is not None
        roles: list[str] = context.identity.claims["roles"]
        roles.append("admin")
        return roles

    token = jwt.encode({"sub": "ann", "roles": ["user"]}, secret, "HS256")
    with HTTPPortal(auth=JWTAuth(key=secret, algorithms=["HS256"], require=[])) as portal, Consumer(auth=token) as ann:
        address = portal.apply(grow)
        assert [ann.call_at(address) for _ in range(3)] == [["user", "admin"]] * 3


# where a path begins


def test_a_base_path_ends_where_a_segment_ends(counter: CallCounter) -> None:
    """`/docs/shut` begins with `/doc`, and is nothing of what is below it."""

    @service(name="s")
    class Door:
        def shut(self) -> int:
            return counter.reset()

    with HTTPPortal(base_path="/doc") as portal:
        portal.apply_service(Door)
        at = f"http://127.0.0.1:{portal.port}"
        assert requests.post(f"{at}/docs/shut", json={}, timeout=WAIT).status_code == 404
        assert counter.calls == 0
        assert requests.post(f"{at}/doc/s/shut", json={}, timeout=WAIT).json() == 0


# what a shared cache may keep


def test_responses_to_credentials_are_not_cached_by_shared_caches(counter: CallCounter) -> None:
    """RFC 9111 section 3.5 keeps shared caches from answers to Authorization, not from those to a key of its own."""
    key = {"X-API-Key": "k3y"}
    with HTTPPortal(auth=ApiKeyAuth({"k3y": "ann"})) as portal:
        address = portal.apply(function(counter.reset))
        for url in (str(address), str(portal.base)):
            response = requests.get(url, headers=key, timeout=WAIT)
            assert response.status_code == 200
            assert "private" in response.headers["Cache-Control"] or "no-store" in response.headers["Cache-Control"]


# what one request may cost


def test_a_batch_makes_the_document_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def counting(*args: Any, **settings: Any) -> dict[str, Any]:
        made.append(1)
        return openrpc_document(*args, **settings)

    monkeypatch.setattr(documents, "openrpc_document", counting)
    batch = [{"jsonrpc": "2.0", "id": number, "method": "rpc.discover"} for number in range(100)]
    with HTTPPortal() as portal:
        portal.apply(_one)
        rpc = str(portal.base.child("rpc"))
        names = [[method["name"] for method in one["result"]["methods"]] for one in post(rpc, batch)]
        assert names == [["_one"]] * 100
        assert len(made) == 1
        portal.apply(shop)
        assert len(post(rpc, batch[:1])[0]["result"]["methods"]) == 2
        assert len(made) == 2


def post(url: str, body: Any) -> Any:
    return requests.post(url, json=body, timeout=WAIT).json()


def test_connections_to_servers_that_are_called_once_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that calls whatever addresses its users give it keeps a bounded number of connections."""
    monkeypatch.setattr(pool, "_MAX_POOLS", 2)
    with ExitStack() as stack:
        servers = [stack.enter_context(HTTPPortal()) for _ in range(5)]
        addresses = [server.apply(_one) for server in servers]
        client = HTTPClient()
        caller = stack.enter_context(HTTPPortal(listen=False, http=client))
        for _ in range(2):
            for address in addresses:
                assert caller.resolve_function(address)() == 1
        assert len(client._transport._pools) == 2


# a function that tries to end the process


class Gone(BaseException):
    """Such as asyncio.CancelledError is."""


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, Gone, GeneratorExit])
def test_any_exception_of_a_function_gets_a_response(kind: type[BaseException]) -> None:
    """argparse ends with SystemExit; what a client can bring about must not cost a worker or a connection."""

    def leave(now: bool) -> int:
        if now:
            raise kind("s3cret")
        return 1

    with HTTPPortal(middleware=[Idempotency()]) as portal, requests.Session() as session:
        address = str(portal.apply(leave))
        for _ in range(50):  # often and quickly enough to be served by the thread that watches
            assert session.post(address, json={"now": False}, timeout=WAIT).json() == 1
        for _ in range(2):
            response = session.post(address, json={"now": True}, headers={"Idempotency-Key": "k"}, timeout=WAIT)
            assert response.status_code == 500
            assert response.json()["code"] == FunctionError.code
            assert response.json()["delivery"] == "executed"
            assert "s3cret" not in response.text
        message = {"jsonrpc": "2.0", "id": 1, "method": "leave", "params": [True]}
        batch = [message, message | {"params": [False]}]
        failed, worked = post(str(portal.base.child("rpc")), batch)
        assert failed["error"]["data"]["code"] == FunctionError.code
        assert worked["result"] == 1
        assert session.post(address, json={"now": False}, timeout=WAIT).json() == 1


def test_any_exception_of_an_item_ends_the_stream_with_a_problem(caplog: pytest.LogCaptureFixture) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise SystemExit(2)

    with HTTPPortal() as portal, Consumer() as consumer:
        stream = consumer.stream_at(portal.apply(items))
        assert next(stream) == 1
        with pytest.raises(FunctionError):
            next(stream)
    assert "SystemExit" in caplog.text


def test_any_exception_of_a_middleware_ends_only_its_connection(caplog: pytest.LogCaptureFixture) -> None:
    def leave(request: Request, call_next: Any) -> Response:
        if request.path.endswith("/nothing"):
            raise SystemExit(2)
        response: Response = call_next(request)
        return response

    with HTTPPortal(http_middleware=[leave]) as portal:
        address = str(portal.apply(_one))
        with pytest.raises(requests.ConnectionError):
            requests.post(f"{portal.base}/nothing", json={}, timeout=WAIT)
        assert requests.post(address, json={}, timeout=WAIT).json() == 1
    assert "SystemExit" in caplog.text


# a server that never answers


@pytest.mark.parametrize("streaming", [False, True])
def test_a_resolved_function_does_not_wait_for_ever(streaming: bool) -> None:
    over = threading.Event()

    def mute() -> int:
        over.wait(WAIT)
        return 1

    def mute_items() -> Iterator[int]:
        yield mute()

    with HTTPPortal() as portal:
        address = portal.apply(mute_items if streaming else mute)
        with Consumer(timeout=0.2) as consumer:
            found = consumer.resolve(address)
            with pytest.raises(CallTimeout):
                next(found()) if streaming else found()
        with HTTPPortal(listen=False, http=HTTPClient(timeout=0.2)) as caller:
            found = caller.resolve_function(address)
            with pytest.raises(CallTimeout):
                next(found.stream()) if streaming else found.submit().result(WAIT)
        over.set()
