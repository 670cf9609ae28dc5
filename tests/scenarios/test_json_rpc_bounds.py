"""JSON-RPC requests that ask for much time and memory: long method names, and batches with long results."""

from __future__ import annotations

import difflib
import io
import json
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from portal import HTTPPortal, ServingConfig

MIB = 1 << 20
LONG_NAMES = [
    "a" * 1_000_000,
    "a." * 500_000,
    "a/" * 500_000,
    "add" + "@" * 900_000,
    "add@" + "1" * 900_000,
    "add@" + "1." * 400_000,
    "orders." + "p" * 900_000,
    "\U0001f40d" * 200_000,
    "." * 1_000_000,
]


@contextmanager
def memory(most: int) -> Iterator[None]:
    """Assert that at most so many bytes are allocated at once."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < most


def item(number: int, method: str = "blob", params: Any = None, **more: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": {} if params is None else params} | more


def post(portal: HTTPPortal, value: Any) -> requests.Response:
    body = json.dumps(value, ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json"}
    return requests.post(f"http://127.0.0.1:{portal.port}/api/rpc", data=body, headers=headers, timeout=60)


def add(a: float, b: float) -> float:
    return a + b


@pytest.mark.parametrize("name", LONG_NAMES, ids=lambda name: f"{name[:8]!r}")
def test_a_long_method_name_costs_little(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[object] = []
    monkeypatch.setattr(difflib.SequenceMatcher, "set_seq1", lambda *given: compared.append(given))
    with HTTPPortal() as portal:
        portal.apply(add)
        for value in (item(1, name), [item(1, name)]):
            with memory(16 * MIB):
                response = post(portal, value)
            found = response.json()
            error = (found[0] if isinstance(found, list) else found)["error"]
            assert error["code"] in (-32601, -32600)
            assert len(response.content) < 1200
    assert len(compared) <= 2


def post_under_wsgi(portal: HTTPPortal, value: Any) -> bytes:
    """Return the body of the response."""
    body = json.dumps(value).encode()
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST", "PATH_INFO": "/api/rpc", "SERVER_NAME": "x", "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1", "CONTENT_LENGTH": str(len(body)), "CONTENT_TYPE": "application/json",
        "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(body),
    }  # fmt: skip
    return b"".join(portal.wsgi(environ, lambda *given: None))  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize("name", ["a" * 1_000_000, "a." * 400_000])
def test_a_long_method_name_costs_little_under_wsgi(name: str) -> None:
    with HTTPPortal(listen=False) as portal:
        portal.apply(add)
        with memory(12 * MIB):
            found = post_under_wsgi(portal, item(1, name))
    assert json.loads(found)["error"]["code"] == -32601
    assert len(found) < 1000


@pytest.mark.parametrize("path", ["/api/" + "a/" * 4000 + "a", "/api/" + "a" * 8000, "/api/x/" + "add" * 2500])
def test_a_long_path_is_not_repeated(path: str) -> None:
    with HTTPPortal() as portal:
        portal.apply(add)
        response = requests.post(f"http://127.0.0.1:{portal.port}{path}", json={}, timeout=30)
        assert response.status_code == 404
        assert len(response.content) < 1000


@contextmanager
def serving_blobs(size: int, calls: list[int], *, listen: bool = True, **limits: int) -> Iterator[HTTPPortal]:
    def blob(number: int = 0) -> str:
        calls.append(number)
        return "x" * size

    with HTTPPortal(config=ServingConfig(**limits), listen=listen) as portal:
        portal.apply(blob)
        yield portal


def test_the_results_of_a_batch_are_bounded() -> None:
    calls: list[int] = []
    with serving_blobs(2 * MIB, calls) as portal:
        batch = [item(number) for number in range(100)]
        post(portal, [item(0)])  # loads what the first request loads
        calls.clear()
        with memory(64 * MIB):  # of server and client, which both have the response as a whole
            response = post(portal, batch)
        assert len(response.content) < 8 * MIB + 100_000
        found = response.json()
        assert [one["id"] for one in found] == list(range(100))
        assert [len(one["result"]) for one in found[:3]] == [2 * MIB] * 3
        assert len(calls) == 4
        assert {one["error"]["code"] for one in found[3:]} == {-32600}
        assert [one["error"]["data"]["delivery"] for one in found[3:]] == ["executed"] + ["not_sent"] * 96
        assert "smaller batch" in found[4]["error"]["data"]["hint"]
        assert portal.stats()["batches_cut"] == 1


def test_the_results_of_a_batch_are_bounded_under_wsgi() -> None:
    calls: list[int] = []
    with serving_blobs(2 * MIB, calls, listen=False) as portal:
        post_under_wsgi(portal, [item(0)])
        calls.clear()
        with memory(48 * MIB):
            data = post_under_wsgi(portal, [item(number) for number in range(100)])
        assert len(data) < 8 * MIB + 100_000
        found = json.loads(data)
        assert [one["id"] for one in found] == list(range(100))
        assert [len(one["result"]) for one in found[:3]] == [2 * MIB] * 3
        assert len(calls) == 4
        assert {one["error"]["code"] for one in found[3:]} == {-32600}
        assert "smaller batch" in found[4]["error"]["data"]["hint"]
        assert portal.stats()["batches_cut"] == 1
        documents = post_under_wsgi(portal, [item(number, "rpc.discover") for number in range(30_000)])
        assert len(documents) < 8 * MIB + 30_000 * 500


def test_notifications_of_a_batch_run_and_a_single_call_has_no_bound() -> None:
    calls: list[int] = []
    with serving_blobs(1000, calls, max_batch_response=2500) as portal:
        batch = [item(number, params=[number]) for number in range(4)]
        notification = {"jsonrpc": "2.0", "method": "blob", "params": [9]}
        found = post(portal, [*batch, notification]).json()
        assert ["result" in one for one in found] == [True, True, False, False]
        assert calls == [0, 1, 2, 9]
    with serving_blobs(10_000, calls, max_batch_response=2500) as portal:
        assert len(post(portal, item(1)).json()["result"]) == 10_000
        assert "error" in post(portal, [item(1)]).json()[0]


def test_batches_of_documents_and_of_long_ids_are_bounded() -> None:
    with HTTPPortal(config=ServingConfig(max_batch_response=20_000)) as portal:
        portal.apply(add)
        response = post(portal, [item(number, "rpc.discover") for number in range(100)])
        assert len(response.content) < 20_000 + 100 * 500
        assert portal.stats()["batches_cut"] == 1
        response = post(portal, [item(1, "add", [1, 2], id="i" * 9000) for _ in range(100)])
        assert len(response.content) < 20_000 + 100 * 9500  # no more than what was sent
        errors = post(portal, [item(1, "nothing", id="i" * 9000) for _ in range(100)])
        assert len(errors.content) < 20_000 + 100 * 9500


def test_a_batch_within_the_bound_is_unchanged() -> None:
    with HTTPPortal() as portal:
        portal.apply(add)
        found = post(portal, [item(number, "add", [number, 1]) for number in range(100)]).json()
        assert [one["result"] for one in found] == [number + 1 for number in range(100)]
        assert portal.stats()["batches_cut"] == 0
