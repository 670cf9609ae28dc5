"""FaultProxy: a TCP proxy between a client and a server that breaks connections on purpose.

    with FaultProxy(http.port) as proxy:
        proxy.inject(Cut(after=10))                       # every response ends after ten bytes
        consumer.call_at(proxy.through(address), params)  # raises TransportError

    FaultProxy(port, [Latency(0.05), Reset(), BlackHole()], seed=7, share=0.3)    # three exchanges of ten, by seed

The proxy knows no protocol. An exchange is what a client sends and what the server then sends back: the next one begins
with the next bytes of the client. Each exchange has one fault or none.
"""

from __future__ import annotations

import random
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .._internal.background import logging_errors, start_thread
from .._internal.conditions import Event
from .._internal.settings import instance, number, require, whole_number
from ..address import Address
from ..errors import OverloadedError
from .faults import Cut, HalfOpen, NetworkFault, Refuse
from .faulty_connection import FaultyConnection, shut_down

__all__ = ["FaultProxy"]

_END = 10.0  # seconds that the threads have to end


class FaultProxy:
    """Listens on a port of 127.0.0.1 and passes bytes on to a server, with faults.

    It accepts connections from `start` to `close`, or in a `with` block, and refuses them at other times.

    Args:
        target: the server: an address such as "http://127.0.0.1:8080", or a port of 127.0.0.1.
        faults: what may happen to an exchange; the seed chooses among them. Without faults, bytes pass unchanged.
        seed: decides which exchange gets which fault, by the order in which they begin.
        share: the part of exchanges that get a fault, from 0 to 1.

    Attributes:
        port: the port that clients connect to.

    Raises: ConfigError for wrong settings.

    Threads: any. One accepts connections, and two serve each connection.
    """

    def __init__(
        self,
        target: Address | str | int,
        faults: Iterable[NetworkFault] = (),
        *,
        seed: int = 0,
        share: float = 1.0,
    ) -> None:
        self._target = _host_and_port(target)
        self._random = random.Random(whole_number("fault_proxy.seed", seed))
        self._share = number("fault_proxy.share", share, minimum=0, maximum=1)
        self._faults: Sequence[NetworkFault] = _checked(faults)
        self._counts: Counter[str] = Counter()
        self._connections: set[FaultyConnection] = set()
        self._threads: list[threading.Thread] = []
        self._listening: socket.socket | None = None
        self._started = False
        self._lock = threading.Lock()  # guards all of the above
        self._closed = Event()
        self._reserved = _bound_socket(0)  # keeps the port while nothing listens on it
        self.port: int = self._reserved.getsockname()[1]

    def __repr__(self) -> str:
        host, port = self._target
        return f"<FaultProxy 127.0.0.1:{self.port} to {host}:{port}>"

    @property
    def counts(self) -> dict[str, int]:
        """The number of exchanges by the name of their fault; "none" counts those without one."""
        with self._lock:
            return dict(self._counts)

    def through(self, address: Address | str) -> Address:
        """Return the same address at this proxy."""
        found = Address.of(address)
        return Address.parse(str(found).replace(f"//{found.authority}", f"//127.0.0.1:{self.port}", 1))

    def inject(self, *faults: NetworkFault) -> None:
        """Replace the faults; exchanges that have begun keep theirs.

        Raises: ConfigError for what is not a fault, and for `Refuse` beside others.
        """
        checked = _checked(faults)
        with self._lock:
            self._faults = checked
        self._listen()

    def clear(self) -> None:
        """Pass everything on unchanged from now on."""
        self.inject()

    def start(self) -> FaultProxy:
        """Accept connections."""
        with self._lock:
            self._started = True
        self._listen()
        return self

    def close(self) -> None:
        """Close all connections and end the threads. A second call does nothing."""
        self._closed.set()
        self._listen()
        self._reserved.close()
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(_END)

    def __enter__(self) -> FaultProxy:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _listen(self) -> None:
        """Open or close the listening socket as the state asks."""
        with self._lock:
            wanted = self._started and not self._closed.is_set() and not _refuses(self._faults)
            if wanted and self._listening is None:
                self._listening = _bound_socket(self.port)
                try:
                    self._listening.listen(128)
                    self._start_thread(self._accept, self._listening)
                except BaseException:
                    self._listening.close()
                    self._listening = None
                    raise
            if wanted:
                return
            listening, self._listening = self._listening, None
            connections = list(self._connections)
        if listening is not None:
            shut_down(listening)  # wakes the thread that accepts
            listening.close()
        for connection in connections:
            connection.close()

    def _start_thread(self, target: Callable[..., None], *args: Any) -> None:
        thread = start_thread("portal-faults", logging_errors, "portal-faults", target, *args)
        self._threads = [one for one in self._threads if one.is_alive()] + [thread]

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return  # closed
            connection = FaultyConnection(client, self._target, self._next_fault, self._closed.wait)
            with self._lock:
                if self._listening is not listening:
                    client.close()
                    return
                self._connections.add(connection)
                try:
                    self._start_thread(self._serve, connection)
                except OverloadedError:  # the client sees a broken connection, and the next one is accepted
                    self._connections.discard(connection)
                    client.close()

    def _serve(self, connection: FaultyConnection) -> None:
        try:
            connection.run()
        finally:
            with self._lock:
                self._connections.discard(connection)

    def _next_fault(self) -> NetworkFault | None:
        """Choose the fault of an exchange that begins."""
        with self._lock:
            happens = self._random.random() < self._share
            fault = self._random.choice(self._faults) if self._faults and happens else None
            after = getattr(fault, "after", 0)
            if isinstance(after, range):
                after = self._random.choice(after)
            self._counts[fault.name if fault else "none"] += 1
        return _with_after(fault, after)


def _with_after(fault: NetworkFault | None, after: int) -> NetworkFault | None:
    match fault:
        case Cut():
            return type(fault)(after, fault.direction)
        case HalfOpen():
            return HalfOpen(after)
    return fault


def _refuses(faults: Sequence[NetworkFault]) -> bool:
    return any(isinstance(fault, Refuse) for fault in faults)


def _checked(faults: Iterable[NetworkFault]) -> Sequence[NetworkFault]:
    found = tuple(instance("fault_proxy.faults", fault, NetworkFault) for fault in faults)
    alone = len(found) == 1 or not _refuses(found)
    require(alone, "fault_proxy.faults", found, "Refuse alone, or faults without Refuse")
    return found


def _host_and_port(target: Address | str | int) -> tuple[str, int]:
    if isinstance(target, int):
        return "127.0.0.1", whole_number("fault_proxy.target", target, minimum=1, maximum=65_535)
    address = Address.of(target)
    expected = "a port, or an address with a host and a port"
    require(address.host and address.port is not None, "fault_proxy.target", target, expected)
    assert address.port is not None
    return address.host, address.port


def _bound_socket(port: int) -> socket.socket:
    """Return a socket bound to a port of 127.0.0.1 that refuses connections until it listens."""
    sock = socket.socket()
    # Two sockets share the port: one reserves it and never listens, so that it stays ours while nothing does.
    sock.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_REUSEPORT", socket.SO_REUSEADDR), 1)
    sock.bind(("127.0.0.1", port))
    return sock
