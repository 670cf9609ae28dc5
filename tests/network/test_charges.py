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


def test_listings_count_under_wsgi() -> None:
    statuses: list[str] = []
    with HTTPPortal(listen=False, middleware=[RateLimit("2/hour")]) as portal:
        for _ in range(3):
            environ: dict[str, Any] = {
                "REQUEST_METHOD": "GET", "PATH_INFO": "/api", "SERVER_NAME": "x", "SERVER_PORT": "80",
                "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "192.0.2.1", "wsgi.url_scheme": "http",
                "wsgi.input": io.BytesIO(),
            }  # fmt: skip
            list(portal.wsgi(environ, lambda status, headers, *rest: statuses.append(status[:3])))  # type: ignore[arg-type,return-value]
    assert statuses == ["200", "200", "429"]


def test_a_portal_without_documents_has_no_rpc_discover() -> None:
    request = json.loads(json.dumps(BATCHED | {"method": "rpc.discover"}))
    with HTTPPortal(documents=False) as portal:
        portal.apply(add)
        assert ask(portal, "POST", "/api/rpc", request).json()["error"]["code"] == -32601
        assert ask(portal, "POST", "/api/rpc", [request]).json()[0]["error"]["code"] == -32601
    with HTTPPortal() as portal:
        portal.apply(add)
        assert [one["name"] for one in ask(portal, "POST", "/api/rpc", request).json()["result"]["methods"]] == ["add"]
