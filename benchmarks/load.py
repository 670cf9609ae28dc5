"""Load on an HTTP server: wrk when it is installed, else a generator in Python in a second process.

The generator (`python -m benchmarks.load URL SECONDS CONNECTIONS HEADERS`) sends the same request again on each
connection as soon as the response is complete. It takes as much of the machine as the server does. So its rates are
lower than wrk's, and the rates of fast servers are closer together.
"""

from __future__ import annotations

import json
import re
import selectors
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from urllib.parse import urlsplit

from .workload import BODY

__all__ = ["has_wrk", "request_rate"]

_SCRIPT = Path(__file__).with_name("post_add.lua")
_RATE = re.compile(r"Requests/sec:\s*([0-9.]+)")
_TROUBLE = re.compile(r"Non-2xx[^\n]*|Socket errors:[^\n]*")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)", re.IGNORECASE)


def has_wrk() -> bool:
    """Return whether wrk is installed."""
    return shutil.which("wrk") is not None


def request_rate(url: str, seconds: int, headers: Mapping[str, str], connections: int = 16) -> float:
    """Return the requests a second; RuntimeError when a response was an error."""
    if has_wrk():
        return _wrk(url, seconds, headers, connections)
    command = [sys.executable, "-m", "benchmarks.load", url, str(seconds), str(connections), json.dumps(dict(headers))]
    done = subprocess.run(
        command, cwd=_SCRIPT.parents[1], capture_output=True, text=True, timeout=seconds + 30, check=False
    )
    if done.returncode:
        raise RuntimeError(f"the load generator failed: {done.stderr[-300:]}")
    return float(json.loads(done.stdout)["rate"])


def _wrk(url: str, seconds: int, headers: Mapping[str, str], connections: int) -> float:
    command = ["wrk", "-t2", f"-c{connections}", f"-d{seconds}s", "-s", str(_SCRIPT), url]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False)
    rate, trouble = _RATE.search(done.stdout), _TROUBLE.search(done.stdout)
    if rate is None or trouble is not None:
        raise RuntimeError(f"wrk: {trouble.group() if trouble else done.stderr.strip() or done.stdout.strip()}")
    return float(rate.group(1))


class _Connection:
    """One connection of the generator, with a request in progress."""

    def __init__(self, host: str, port: int, request: bytes) -> None:
        self.socket = socket.create_connection((host, port), timeout=10.0)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = request
        self._buffer = b""
        self.socket.sendall(request)

    def receive(self) -> int:
        """Read what has arrived; return 1 when a response is complete and the next request was sent, else 0."""
        data = self.socket.recv(65536)
        if not data:
            raise RuntimeError("the server closed a connection")
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return 0
        length = _LENGTH.search(self._buffer, 0, end)
        if not self._buffer.startswith(b"HTTP/1.1 200") or length is None:
            raise RuntimeError(f"the response must be 200 with a length, got {self._buffer[:100]!r}")
        if len(self._buffer) < end + 4 + int(length.group(1)):
            return 0
        self._buffer = b""
        self.socket.sendall(self._request)
        return 1


def _own_rate(url: str, seconds: float, connections: int, headers: Mapping[str, str]) -> float:
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = (
        f"POST {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n{lines}"
        f"Content-Length: {len(BODY)}\r\n\r\n"
    ).encode() + BODY
    completed = 0
    with selectors.DefaultSelector() as selector:
        for _ in range(connections):
            connection = _Connection(host, port, request)
            selector.register(connection.socket, selectors.EVENT_READ, connection)
        started = perf_counter()
        while (elapsed := perf_counter() - started) < seconds:
            for key, _ in selector.select(1.0):
                completed += key.data.receive()
        for key in list(selector.get_map().values()):
            key.data.socket.close()
    return completed / elapsed


def main(url: str, seconds: str, connections: str, headers: str) -> None:
    """Load a server and print the rate; `headers` is a JSON object."""
    print(json.dumps({"rate": _own_rate(url, float(seconds), int(connections), json.loads(headers))}))


if __name__ == "__main__":
    main(*sys.argv[1:])
