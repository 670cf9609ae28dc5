"""A portal with everything around it: authentication, limits, idempotency, caching, middleware; over real sockets."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from portal import (
    AuthenticationError,
    AuthorizationError,
    CallContext,
    CallTimeout,
    Consumer,
    HTTPPortal,
    Identity,
    ProtocolError,
    RateLimitError,
    Service,
    function,
    service,
)
from portal.auth.authenticators import BearerAuth
from portal.auth.credentials import ByAuthority
from portal.auth.scopes import RequireScopes
from portal.cache.response_cache import ResponseCache
from portal.calls.conditional import When
from portal.http.middleware.compression import Compression
from portal.http.middleware.cors import CORS
from portal.http.middleware.request_log import RequestLog
from portal.http.middleware.security_headers import SecurityHeaders
from portal.idempotency.middleware import Idempotency
from portal.limits.rate_limit import RateLimit

WAIT = 10.0
ANN = Identity("ann", scopes=frozenset({"orders"}))
TOKENS = {"t-ann": ANN, "t-bob": "bob"}


def whoami(context: CallContext) -> str:
    assert context.identity is not None
    return context.identity.name


def post(address: Any, body: Any = None, **headers: str | bytes) -> requests.Response:
    return requests.post(str(address), json={} if body is None else body, headers=headers, timeout=WAIT)


def test_the_identity_comes_from_the_credential() -> None:
    with HTTPPortal(auth=BearerAuth(TOKENS)) as portal:
        address = portal.apply(whoami)
        with Consumer(auth="t-ann") as consumer:
            assert consumer.call_at(address) == "ann"
        for auth in (None, "wrong"):
            with Consumer(auth=auth) as consumer, pytest.raises(AuthenticationError):
                consumer.call_at(address)
        rejected = post(address)
        assert rejected.status_code == 401
        assert rejected.headers["WWW-Authenticate"].startswith("Bearer")
        assert rejected.json()["code"] == AuthenticationError.code
        assert "X-Request-ID" in rejected.headers
        # What nobody may call is not told apart from what is not there.
        assert post(f"{portal.base}/nothing").status_code == 401
        assert requests.get(str(address), timeout=WAIT).status_code == 401
        assert portal.stats()["calls"] == 1


def test_a_secret_is_sent_only_to_its_server() -> None:
    seen: list[str | None] = []

    def spy(request: Any) -> Identity:
        seen.append(request.headers.get("authorization"))
        return Identity("anyone")

    with HTTPPortal(auth=spy) as mine, HTTPPortal(auth=spy) as other:
        credential = ByAuthority({f"http://{mine.base.authority}": "t-ann"})
        with Consumer(auth=credential) as consumer:
            for portal in (mine, other):
                assert consumer.call_at(portal.apply(whoami)) == "anyone"
    assert set(seen[:2]) == {"Bearer t-ann"}
    assert set(seen[2:]) == {None}


def test_a_required_scope() -> None:
    with HTTPPortal(auth=BearerAuth(TOKENS), middleware=[RequireScopes("orders")]) as portal:
        address = portal.apply(whoami)
        with Consumer(auth="t-ann") as ann, Consumer(auth="t-bob") as bob:
            assert ann.call_at(address) == "ann"
            with pytest.raises(AuthorizationError, match="orders"):
                bob.call_at(address)


@service(name="shop")
class Shop:
    def refund(self, cents: int) -> int:
        return cents


def test_a_scope_of_a_group_holds_for_http_and_json_rpc() -> None:
    with HTTPPortal(auth=BearerAuth(TOKENS), middleware=[RequireScopes(groups={"shop": ["orders"]})]) as portal:
        portal.apply_service(Shop)
        rejected = post(f"{portal.base}/shop/refund", {"cents": 1}, Authorization="Bearer t-bob")
        assert rejected.status_code == 403
        for method in ("shop.refund", "shop/refund"):
            request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"cents": 1}}
            for token, member in (("t-bob", "error"), ("t-ann", "result")):
                response = post(f"{portal.base}/rpc", request, Authorization=f"Bearer {token}").json()
                assert member in response, response
        batch = [{"jsonrpc": "2.0", "id": n, "method": "shop.refund", "params": [1]} for n in range(3)]
        responses = post(f"{portal.base}/rpc", batch, Authorization="Bearer t-bob").json()
        assert [response["error"]["data"]["status"] for response in responses] == [403] * 3
        assert portal.stats()["failed"] >= 6


@pytest.mark.parametrize(
    "target",
    ["/api/whoami", "//api/whoami", "/api//whoami", "/api/./whoami", "/api/%77hoami", "/API/whoami", "/api/whoami/",
     "/api/whoami?x=1", "/api/../api/whoami", "http://localhost/api/whoami", "/docs/../api/whoami",
     "/openapi.json/../api/whoami", "/api/rpc", "/api", "/docs%2f..%2fapi%2fwhoami", "/api/whoami;x=1",
     "/api/whoami#x"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["POST", "GET", "HEAD", "PUT", "OPTIONS", "BREW"])
def test_no_path_or_method_bypasses_authentication(method: str, target: str) -> None:
    """Whatever the path and the method: without a credential nothing runs and nothing is told of a function."""
    with HTTPPortal(auth=BearerAuth(TOKENS)) as portal:
        portal.apply(whoami)
        with socket.create_connection(("127.0.0.1", portal.port), timeout=WAIT) as sock:
            lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Content-Length: 2"]
            lines += [
                "X-HTTP-Method-Override: POST",
                "X-Forwarded-For: 127.0.0.1",
                "X-Original-URL: /api/whoami",
                "Connection: close",
            ]
            sock.sendall(("\r\n".join(lines) + "\r\n\r\n{}").encode())
            response = b""
            while piece := sock.recv(65536):
                response += piece
        status = int(response.split(b" ", 2)[1])
        assert status in (400, 401, 404, 405, 501) or target.startswith(("/docs", "/openapi"))
        assert b"fingerprint" not in response
        assert portal.stats()["calls"] == 0


def test_a_rate_limit_reports_the_remaining_calls() -> None:
    limit = RateLimit("3/minute", per="identity", algorithm="sliding_window")
    with HTTPPortal(auth=BearerAuth(TOKENS), middleware=[limit]) as portal:
        address = portal.apply(whoami)
        with Consumer(auth="t-ann") as ann, Consumer(auth="t-bob") as bob:
            assert [ann.call_at(address) for _ in range(3)] == ["ann"] * 3
            with pytest.raises(RateLimitError) as caught:
                ann.call_at(address)
            assert 0 < (caught.value.retry_after or 0) <= 120
            assert bob.call_at(address) == "bob"  # each has a limit of its own
        rejected = post(address, Authorization="Bearer t-ann")
        assert rejected.status_code == 429
        assert int(rejected.headers["Retry-After"]) > 0
        assert "r=0" in rejected.headers["RateLimit"]
        allowed = post(address, Authorization="Bearer t-bob")
        assert allowed.status_code == 200
        assert "r=1" in allowed.headers["RateLimit"]


def test_a_forwarded_address_counts_only_from_a_trusted_proxy() -> None:
    for proxies, responses in (((), [200, 429]), (("127.0.0.1",), [200, 200])):
        limit = RateLimit("1/minute", per="client", algorithm="sliding_window")
        with HTTPPortal(middleware=[limit], trusted_proxies=proxies) as portal:
            address = portal.apply(add_one)
            found = [post(address, {"n": 1}, **{"X-Forwarded-For": f"192.0.2.{n}"}).status_code for n in (1, 2)]
            assert found == responses


@pytest.mark.parametrize(("proxies", "peer"), [((), "127.0.0.1"), (("127.0.0.1",), "192.0.2.7")])
def test_authenticators_and_logs_see_the_client_behind_a_trusted_proxy(proxies: tuple[str, ...], peer: str) -> None:
    lines: list[str] = []
    peers: list[str] = []

    def somebody(request: Any) -> Identity:
        peers.append(request.peer)
        return Identity("ann")

    with HTTPPortal(auth=somebody, http_middleware=[RequestLog(lines.append)], trusted_proxies=proxies) as portal:
        address = portal.apply(add_one)
        post(address, {"n": 1}, **{"X-Forwarded-For": "192.0.2.7"})
        post(f"http://127.0.0.1:{portal.port}/api/rpc", {"jsonrpc": "2.0"}, **{"X-Forwarded-For": "192.0.2.7"})
    assert peers == [peer, peer]
    assert [json.loads(line)["peer"] for line in lines] == [peer, peer]


def test_a_rule_without_a_function_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    scopes = RequireScopes(functions={"ad_one": ["admin"], "whoami": ["x"]}, groups={"billing": ["y"]})
    limits = [RateLimit("9/minute", functions=["nothing"]), RateLimit("9/minute", functions=lambda function: True)]

    def own(call: Any, call_next: Any) -> Any:
        return call_next(call)

    own.named = "something else"  # type: ignore[attr-defined]
    with HTTPPortal(auth=BearerAuth(TOKENS), middleware=[scopes, *limits, own]) as portal:
        address = portal.apply(add_one)
        portal.apply(whoami)
        for _ in range(2):
            assert post(address, {"n": 1}, Authorization="Bearer t-ann").status_code == 200
    messages = [record.getMessage() for record in caplog.records if record.name == "portal.http"]
    assert messages == [
        "RequireScopes names ad_one, which is not published here; did you mean add_one?",
        "RequireScopes names billing, which is not published here",
        "RateLimit names nothing, which is not published here",
    ]


def add_one(n: int) -> int:
    return n + 1


def test_an_idempotency_key_runs_a_call_once() -> None:
    ran: list[int] = []
    entered, gate = threading.Event(), threading.Event()

    def charge(cents: int) -> int:
        ran.append(cents)
        entered.set()
        gate.wait(WAIT)
        return len(ran)

    with HTTPPortal(middleware=[Idempotency()]) as portal, Consumer() as consumer:
        address = portal.apply(charge)
        first = consumer.submit_at(address, {"cents": 5}, idempotency_key="k-1")
        assert entered.wait(WAIT)
        second = consumer.submit_at(address, {"cents": 5}, idempotency_key="k-1")
        gate.set()
        assert (first.result(WAIT), second.result(WAIT)) == (1, 1)
        again = post(address, {"cents": 5}, **{"Idempotency-Key": "k-1"})
        assert (again.json(), again.headers["Idempotent-Replayed"]) == (1, "true")
        with pytest.raises(ProtocolError) as caught:
            consumer.call_at(address, {"cents": 6}, idempotency_key="k-1")
        assert caught.value.status == 422
        assert consumer.call_at(address, {"cents": 6}, idempotency_key="k-2") == 2
    assert ran == [5, 6]


def test_a_cacheable_response_is_cached_and_revalidated() -> None:
    ran: list[int] = []

    @function(cacheable=True, idempotent=True)
    def square(n: int) -> dict[str, int]:
        ran.append(n)
        return {"square": n * n}

    with HTTPPortal(max_age=60) as cached, HTTPPortal() as uncached:
        for portal, runs in ((cached, 1), (uncached, 3)):
            ran.clear()
            cache = ResponseCache()
            with Consumer(cache=cache) as consumer:
                address = portal.apply(square)
                for _ in range(3):
                    found = consumer.call_at(address, {"n": 7})
                    assert found == {"square": 49}
                    found["square"] = 0  # the caller's own
            assert len(ran) == runs
            assert cache.stats()["fresh"] == (2 if portal is cached else 0)
        plain = post(address, {"n": 7})
        tag = plain.headers["ETag"]
        same = post(address, {"n": 7}, **{"If-None-Match": tag})
        assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", tag)
        assert post(address, {"n": 8}, **{"If-None-Match": tag}).status_code == 200


def test_all_middleware_works_together(tmp_path: Path) -> None:
    log = tmp_path / "requests.log"
    layers = [
        RequestLog(log, headers=["authorization", "x-note"]),
        SecurityHeaders(),
        CORS(["https://shop.example"]),
        Compression(minimum_size=100),
    ]

    def long(n: int) -> str:
        return "x" * n

    def ticks() -> Iterator[int]:
        yield from range(3)

    with HTTPPortal(auth=BearerAuth(TOKENS), http_middleware=layers) as portal:
        address, stream = portal.apply(long), portal.apply(ticks)
        response = post(
            f"{address}?token=secret",
            {"n": 5000},
            **{"Authorization": "Bearer t-ann", "Origin": "https://shop.example", "X-Note": "a\tb"},
        )
        assert response.json() == "x" * 5000
        assert response.headers["Content-Encoding"] == "gzip"
        assert int(response.headers["Content-Length"]) < 200
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "Strict-Transport-Security" not in response.headers
        assert response.headers["Access-Control-Allow-Origin"] == "https://shop.example"
        assert "Origin" in response.headers["Vary"]
        rejected = post(address, {"n": 5000}, Origin="https://shop.example")
        assert rejected.status_code == 401
        assert rejected.headers["Access-Control-Allow-Origin"] == "https://shop.example"
        assert post(stream, Authorization="Bearer t-ann", Accept="application/x-ndjson").text.split() == ["0", "1", "2"]
        with Consumer(auth="t-ann") as consumer:
            assert consumer.call_at(address, {"n": 3}) == "xxx"
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    by_status = {row["status"]: row for row in rows if row["method"] == "POST"}
    assert by_status[401]["code"] == AuthenticationError.code
    first = next(row for row in rows if row["status"] == 200)
    assert (first["function"], first["identity"], first["path"].partition("?")[2]) == ("long", "ann", "token=***")
    assert first["headers"] == {"authorization": "***", "x-note": "a\tb"}
    assert first["request_bytes"] == 11
    assert first["request_id"]
    assert "t-ann" not in log.read_text()
    assert "secret" not in log.read_text()


def test_the_response_at_a_deadline_has_the_headers_and_one_log_line(tmp_path: Path) -> None:
    gate, left = threading.Event(), threading.Event()
    lines: list[str] = []

    def slow() -> None:
        gate.wait(WAIT)
        left.set()

    with HTTPPortal(http_middleware=[RequestLog(lines.append), CORS("*")]) as portal:
        address = portal.apply(slow)
        late = post(address, Origin="https://a.example", **{"X-Portal-Timeout": "80"})
        assert late.status_code == 504
        assert late.headers["Access-Control-Allow-Origin"] == "*"
        assert late.json()["code"] == CallTimeout.code
        gate.set()
        assert left.wait(WAIT)
    assert [json.loads(line)["status"] for line in lines] == [504]


@pytest.mark.parametrize(
    ("condition", "applies"),
    [
        ({"paths": "/api/add_one"}, True),
        ({"paths": "/api/add"}, False),
        ({"paths": "/api/*_one"}, True),
        ({"methods": "post"}, True),
        ({"methods": "GET"}, False),
        ({"if_": lambda request: request.headers.get("x-note") == "1"}, True),
        ({"paths": "/api", "methods": "GET"}, False),
    ],
)
def test_conditional_requests(condition: dict[str, Any], applies: bool) -> None:
    with HTTPPortal(http_middleware=[When(SecurityHeaders(), **condition)]) as portal:
        portal.apply(add_one)
        response = post(f"{portal.base}/add_one", {"n": 1}, **{"X-Note": "1"})
        assert response.json() == 2
        assert ("X-Frame-Options" in response.headers) is applies


def test_json_rpc_and_documents() -> None:
    with HTTPPortal(auth=BearerAuth(TOKENS)) as portal:
        portal.apply(whoami)
        request = {"jsonrpc": "2.0", "id": 1, "method": "whoami"}
        assert post(f"{portal.base}/rpc", request).status_code == 401
        response = post(f"{portal.base}/rpc", request, Authorization="Bearer t-bob")
        assert response.json() == {"jsonrpc": "2.0", "id": 1, "result": "bob"}
        root = str(portal.base).removesuffix("/api")
        document = requests.get(f"{root}/openapi.json", timeout=WAIT).json()
        assert "/api/whoami" in document["paths"]
        assert document["components"]["securitySchemes"]
        assert requests.get(f"{root}/openrpc.json", timeout=WAIT).json()["methods"]
        assert "swagger" in requests.get(f"{root}/docs/", timeout=WAIT).text.lower()
    with HTTPPortal(documents=False) as bare:
        root = str(bare.base).removesuffix("/api")
        assert requests.get(f"{root}/openapi.json", timeout=WAIT).status_code == 404


@pytest.mark.parametrize(("accept", "status"), [("text/html", 406), ("application/json;q=0", 406), ("*/*;q=0", 406),
    ("application/json", 200), ("text/html, */*;q=0.1", 200), ("application/*", 200)])  # fmt: skip
def test_a_response_that_the_client_does_not_accept(accept: str, status: int) -> None:
    with HTTPPortal() as portal:
        address = portal.apply(add_one)
        assert post(address, {"n": 1}, Accept=accept).status_code == status


def test_allowed_methods() -> None:
    with HTTPPortal() as portal:
        address = str(portal.apply(add_one))
        known = requests.delete(address, timeout=WAIT)
        assert (known.status_code, known.headers["Allow"]) == (405, "GET, HEAD, OPTIONS, POST")
        assert requests.request("QUERY", address, timeout=WAIT).status_code == 405
        assert requests.request("BREW", address, timeout=WAIT).status_code == 501
        with socket.create_connection(("127.0.0.1", portal.port), timeout=WAIT) as sock:
            sock.sendall(b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert sock.recv(1000).startswith(b"HTTP/1.1 204 ")


@pytest.mark.parametrize("key", ["", "a b", "k" * 256, "\xe9"])
def test_a_malformed_idempotency_key_is_rejected_without_idempotency_too(key: str) -> None:
    with HTTPPortal() as portal:
        address = portal.apply(add_one)
        assert post(address, {"n": 1}, **{"Idempotency-Key": key.encode("latin-1")}).status_code == 400
        assert post(address, {"n": 1}, **{"Idempotency-Key": "k" * 255}).status_code == 200


def test_allow_has_the_methods_of_the_path() -> None:
    """RFC 9110 section 10.2.1."""

    def rpc() -> None:
        """In the place of the JSON-RPC endpoint."""

    with HTTPPortal() as portal:
        portal.apply(add_one)
        portal.apply_service(Service("orders", [add_one]))
        base = f"http://127.0.0.1:{portal.port}"
        for path, allow in (
            ("/api/add_one", "GET, HEAD, OPTIONS, POST"),
            ("/api/orders/add_one", "GET, HEAD, OPTIONS, POST"),
            ("/api/rpc", "OPTIONS, POST"),
            ("/api", "GET, HEAD, OPTIONS"),
            ("/api/orders", "GET, HEAD, OPTIONS"),
        ):
            allowed = requests.options(base + path, timeout=WAIT)
            assert (allowed.status_code, allowed.headers["Allow"]) == (204, allow), path
            rejected = requests.put(base + path, timeout=WAIT)
            assert (rejected.status_code, rejected.headers["Allow"]) == (405, allow), path
        for path in ("/openapi.json", "/openrpc.json", "/docs"):
            rejected = requests.options(base + path, timeout=WAIT)
            assert (rejected.status_code, rejected.headers["Allow"]) == (405, "GET, HEAD"), path
        assert requests.get(f"{base}/api/rpc", timeout=WAIT).status_code == 405
        portal.apply(rpc)
        assert requests.get(f"{base}/api/rpc", timeout=WAIT).status_code == 200
        assert requests.options(f"{base}/api/rpc", timeout=WAIT).headers["Allow"] == "GET, HEAD, OPTIONS, POST"


def test_a_cross_origin_body_without_a_json_content_type_is_rejected() -> None:
    """What a browser sends across origins without a preflight must not be taken for a call."""
    with HTTPPortal() as portal:
        address = str(portal.apply(add_one))
        for headers, status in (
            ({"Origin": "https://evil.example"}, 415),
            ({"Origin": "https://evil.example", "Content-Type": "text/plain"}, 415),
            ({}, 200),
        ):
            response = requests.post(address, data=b'{"n":1}', headers=headers, timeout=WAIT)
            assert response.status_code == status
