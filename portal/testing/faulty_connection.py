"""FaultyConnection: one connection through a FaultProxy."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress

from .._internal.background import logging_errors, start_thread
from .faults import BlackHole, Cut, Direction, HalfOpen, Latency, NetworkFault, Reset, Rewrite, SlowBytes

__all__ = ["FaultyConnection", "shut_down"]

_READ = 65_536
_CONNECT_TIMEOUT = 10.0


class FaultyConnection:
    """One connection of a client and its connection to the server.

    Threads: `run` uses the calling thread and one more; any may call `close`.
    """

    def __init__(
        self,
        client: socket.socket,
        target: tuple[str, int],
        next_fault: Callable[[], NetworkFault | None],
        wait: Callable[[float], bool],
    ) -> None:
        self._client = client
        self._target = target
        self._next_fault = next_fault
        self._wait = wait
        self._server: socket.socket | None = None
        self._fault: NetworkFault | None = None
        self._passed = {"request": 0, "response": 0}  # bytes of the exchange
        self._responded = True  # the next bytes of the client begin an exchange
        self._is_silent = False
        self._closed = False
        self._was_reset = False
        self._lock = threading.Lock()  # guards all of the above

    def run(self) -> None:
        """Pass bytes on in both directions until both have ended."""
        try:
            server = socket.create_connection(self._target, _CONNECT_TIMEOUT)
            server.settimeout(None)
        except OSError:
            self.close()
            self._client.close()
            return
        with self._lock:
            self._server = server
            closed = self._closed
        try:
            if not closed:
                pump = (self._pump, "response", server, self._client)
                responses = start_thread("portal-faults-response", logging_errors, "portal-faults-response", *pump)
                self._pump("request", self._client, server)
                responses.join()
        finally:
            self._client.close()
            server.close()

    def close(self) -> None:
        """Shut both connections down; `run` then returns."""
        with self._lock:
            self._closed = True
            # The thread that resets the client closes it; a shutdown before that would send FIN instead of RST.
            sockets = [self._server] if self._was_reset else [self._client, self._server]
        for sock in sockets:
            if sock is not None:
                shut_down(sock)

    def _pump(self, direction: Direction, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(_READ):
                if not self._pass(direction, data, sink):
                    return
        except OSError:
            self.close()
            return
        if direction == "request" and not self._is_silent:
            try:
                sink.shutdown(socket.SHUT_WR)  # the response may still come
            except OSError:
                self.close()
        elif direction == "request" or not self._is_silent:
            self.close()

    def _pass(self, direction: Direction, data: bytes, sink: socket.socket) -> bool:
        """Apply the fault of the exchange to data and pass it on; return whether the direction continues."""
        with self._lock:
            if direction == "request" and self._responded and not self._is_silent:
                self._fault, self._responded = self._next_fault(), False
                self._passed = {"request": 0, "response": 0}
            if direction == "response":
                self._responded = True
            fault, passed = self._fault, self._passed[direction]
            self._passed[direction] += len(data)
            self._is_silent = self._is_silent or isinstance(fault, BlackHole)
            if self._is_silent:
                return True
        match fault:
            case Latency(duration=duration) if fault.direction == direction and passed == 0:
                self._wait(duration)
            case SlowBytes(interval=interval, size=piece) if fault.direction == direction:
                for start in range(0, len(data), piece):
                    if self._wait(interval):
                        break
                    sink.sendall(data[start : start + piece])
                return True
            case Cut(after=int(after)) if fault.direction == direction:
                if passed + len(data) >= after:
                    sink.sendall(data[: max(0, after - passed)])
                    self._break(reset=isinstance(fault, Reset))
                    return False
            case HalfOpen(after=int(after)) if direction == "response" and passed + len(data) >= after:
                sink.sendall(data[: max(0, after - passed)])
                with self._lock:
                    self._is_silent = True
                return True
            case Rewrite(change=change) if fault.direction == direction:
                data = change(data)
        sink.sendall(data)
        return True

    def _break(self, reset: bool) -> None:
        if reset:
            # A socket that is closed with a linger time of 0 sends RST.
            self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with self._lock:
                self._was_reset = True
                server = self._server
            if server is not None:
                shut_down(server)
            self._client.shutdown(socket.SHUT_RD)  # wakes the thread that reads; sends nothing
            self._client.close()
            return
        self.close()


def shut_down(sock: socket.socket) -> None:
    """Shut a socket down in both directions, unless it is closed."""
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
