"""RequestScheduler: requests that wait for a worker, and deadlines that pass meanwhile."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import pytest

from portal import CallContext, HTTPPortal, ServingConfig, function

WAIT = 10.0


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do; there is no event to wait for."""
    end, pause = monotonic() + WAIT, threading.Event()
    while not condition():
        assert monotonic() < end, "the condition never became true"
        pause.wait(0.002)


class Server:
    """A portal whose workers are all held by one function until `release`."""

    def __init__(self, **config: Any) -> None:
        self.gate = threading.Event()
        self.ran: list[str] = []
        self.portal = HTTPPortal(config=ServingConfig(**({"workers": 2} | config)))
        self.workers = self.portal.listener.config.workers
        self.portal.apply(function(name="hold")(self._hold))
        self.portal.apply(function(name="mark")(self._mark))
        self.portal.apply(function(name="brief", timeout=0.001)(self._mark))
        self.portal.apply(function(name="items")(self._items))
        self.holding: list[Client] = []
        self.clients: list[Client] = []

    def _hold(self) -> bool:
        return self.gate.wait(WAIT)

    def _mark(self, name: str = "mark") -> str:
        self.ran.append(name)
        return name

    def _items(self) -> Iterator[int]:
        self.ran.append("items")
        yield 1

    def client(self) -> Client:
        self.clients.append(Client(self.portal.port))
        return self.clients[-1]

    @property
    def stats(self) -> dict[str, Any]:
        return self.portal.stats()["listener"]

    def hold_all_workers(self) -> None:
        self.holding = [self.client() for _ in range(self.workers)]
        for client in self.holding:
            client.post("/api/hold", {})
        eventually(lambda: self.portal.stats()["running"] == self.workers)

    def release(self) -> None:
        self.gate.set()
        for client in self.holding:
            assert client.response()[0] == 200


class Client:
    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=WAIT)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def post(self, path: str, value: Any, **headers: str) -> None:
        self.send(encode(path, value, **headers))

    def response(self) -> tuple[int, dict[str, str], Any]:
        found = http.client.HTTPResponse(self.sock)
        found.begin()
        body = found.read()
        return found.status, {name.lower(): text for name, text in found.getheaders()}, json.loads(body)


def encode(path: str, value: Any, **headers: str) -> bytes:
    body = json.dumps(value).encode()
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    lines += [f"{name.replace('_', '-')}: {text}" for name, text in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@contextmanager
def serving(**config: Any) -> Iterator[Server]:
    server = Server(**config)
    with server.portal:
        try:
            yield server
        finally:
            server.gate.set()
            for client in server.clients:
                client.sock.close()


def message(method: str, number: int, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def test_a_call_that_expires_in_the_queue_gets_504_and_does_not_run() -> None:
    with serving() as server:
        server.hold_all_workers()
        client = server.client()
        client.post("/api/mark", {}, X_Portal_Timeout="20")
        status, _, problem = client.response()  # while all workers are still busy
        assert not server.gate.is_set()
        assert (status, problem["code"], problem["delivery"]) == (504, "timeout", "not_sent")
        assert server.stats["expired"] == 1
        assert server.stats["waiting"] == 0
        server.release()
        assert server.ran == []


@pytest.mark.parametrize("path", ["/api/brief", "/api/items", "/api/mark"])
def test_a_call_whose_deadline_has_passed_when_a_worker_takes_it_does_not_run(path: str) -> None:
    with serving() as server:
        server.hold_all_workers()
        client = server.client()
        client.post(path, {}, **({} if path == "/api/brief" else {"X_Portal_Timeout": "1"}))
        eventually(lambda: server.stats["waiting"] == 1 or server.stats["expired"] == 1)
        pass_by(0.002)
        server.release()
        status, _, problem = client.response()
        assert (status, problem["code"], problem["delivery"]) == (504, "timeout", "not_sent")
        assert server.ran == []
        assert server.stats["expired"] + server.portal.stats()["expired"] == 1


def pass_by(seconds: float) -> None:
    end = monotonic() + seconds
    eventually(lambda: monotonic() > end)


def test_a_batch_that_expires_in_the_queue_does_not_run() -> None:
    with serving() as server:
        server.hold_all_workers()
        client = server.client()
        client.post("/api/rpc", [message("mark", 1), message("mark", 2)], X_Portal_Timeout="20")
        status, _, problem = client.response()
        assert (status, problem["code"]) == (504, "timeout")
        server.release()
        assert server.ran == []


def test_the_time_in_the_queue_counts_for_the_timeout_of_every_function_of_a_batch() -> None:
    with serving() as server:
        server.hold_all_workers()
        client = server.client()
        client.post("/api/rpc", [message("brief", 1), message("mark", 2, name="second"), message("brief", 3)])
        eventually(lambda: server.stats["waiting"] == 1)
        pass_by(0.002)
        server.release()
        status, _, found = client.response()
        assert status == 200
        assert [row.get("error", {}).get("code", row.get("result")) for row in found] == [-32004, "second", -32004]
        assert server.ran == ["second"]


def test_earlier_calls_of_a_batch_do_not_use_up_the_timeout_of_a_function() -> None:
    with serving() as server:
        server.portal.apply(function(name="slow", timeout=0.1)(lambda: pass_by(0.06) or "done"))
        client = server.client()
        client.post("/api/rpc", [message("slow", number) for number in range(3)])
        assert [row.get("result") for row in client.response()[2]] == ["done"] * 3


def test_a_pipelined_call_that_expires_behind_another_does_not_run() -> None:
    with serving() as server:
        client = server.client()
        client.send(encode("/api/hold", {}) + encode("/api/mark", {}, X_Portal_Timeout="1", Connection="close"))
        eventually(lambda: server.portal.stats()["running"] == 1)
        pass_by(0.002)
        server.gate.set()
        responses = b"".join(iter(lambda: client.sock.recv(65536), b""))
        assert re.findall(rb"HTTP/1.1 (\d+)", responses) == [b"200", b"504"]
        assert server.ran == []


def test_a_deadline_that_passes_while_the_body_arrives() -> None:
    with serving() as server:
        client = server.client()
        head, blank, body = encode("/api/mark", {}, X_Portal_Timeout="1").partition(b"\r\n\r\n")
        client.send(head + blank)
        eventually(lambda: server.stats["bytes_in"] >= len(head))
        pass_by(0.002)
        client.send(body)
        assert client.response()[0] == 504
        assert server.ran == []


def test_a_call_with_time_left_runs_after_its_wait() -> None:
    with serving() as server:
        server.hold_all_workers()
        client = server.client()
        client.post("/api/mark", {}, X_Portal_Timeout="9000")
        eventually(lambda: server.stats["waiting"] == 1)
        server.release()
        assert client.response()[::2] == (200, "mark")
        assert server.stats["expired"] == 0


def test_a_request_that_waits_for_too_long_gets_503() -> None:
    with serving(max_wait=0.01) as server:
        server.hold_all_workers()
        client = server.client()
        client.post("/api/mark", {})
        status, headers, problem = client.response()
        assert (status, problem["code"], problem["delivery"]) == (503, "overloaded", "not_sent")
        assert headers["retry-after"] == "1"
        assert server.stats["waited_too_long"] == 1
        server.release()
        assert server.ran == []


def test_the_deadline_of_a_context_counts_from_the_head() -> None:
    found: list[float] = []

    @function
    def left(context: CallContext) -> None:
        found.append(context.remaining() or 0.0)

    with serving() as server:
        server.portal.apply(left)
        client = server.client()
        head, blank, body = encode("/api/left", {}, X_Portal_Timeout="8000").partition(b"\r\n\r\n")
        client.send(head + blank)
        eventually(lambda: server.stats["bytes_in"] >= len(head))
        pass_by(0.05)
        client.send(body)
        assert client.response()[0] == 200
        assert found[0] < 7.95
