"""Requests that run no function count for RateLimit."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
import requests

from portal import HTTPPortal, RateLimit, Service

BATCHED = {"jsonrpc": "2.0", "id": 1}


def add(a: float, b: float) -> float:
    return a + b


def ask(portal: HTTPPortal, method: str, path: str, value: Any = None) -> requests.Response:
    return requests.request(method, f"http://127.0.0.1:{portal.port}{path}", json=value, timeout=30)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api", 200),
        ("HEAD", "/api", 200),
        ("GET", "/api/", 200),
        ("GET", "/api/shop", 200),
        ("GET", "/api/nothing", 404),
        ("POST", "/api/nothing", 404),
        ("POST", "/api/shop/nothing/at/all", 404),
        ("POST", "/api/add@9", 404),
        ("POST", "/api/add?version=x", 404),
        ("GET", "/api/add?version=x", 404),
    ],
)
def test_listings_and_unknown_functions_count(method: str, path: str, status: int) -> None:
    with HTTPPortal(middleware=[RateLimit("2/hour")]) as portal:
        portal.apply(add)
        portal.apply_service(Service("shop", [add]))
        first, second, third = (ask(portal, method, path, {} if method == "POST" else None) for _ in range(3))
        assert first.status_code == second.status_code
        assert first.status_code == status or (status == 404 and 400 <= first.status_code < 429)
        assert first.headers["RateLimit"].startswith('"default";r=1;')
        assert (third.status_code, third.headers["Retry-After"] > "0") == (429, True)
        assert ask(portal, "POST", "/api/add", {"a": 1, "b": 2}).status_code == 429


@pytest.mark.parametrize(
    "method", ["rpc.discover", "nothing", "a" * 1000, "add@9", "add@x", "shop.nothing", "rpc.nothing"]
)
def test_methods_that_run_no_function_count(method: str) -> None:
    with HTTPPortal(middleware=[RateLimit("2/hour")]) as portal:
        portal.apply(add)
        single = ask(portal, "POST", "/api/rpc", BATCHED | {"method": method})
        assert single.headers["RateLimit"].startswith('"default";r=1;')
        batch = ask(portal, "POST", "/api/rpc", [BATCHED | {"method": method}] * 100).json()
        assert [item.get("error", {}).get("code") == -32029 for item in batch] == [False] + [True] * 99
        called = ask(portal, "POST", "/api/rpc", BATCHED | {"method": "add", "params": [1, 2]}).json()
        assert called["error"]["data"]["code"] == "rate_limited"


def test_schemas_and_limits_of_certain_functions_do_not_count() -> None:
    with HTTPPortal(middleware=[RateLimit("1/hour", functions=["add"])]) as portal:
        portal.apply(add)
        assert [ask(portal, "GET", path).status_code for path in ("/api", "/api/add", "/api/x") * 2] == [
            200,
            200,
            404,
        ] * 2
    with HTTPPortal(middleware=[RateLimit("1/hour")]) as portal:
        portal.apply(add)
        assert [ask(portal, "GET", "/api/add").status_code for _ in range(3)] == [200] * 3


def ask_under_wsgi(portal: HTTPPortal, method: str, path: str, value: Any = None) -> tuple[int, dict[str, str], Any]:
    """Return status, headers and body of a response of the application."""
    body = b"" if value is None else json.dumps(value).encode()
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method, "PATH_INFO": path.partition("?")[0], "QUERY_STRING": path.partition("?")[2],
        "SERVER_NAME": "x", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "192.0.2.1",
        "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(body)), "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
    }  # fmt: skip
    started: list[tuple[str, Any]] = []
    pieces = portal.wsgi(environ, lambda status, headers, *rest: started.append((status, headers)))  # type: ignore[arg-type,return-value]
    data = b"".join(pieces)
    ((status, headers),) = started
    return int(status[:3]), {name.lower(): value for name, value in headers}, json.loads(data) if data else None


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api", 200),
        ("GET", "/api/shop", 200),
        ("POST", "/api/nothing", 404),
        ("POST", "/api/shop/nothing/at/all", 404),
        ("POST", "/api/add@9", 404),
        ("GET", "/api/add?version=x", 404),
    ],
)
def test_listings_and_unknown_functions_count_under_wsgi(method: str, path: str, status: int) -> None:
    with HTTPPortal(listen=False, middleware=[RateLimit("2/hour")]) as portal:
        portal.apply(add)
        portal.apply_service(Service("shop", [add]))
        found = [ask_under_wsgi(portal, method, path, {} if method == "POST" else None) for _ in range(3)]
        assert found[0][0] == found[1][0]
        assert found[0][0] == status or (status == 404 and 400 <= found[0][0] < 429)
        assert (found[2][0], found[2][1]["retry-after"] > "0") == (429, True)
        assert ask_under_wsgi(portal, "POST", "/api/add", {"a": 1, "b": 2})[0] == 429


@pytest.mark.parametrize("method", ["rpc.discover", "nothing", "a" * 1000, "add@9", "shop.nothing", "rpc.nothing"])
def test_methods_that_run_no_function_count_under_wsgi(method: str) -> None:
    with HTTPPortal(listen=False, middleware=[RateLimit("2/hour")]) as portal:
        portal.apply(add)
        _, headers, _ = ask_under_wsgi(portal, "POST", "/api/rpc", BATCHED | {"method": method})
        assert headers["ratelimit"].startswith('"default";r=1;')
        _, _, batch = ask_under_wsgi(portal, "POST", "/api/rpc", [BATCHED | {"method": method}] * 100)
        assert [item.get("error", {}).get("code") == -32029 for item in batch] == [False] + [True] * 99
        _, _, called = ask_under_wsgi(portal, "POST", "/api/rpc", BATCHED | {"method": "add", "params": [1, 2]})
        assert called["error"]["data"]["code"] == "rate_limited"


def test_a_portal_without_documents_has_no_rpc_discover_under_wsgi() -> None:
    request = BATCHED | {"method": "rpc.discover"}
    with HTTPPortal(listen=False, documents=False) as portal:
        portal.apply(add)
        assert ask_under_wsgi(portal, "POST", "/api/rpc", request)[2]["error"]["code"] == -32601
        assert ask_under_wsgi(portal, "POST", "/api/rpc", [request])[2][0]["error"]["code"] == -32601
        for path in ("/openapi.json", "/openrpc.json", "/docs"):
            assert ask_under_wsgi(portal, "GET", path)[0] == 404
    with HTTPPortal(listen=False) as portal:
        portal.apply(add)
        _, _, found = ask_under_wsgi(portal, "POST", "/api/rpc", request)
        assert [one["name"] for one in found["result"]["methods"]] == ["add"]


def test_a_portal_without_documents_has_no_rpc_discover() -> None:
    request = json.loads(json.dumps(BATCHED | {"method": "rpc.discover"}))
    with HTTPPortal(documents=False) as portal:
        portal.apply(add)
        assert ask(portal, "POST", "/api/rpc", request).json()["error"]["code"] == -32601
        assert ask(portal, "POST", "/api/rpc", [request]).json()[0]["error"]["code"] == -32601
    with HTTPPortal() as portal:
        portal.apply(add)
        assert [one["name"] for one in ask(portal, "POST", "/api/rpc", request).json()["result"]["methods"]] == ["add"]
