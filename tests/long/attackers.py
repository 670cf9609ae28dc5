"""Clients that attack a portal from many loopback addresses; they print their figures as a line of JSON.

    python attackers.py '{"port": 8000, "kinds": ["slow_reader", ...], "clients": 200, "seconds": 60, "pause": 0.2}'

The figures are the number of each outcome by kind: a status such as "200", "cut" if the server closed the connection
without a response, or "another's" for a response that belongs to another caller.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from time import monotonic
from typing import Any

MIB = 1024 * 1024
_pause = threading.Event()  # never set


class Client:
    """One attacker with an address of its own."""

    def __init__(self, number: int, port: int, end: float) -> None:
        self.number = number
        self.address = f"127.0.{1 + number // 250}.{1 + number % 250}"
        self.port = port
        self.end = end
        self.turns = count()

    def connect(self, receive_buffer: int | None = None) -> socket.socket:
        sock = socket.socket()
        sock.settimeout(5.0)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.bind((self.address, 0))
        sock.connect(("127.0.0.1", self.port))
        return sock

    def wait(self, seconds: float) -> None:
        _pause.wait(max(0.0, min(seconds, self.end - monotonic())))

    def request(
        self, path: str, body: bytes, *headers: str, method: str = "POST", announced: int | None = None
    ) -> bytes:
        length = len(body) if announced is None else announced
        head = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {length}", *headers, "", ""]
        return "\r\n".join(head).encode() + body

    def call(self, path: str, body: bytes, *headers: str, method: str = "POST") -> str:
        """Send one request and return the outcome."""
        with self.connect() as sock:
            sock.sendall(self.request(path, body, "Connection: close", *headers, method=method))
            return status_of(sock)

    def call_for(self, expected: object, path: str, body: bytes, *headers: str) -> str:
        """Send one request and return the outcome: "another's" for another result than the expected one."""
        with self.connect() as sock:
            sock.sendall(self.request(path, body, "Connection: close", *headers))
            data = b"".join(iter(lambda: sock.recv(65536), b""))
        head, _, result = data.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            return head.split(b" ", 2)[1].decode() if head else "cut"
        return "200" if json.loads(result) == expected else "another's"


def status_of(sock: socket.socket) -> str:
    """Read a response to its end and return its status."""
    data = first = sock.recv(65536)
    while data:
        data = sock.recv(65536)
    return first.split(b" ", 2)[1].decode() if first.startswith(b"HTTP/1.1 ") else "cut"


def slow_reader(client: Client) -> str:
    """Ask for 30 MB or for a stream and read nearly nothing."""
    path, body = ("/api/blob", b'{"size":30000000}') if client.number % 2 else ("/api/ticks", b"{}")
    with client.connect(receive_buffer=4096) as sock:
        sock.sendall(client.request(path, body))
        read = 0
        while monotonic() < client.end and read < 20_000:
            data = sock.recv(100)
            if not data:
                return "cut"
            read += len(data)
            client.wait(0.1)
    return "200"


def sleeper(client: Client) -> str:
    """Leave calls running that were answered at their deadline."""
    return client.call("/api/work", b'{"seconds":30}', "X-Portal-Timeout: 50")


def idle_connections(client: Client) -> str:
    """Hold connections without a request."""
    socks = []
    try:
        while len(socks) < 20:
            socks.append(client.connect())
        client.wait(2.0)
        return "held"
    finally:
        for sock in socks:
            sock.close()


def half_body(client: Client) -> str:
    """Announce a body of 1 MiB and send half of it."""
    with client.connect() as sock:
        sock.sendall(client.request("/api/pay", b" " * (MIB // 2), announced=MIB))
        client.wait(3.0)
        sock.settimeout(0.1)
        try:
            return status_of(sock)
        except TimeoutError:
            return "held"


_BOMBS = [
    gzip.compress(b'{"values":[' + b",".join([b"[]"] * 2_500_000) + b"]}"),
    gzip.compress(b'{"values":[' + b",".join([b"[]"] * 300_000) + b"]}"),
    gzip.compress(b" " * 30_000_000),
]


def gzip_bomb(client: Client) -> str:
    """Send a few kilobytes that become megabytes."""
    return client.call("/api/items", _BOMBS[client.number % len(_BOMBS)], "Content-Encoding: gzip")


def long_method(client: Client) -> str:
    """Call a JSON-RPC method with a name of 1 MB, or ask for a large response by a small batch."""
    call: dict[str, Any] = {"jsonrpc": "2.0", "method": "w" * 900_000, "id": 1}
    batch = [{"jsonrpc": "2.0", "method": "blob", "params": {"size": 5_000_000}, "id": n} for n in range(100)]
    return client.call("/api/rpc", json.dumps(batch if client.number % 2 else call).encode())


def queue_filler(client: Client) -> str:
    """Keep all workers and the queue busy."""
    return client.call("/api/work", b'{"seconds":2}', "X-Portal-Timeout: 1000")


def deep_batch(client: Client) -> str:
    """Run slow calls by one batch."""
    batch = [{"jsonrpc": "2.0", "method": "work", "params": {"seconds": 1.0}, "id": number} for number in range(50)]
    return client.call("/api/rpc", json.dumps(batch).encode(), "X-Portal-Timeout: 2000")


def key_filler(client: Client) -> str:
    """Fill the store of idempotency keys."""
    key = f"{client.number}-{monotonic()}"
    return client.call("/api/pay", b'{"amount":1}', f"Idempotency-Key: {key}")


def path_variants(client: Client) -> str:
    """Reach functions by other spellings of their paths."""
    paths = ("/api//pay", "/api/%70ay", "/api/./pay", "/api/pay#x", "/api/p" + "a" * 8000)
    return client.call(paths[client.number % len(paths)], b'{"amount":1}')


def foreign_host(client: Client) -> str:
    """Send the Host header of a page that was rebound to a loopback address."""
    with client.connect() as sock:
        request = client.request("/api/pay", b'{"amount":1}', "Connection: close")
        sock.sendall(request.replace(b"Host: localhost", b"Host: attacker.example"))
        return status_of(sock)


_COSTLY = [
    b'{"%s!":1}' % (b"a" * 5000),
    b'{"text":"%s"}' % (b"x" * 60_000),
    json.dumps({f"{'a' * 200}{number}!": 1 for number in range(1000)}).encode(),
]


def costly_report(client: Client) -> str:
    """Send values whose report needs regular expressions that take long, on much text."""
    return client.call("/api/store", _COSTLY[client.number % len(_COSTLY)], "X-Portal-Timeout: 1000")


def unknown_key(client: Client) -> str:
    """Send a token whose key the server does not know, so that it asks its slow issuer."""
    head = {"alg": "RS256", "kid": f"{client.number}-{monotonic()}"}
    parts = (json.dumps(one).encode() for one in (head, {"sub": "ann", "aud": "attacked", "exp": 2**40}))
    token = b".".join((*map(base64.urlsafe_b64encode, parts), b"c2ln")).decode().replace("=", "")
    return client.call("/jwt/decline", b"{}", f"Authorization: Bearer {token}")


def password_guess(client: Client) -> str:
    """Guess a password, which the server has to hash."""
    pair = base64.b64encode(f"ann:{client.number}-{monotonic()}".encode()).decode()
    return client.call("/basic/decline", b"{}", f"Authorization: Basic {pair}")


class HostileServer(BaseHTTPRequestHandler):
    """Describes each function by a schema that takes minutes to expand."""

    def do_GET(self) -> None:
        parts: dict[str, Any] = {
            f"d{number}": {"allOf": [{"$ref": f"#/$defs/d{number + 1}"}] * 2} for number in range(30)
        }
        schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/d0"}}, "$defs": {**parts, "d30": {}}}
        body = json.dumps({"name": "f", "version": "1", "input": schema, "output": {}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


_hostile = ThreadingHTTPServer(("127.0.0.1", 0), HostileServer, bind_and_activate=False)


def hostile_schema(client: Client) -> str:
    """Have the server call a server with a schema that takes minutes."""
    body = {"address": f"http://127.0.0.1:{_hostile.server_port}/f{client.number}-{int(monotonic() * 1000)}"}
    return client.call("/api/forward", json.dumps(body).encode(), "X-Portal-Timeout: 2000")


def other_namespace(client: Client) -> str:
    """Use one idempotency key at two portals that share a store."""
    portal, path = ("west", "/west/whose") if next(client.turns) % 2 else ("east", "/api/whose")
    return client.call_for(portal, path, b"{}", f"Idempotency-Key: {client.number}")


def shared_key(client: Client) -> str:
    """Use the idempotency key of callers that have no identity either."""
    body = b'{"amount":%d}' % client.number
    return client.call_for(client.number, "/api/pay", body, "Idempotency-Key: order")


def no_guess(client: Client) -> str:
    """Get 401 by requests without a credential, and from a function that was called with the right one."""
    credential = ["Authorization: Bearer good"] if client.number % 2 else []
    return client.call("/bearer/decline", b"{}", *credential)


KINDS: dict[str, Callable[[Client], str]] = {
    one.__name__: one
    for one in (
        slow_reader,
        sleeper,
        idle_connections,
        half_body,
        gzip_bomb,
        long_method,
        queue_filler,
        deep_batch,
        key_filler,
        path_variants,
        foreign_host,
        costly_report,
        unknown_key,
        password_guess,
        hostile_schema,
        other_namespace,
        shared_key,
        no_guess,
    )
}


def main() -> None:
    settings = json.loads(sys.argv[1])
    # Attackers would be other machines, which take no processor from the server or from the other client. Here they
    # share the processors, so they have the lowest priority. What is measured is what the server does.
    os.nice(19)
    if "hostile_schema" in settings["kinds"]:
        _hostile.server_bind()
        _hostile.server_activate()
        threading.Thread(target=_hostile.serve_forever, daemon=True).start()
    end = monotonic() + settings["seconds"]
    outcomes: Counter[str] = Counter()
    lock = threading.Lock()

    def attack(number: int) -> None:
        kind = settings["kinds"][number % len(settings["kinds"])]
        client = Client(number, settings["port"], end)
        while True:  # at least once, on a busy machine as well
            try:
                outcome = KINDS[kind](client)
            except TimeoutError:
                outcome = "no response"
            except OSError:
                outcome = "cut"
            with lock:
                outcomes[f"{kind} {outcome}"] += 1
            if monotonic() >= end:
                return
            client.wait(settings["pause"])

    threading.stack_size(256 * 1024)
    threads = [threading.Thread(target=attack, args=(number,), daemon=True) for number in range(settings["clients"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(settings["seconds"] + 60.0)
    print(json.dumps(outcomes), flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main()
