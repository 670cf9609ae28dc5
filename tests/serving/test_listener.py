"""The listener when things go wrong around it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

from portal import Consumer, HTTPPortal
from portal.serving import ServingConfig

OUT_OF_FILES = """
import json, resource, socket, threading
from portal import Consumer, HTTPPortal

def add(a: float, b: float) -> float:
    return a + b

portal, consumer = HTTPPortal(), Consumer()
address = portal.apply(add)
before = consumer.call_at(address, {"a": 1, "b": 2})
kept = []
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
try:
    while True:
        kept.append(socket.create_connection(("127.0.0.1", portal.port)))
except OSError:
    pass
during = consumer.call_at(address, {"a": 2, "b": 2}, timeout=10)
for sock in kept:
    sock.close()
with Consumer() as other:
    after = other.call_at(address, {"a": 3, "b": 2}, timeout=10)
print(json.dumps([before, during, after]))
portal.close()
"""


def test_out_of_file_descriptors_it_goes_on_with_the_connections_it_has() -> None:
    done = subprocess.run([sys.executable, "-c", OUT_OF_FILES], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout) == [3.0, 4.0, 5.0]
    assert "could not be accepted" in done.stderr


def add(a: float, b: float) -> float:
    return a + b


def test_slow_heads_cost_no_worker() -> None:
    slow: list[socket.socket] = []
    with HTTPPortal(config=ServingConfig(workers=1, queue=4)) as portal, Consumer() as consumer:
        address = portal.apply(add)
        for _ in range(100):
            slow.append(socket.create_connection(("127.0.0.1", portal.port), timeout=10))
            slow[-1].sendall(b"POST /api/add HTTP/1.1\r\nHos")
        for number in range(50):
            assert consumer.call_at(address, {"a": number, "b": 1}) == number + 1
        assert portal.stats()["listener"]["refused"] == 0
        slow[0].sendall(b"t: x\r\nContent-Length: 13\r\n\r\n")
        slow[0].sendall(b'{"a":1,"b":2}')
        assert slow[0].recv(1000).endswith(b"3.0")
    for sock in slow:
        sock.close()
