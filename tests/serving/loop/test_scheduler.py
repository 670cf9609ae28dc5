"""RequestScheduler: requests that wait for a worker, and deadlines that pass meanwhile."""

from __future__ import annotations

import http.client
import json
import re
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import pytest

from portal import ApiKeyAuth, BearerAuth, CallContext, HTTPPortal, Identity, ServingConfig, function
from tests.support.waiting import eventually

WAIT = 10.0


class Server:
    """A portal whose workers are all held by one function until `release`."""

    def __init__(self, auth: Any = None, trusted_proxies: Any = (), **config: Any) -> None:
        self.gate = threading.Event()
        self.ran: list[str] = []
        limits = {"max_running_per_function": 2, "max_running_per_client": 2}
        made = ServingConfig(**({"workers": 2} | limits | config))
        self.portal = HTTPPortal(config=made, auth=auth, trusted_proxies=trusted_proxies)
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

    def client(self, host: str = "127.0.0.1") -> Client:
        """Return a client with a network address of its own."""
        self.clients.append(Client(self.portal.port, host))
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
    def __init__(self, port: int, host: str) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=WAIT, source_address=(host, 0))

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
    spent = 0.02

    def slow(context: CallContext) -> float | None:
        pass_by(spent)
        return context.deadline

    with serving() as server:
        server.portal.apply(function(name="slow", timeout=WAIT)(slow))
        client = server.client()
        client.post("/api/rpc", [message("slow", number) for number in range(3)])
        first, second, third = (row["result"] for row in client.response()[2])
        assert second - first >= spent
        assert third - second >= spent


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


def test_a_call_whose_turn_would_come_after_its_deadline_is_rejected_at_once() -> None:
    with serving() as server:
        engine = server.portal.listener._engine
        assert engine is not None
        engine.scheduler.queue._service_times.note((("function", "mark"),), 1000.0)  # as if calls took so long
        server.hold_all_workers()
        waiting, late = server.client(), server.client()
        waiting.post("/api/mark", {})  # without a deadline it waits
        eventually(lambda: server.stats["waiting"] == 1)
        late.post("/api/mark", {}, X_Portal_Timeout="9000")
        status, headers, problem = late.response()
        assert (status, problem["code"], problem["delivery"]) == (503, "overloaded", "not_sent")
        assert headers["retry-after"] == "1"
        assert server.stats["too_late"] == 1
        server.release()
        assert waiting.response()[0] == 200


def test_a_request_that_waits_for_too_long_gets_503() -> None:
    with serving(max_wait=0.5) as server:
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


# limits of running calls


class Sleepers(Server):
    """A portal with a function of which calls run until `release`, whoever waits for them."""

    def abandon(self, number: int, *, host: str = "127.0.0.1", path: str = "/api/hold", **headers: str) -> list[int]:
        """Make calls that are answered at their deadline; return their statuses."""
        clients = [self.client(host) for _ in range(number)]
        for client in clients:
            client.post(path, {}, X_Portal_Timeout="60", **headers)
        return [client.response()[0] for client in clients]

    def ask(self, path: str, value: Any, *, host: str = "127.0.0.1", **headers: str) -> int:
        client = self.client(host)
        client.post(path, value, **headers)
        return client.response()[0]


@contextmanager
def sleepers(auth: Any = None, **config: Any) -> Iterator[Sleepers]:
    server = Sleepers(auth=auth, **({"workers": 16, "max_running_per_function": None} | config))
    with server.portal:
        try:
            yield server
        finally:
            server.gate.set()
            for client in server.clients:
                client.sock.close()


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 16])
def test_abandoned_calls_leave_workers_for_other_clients(workers: int) -> None:
    with sleepers(workers=workers, max_running_per_client=None) as server:
        assert server.abandon(workers + 4) == [504] * (workers + 4)
        other, same = server.ask("/api/mark", {}, host="127.0.0.2"), server.ask("/api/mark", {})
        again = server.ask("/api/hold", {}, host="127.0.0.3")
        assert not server.gate.is_set()
        assert other == 200
        assert same == (503 if workers <= 2 else 200)
        assert again == 503
        assert server.stats["limited"] > 0


def test_abandoned_calls_of_several_functions_leave_workers_for_other_clients() -> None:
    with sleepers(max_running_per_client=None) as server:
        for name in ("hold2", "hold3"):
            server.portal.apply(function(name=name)(lambda: server.gate.wait(WAIT)))
        for name in ("hold", "hold2", "hold3"):
            server.abandon(8, path=f"/api/{name}")
        assert server.ask("/api/mark", {}) == 503
        assert server.ask("/api/mark", {}, host="127.0.0.2") == 200


@pytest.mark.parametrize(
    "path", ["/api/hold", "/api/hold?version=1", "/api/hold?version=%3E0", "/api/hold@1", "/api/hold@%3E=1"]
)
def test_a_function_is_counted_at_each_of_its_addresses(path: str) -> None:
    with sleepers(max_running_per_client=16) as server:
        server.abandon(6)
        server.abandon(12, path=path, host="127.0.0.2")
        assert server.ask("/api/mark", {}, host="127.0.0.3") == 200


def test_abandoned_calls_of_batches_leave_workers_for_other_clients() -> None:
    with sleepers(max_running_per_client=None) as server:
        clients = [server.client(f"127.0.0.{2 + number % 2}") for number in range(40)]
        for client in clients:
            client.post("/api/rpc", [message("hold", 1)], X_Portal_Timeout="60")
        for client in clients:
            status, _, found = client.response()
            assert status == 504 or found[0]["error"]["code"] in (-32004, -32006)
        assert server.ask("/api/mark", {}, host="127.0.0.4") == 200
        client = server.client("127.0.0.4")
        client.post("/api/rpc", [message("mark", 1)], X_Portal_Timeout="5000")
        assert client.response()[2][0]["result"] == "mark"


def test_batches_without_a_deadline_leave_workers_for_other_functions() -> None:
    with sleepers(max_running_per_client=16) as server:
        clients = [server.client() for _ in range(16)]
        for client in clients:
            client.post("/api/rpc", [message("hold", 1)])
        rejected = [client.response()[2][0]["error"] for client in wait_readable(clients, 3)]
        # The first rejection makes the path look quick, so that the reading thread may take one, which is not counted.
        assert {error["code"] for error in rejected} == {-32006}
        assert server.ask("/api/mark", {}) == 200


def wait_readable(clients: list[Client], number: int) -> list[Client]:
    found: list[Any] = []

    def are_readable() -> bool:
        found[:] = select.select([client.sock for client in clients], [], [], 0)[0]
        return len(found) >= number

    eventually(are_readable)
    return [client for client in clients if client.sock in found]


def test_an_identity_is_one_client_whatever_its_network_and_credentials() -> None:
    tokens = {f"token-{number}": Identity("ann") for number in range(20)} | {"other": Identity("bob")}
    with sleepers(auth=BearerAuth(tokens), max_running_per_function=16, max_running_per_client=12) as server:
        statuses = [
            server.abandon(1, host=f"127.0.0.{2 + number % 3}", Authorization=f"Bearer token-{number}")[0]
            for number in range(16)
        ]
        assert statuses == [504] * 12 + [503] * 4
        assert server.ask("/api/mark", {}, Authorization="Bearer other") == 200  # of the same network
        assert server.ask("/api/mark", {}, Authorization="Bearer token-0") == 503


def test_clients_behind_a_trusted_proxy_are_kept_apart() -> None:
    with sleepers(trusted_proxies=["127.0.0.1"], max_running_per_client=None) as server:
        server.abandon(20, X_Forwarded_For="192.0.2.1")
        assert server.ask("/api/mark", {}, X_Forwarded_For="192.0.2.2") == 200
        assert server.ask("/api/hold", {}, X_Forwarded_For="192.0.2.2") == 503


def test_calls_above_a_limit_wait_and_run_in_their_order() -> None:
    with serving(workers=4, max_running_per_function=1, max_running_per_client=4) as server:
        first, second, third = (server.client() for _ in range(3))
        first.post("/api/hold", {})
        eventually(lambda: server.portal.stats()["running"] == 1)
        second.post("/api/hold", {})
        eventually(lambda: server.stats["waiting"] == 1)
        third.post("/api/mark", {})
        assert third.response()[0] == 200
        assert server.portal.stats()["running"] == 1
        server.gate.set()
        assert (first.response()[0], second.response()[0]) == (200, 200)


@pytest.mark.parametrize("header", ["Cookie", "X_API_Key", "Authorization"])
def test_a_client_has_one_share_of_the_queue_whatever_credentials_it_sends(header: str) -> None:
    """One that was not accepted yet is no identity, and one identity may send it with any other header."""
    auth = [BearerAuth({"ann": "ann", "bob": "bob"}), ApiKeyAuth({"key": "eve"})]
    with serving(workers=2, queue=8, max_running_per_client=1, auth=auth) as server:
        holder = server.client()
        holder.post("/api/hold", {}, Authorization="Bearer ann")
        eventually(lambda: server.portal.stats()["running"] == 1)
        other = server.client("127.0.0.3")
        other.post("/api/hold", {}, Authorization="Bearer bob")
        eventually(lambda: server.portal.stats()["running"] == 2)
        waiting = [server.client() for _ in range(6)]
        for number, client in enumerate(waiting):
            client.post("/api/mark", {}, **({"Authorization": "Bearer ann"} | {header: f"c={number}"}))
        rejected = [client.response()[0] for client in wait_readable(waiting, 2)]
        assert rejected == [503] * 2
        assert server.stats["waiting"] == 4


def test_a_client_fills_only_its_share_of_the_queue() -> None:
    with serving(workers=2, queue=8, max_running_per_client=1) as server:
        holder = server.client()
        holder.post("/api/hold", {})
        eventually(lambda: server.portal.stats()["running"] == 1)
        waiting = [server.client() for _ in range(6)]
        for client in waiting:
            client.post("/api/mark", {})
        rejected = [client.response() for client in wait_readable(waiting, 2)]
        assert [(status, headers["retry-after"]) for status, headers, _ in rejected] == [(503, "1")] * 2
        assert server.stats["waiting"] == 4
        other = server.client("127.0.0.2")
        other.post("/api/mark", {})
        assert other.response()[0] == 200
