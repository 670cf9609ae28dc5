"""A proxy that breaks things: between a client and a real server, by a plan that a seed decides."""

from __future__ import annotations

import random
import socket
import struct
import threading
from collections import Counter

__all__ = ["FAULTS", "FaultProxy"]

#: What may happen to one exchange; "nothing" most often.
FAULTS = (
    "nothing",
    "delay",
    "cut before the request",
    "cut within the request",
    "cut after the request",
    "reset after the request",
    "cut within the head",
    "cut within the answer",
    "reset within the answer",
    "answer twice",
    "wrong length, too long",
    "wrong length, too short",
    "garbage",
    "hold",
)
_READ = 65536


class FaultProxy:
    """Listens on a port of its own and passes exchanges on to `port`, one fault each.

    Args:
        port: of the server.
        seed: decides the faults.
        good: share of exchanges to which nothing happens.
        hold: seconds that a held exchange lasts, if nobody closes it before.

    Each exchange has a connection of its own to the server. `close` ends every thread.
    """

    def __init__(self, port: int, seed: int, *, good: float = 0.5, hold: float = 2.0) -> None:
        self._target = port
        self._random = random.Random(seed)
        self._good = good
        self._hold = hold
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self.faults: Counter[str] = Counter()
        self._server = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._server.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._server.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            with self._lock:
                self._open.add(sock)
                self._threads.append(thread)
            thread.start()

    def _plan(self) -> tuple[str, float]:
        with self._lock:
            fault = "nothing" if self._random.random() < self._good else self._random.choice(FAULTS[1:])
            self.faults[fault] += 1
            return fault, self._random.random()

    def _serve(self, client: socket.socket) -> None:
        try:
            while self._exchange(client):
                continue
        except OSError:
            return  # either side has gone, which is what this is about
        finally:
            with self._lock:
                self._open.discard(client)
            client.close()

    def _exchange(self, client: socket.socket) -> bool:
        """One request and its answer; whether the connection goes on."""
        request = _read_message(client)
        if not request:
            return False
        fault, part = self._plan()
        if fault == "cut before the request":
            return False
        with socket.create_connection(("127.0.0.1", self._target), timeout=10) as server:
            if fault == "cut within the request":
                server.sendall(request[: int(len(request) * part)])
                return False
            server.sendall(request)
            if fault == "delay":
                self._stopped.wait(part * 0.1)
            answer = _read_message(server)
        if fault == "cut after the request":
            return False
        if fault == "reset after the request":
            _reset(client)
            return False
        if fault == "hold":
            self._stopped.wait(self._hold)
            return False
        return self._answer(client, answer, fault, part)

    def _answer(self, client: socket.socket, answer: bytes, fault: str, part: float) -> bool:
        head, _, body = answer.partition(b"\r\n\r\n")
        if fault == "cut within the head":
            client.sendall(head[: int(len(head) * part)])
            return False
        if fault in ("cut within the answer", "reset within the answer"):
            client.sendall(answer[: len(head) + 4 + int(len(body) * part)])
            if fault.startswith("reset"):
                _reset(client)
            return False
        if fault == "answer twice":
            client.sendall(answer + answer)
            return True
        if fault.startswith("wrong length"):
            length = len(body) + (7 if fault.endswith("long") else -1)
            client.sendall(_with_length(head, length) + b"\r\n\r\n" + body)
            return not fault.endswith("long")
        if fault == "garbage":
            client.sendall(b"\x00\xffthis is no answer\r\n\r\n" + answer)
            return False
        client.sendall(answer)
        return True

    def close(self) -> None:
        """End it, whatever it is doing."""
        self._stopped.set()
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        with self._lock:
            left = list(self._open)
        for sock in left:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # closed by its thread meanwhile
        for thread in [self._acceptor, *self._threads]:
            thread.join(20)


def _read_message(sock: socket.socket) -> bytes:
    """A whole request or answer with Content-Length; b"" at the end."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(_READ)
        if not piece:
            return b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    wanted = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < wanted:
        piece = sock.recv(_READ)
        if not piece:
            return b""
        body += piece
    return head + b"\r\n\r\n" + body


def _with_length(head: bytes, length: int) -> bytes:
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length:")]
    return b"\r\n".join([*lines, b"Content-Length: %d" % length])


def _reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
