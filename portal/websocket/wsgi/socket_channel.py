"""SocketChannel: a connection that a WSGI server has given away, served by the thread that the server gave to it."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable
from math import inf
from time import monotonic

from ..._internal.log import get_logger
from ...calls.client import client_name
from ...context import Identity
from ...serving import Channel, Run, Upgraded
from ...serving.bounds.budget import ByteBudget
from ...serving.bounds.input import InputBudgets
from ...serving.bounds.shares import heaviest
from ...serving.bounds.slow_reader import SlowReader
from ...serving.connections.timeouts import DRAIN_SECONDS
from ...serving.io.output import Output
from ...serving.io.stream import Stream, TLSStream, plain_stream
from ...serving.io.tls import identity_of

__all__ = ["SocketChannel", "SocketChannels"]

_log = get_logger("portal.websocket")
_LOOK = 0.5  # seconds between looks at the time
_LINGER = 0.005


class SocketChannels:
    """The open channels of one application: what they may keep together.

    Args:
        max_output, max_input, max_unknown_input, write_timeout, min_write_rate: see `ServingConfig`.
        run, run_in_worker: have work done, in the thread of the connection if that is quick, or in a worker.

    Threads: any.
    """

    def __init__(
        self,
        *,
        max_output: int,
        max_input: int,
        max_unknown_input: int,
        write_timeout: float,
        min_write_rate: int,
        run: Callable[[], Run],
        run_in_worker: Run,
    ) -> None:
        self.output = ByteBudget(max_output)
        self.inputs = InputBudgets(max_input, max_unknown_input)
        self.write_timeout = write_timeout
        self.min_write_rate = min_write_rate
        self.run = run
        self.run_in_worker = run_in_worker
        self._lock = threading.Lock()  # guards the set, and is held while connections are chosen and cut
        self._open: set[SocketChannel] = set()

    def add(self, channel: SocketChannel) -> None:
        """Note an open channel."""
        with self._lock:
            self._open.add(channel)

    def remove(self, channel: SocketChannel) -> None:
        """Forget a channel that is closed."""
        with self._lock:
            self._open.discard(channel)

    def reduce_output(self, sender: SocketChannel) -> None:
        """Cut the channels with the most output until the rest is within the budget.

        Raises: ConnectionAbortedError if `sender` is cut.
        """
        with self._lock:
            while self.output.is_exceeded and len(self._open) > 1:
                victim = heaviest((one, one.client, one.queued) for one in self._open)
                if victim is None:
                    return
                victim.give_up()
                if victim is sender:
                    raise ConnectionAbortedError("too much output waits for clients")


class SocketChannel(Channel):
    """One connection. It is a `Channel` without a listener.

    Args:
        sock: connected, after the request of the handshake was read.
        peer: network address of the client.
        channels: what it shares with others.

    Threads: `serve` runs in the thread of the WSGI server. The other methods are as those of `Channel`.
    """

    __slots__ = (
        *("_bell", "_bytes_in", "_channels", "_deadline", "_draining", "_identity", "_output", "_paused", "_peer"),
        *("_ring", "_share", "_stream", "client"),
    )

    def __init__(self, sock: socket.socket, peer: str, channels: SocketChannels) -> None:
        self._stream = _stream_of(sock)
        self._identity = identity_of(sock) if isinstance(sock, ssl.SSLSocket) else None
        self._peer = peer
        self.client = client_name(None, peer)
        self._channels = channels
        self._output = Output(
            self._stream,
            SlowReader(channels.write_timeout, channels.min_write_rate),
            channels.output,
            channels.output.limit,
            self._wake,
        )
        self._share = channels.inputs.share(self.client)
        self._bell, self._ring = socket.socketpair()
        self._bell.setblocking(False)
        self._ring.setblocking(False)
        self._deadline = inf
        self._draining = self._paused = False
        self._bytes_in = 0
        self._known = False
        self._arrived = deque()
        self._stopping = []
        self.run_in_worker = channels.run_in_worker

    @property
    def peer(self) -> str:
        return self._peer

    @property
    def secure(self) -> bool:
        return self._stream.secure

    @property
    def identity(self) -> Identity | None:
        return self._identity

    @property
    def queued(self) -> int:
        return self._output.held

    @property
    def bytes_in(self) -> int:
        return self._bytes_in

    @property
    def bytes_out(self) -> int:
        return self._output.sent

    # any thread

    def send(self, data: bytes) -> None:
        if not self._output.write(data):
            self._channels.reduce_output(self)

    def finish(self, last: bytes = b"") -> None:
        try:
            if last:
                self.send(last)
            self._draining = True
            self._output.when_sent(self._shut_writing)
        except OSError:
            self.abort()

    def _shut_writing(self) -> None:
        self._deadline = monotonic() + DRAIN_SECONDS
        self._stream.shut_writing()
        self._wake(False)

    def cut(self, last: bytes) -> None:
        if self._output.replace(last):
            self.finish()
        else:
            self.finish(last)

    def give_up(self) -> None:
        """End the connection, as too much waits for its client."""
        last = b"" if self._draining else self.handler.farewell()
        if last:
            self._output.replace(last)
            self.finish()
        else:
            self.abort()

    def abort(self) -> None:
        self._output.discard()
        self._stream.reset()

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        self._wake(False)

    def admit(self) -> None:
        self._known = True
        self._share.admit()

    def hold_input(self, size: int) -> bool:
        if size:
            return self._share.hold(self, size)
        if self._share.held:
            self._share.release()
            if self._known:
                self._share.admit()
        return True

    def set_deadline(self, moment: float) -> None:
        if not self._draining:
            self._deadline = moment

    def resume_http(self, rest: bytes = b"") -> None:
        raise NotImplementedError("a WSGI server does not take a connection back")

    def _wake(self, pending: bool) -> None:
        try:
            self._ring.send(b"\0")
        except OSError:
            return  # full, so that the thread wakes anyway; or closed

    # the thread of the WSGI server

    def serve(self, take_over: Callable[[Channel], Upgraded], head: bytes) -> None:
        """Send the head of the response, and serve the connection until it ends."""
        self._channels.add(self)
        try:
            self.send(head)
            self.handler = take_over(self)
            try:
                self._loop()
            except OSError as error:
                _log.debug("a connection ended: peer=%s: %s", self._peer, error)
            finally:
                self.handler.lost()
        finally:
            self._channels.remove(self)
            self._output.close()
            self._share.release()
            self._stream.abort()
            self._bell.close()
            self._ring.close()

    def _loop(self) -> None:
        look_at = monotonic() + _LOOK
        while True:
            poll = select.poll()
            poll.register(self._bell.fileno(), select.POLLIN)
            # What the client still sends is read while the connection ends, so that it is not reset.
            events = 0 if self._paused and not self._draining else select.POLLIN
            if self._output.pending:
                events |= select.POLLOUT
            poll.register(self._stream.fileno(), events)
            ready = dict(poll.poll(max(0.0, min(look_at, self._deadline) - monotonic()) * 1000))
            if self._bell.fileno() in ready:
                self._bell.recv(4096)
            found = ready.get(self._stream.fileno(), 0)
            if found & select.POLLOUT and not self._flush():
                return
            if found & ~select.POLLOUT and not self._read():
                return
            self._reject_refused()
            now = monotonic()
            if now >= self._deadline and not self._on_deadline():
                return
            if now >= look_at:
                look_at = now + _LOOK
                complaint = self._output.complaint()
                if complaint is not None:
                    _log.info("a connection is aborted: peer %s: %s", self._peer, complaint)
                    self.abort()
                    return

    def _flush(self) -> bool:
        if not self._output.flush():
            return False
        if not self._output.pending and not self._draining:
            self.handler.writable()
        return True

    def _read(self) -> bool:
        data = self._stream.read_now()
        if data is None:
            return True
        if not data:
            return False
        self._bytes_in += len(data)
        if not self._draining:
            self.put(data)
            self.handler.received(self._channels.run())
        return True

    def _reject_refused(self) -> None:
        for refused in self._channels.inputs.take_refused():
            refused.handler.refused()

    def _on_deadline(self) -> bool:
        if self._draining:
            return False
        self._deadline = inf
        return self.handler.overdue()


def _stream_of(sock: socket.socket) -> Stream:
    if not isinstance(sock, ssl.SSLSocket):
        return plain_stream(sock, _LINGER)
    stream = TLSStream(sock, _LINGER, lambda plain: sock)
    stream.do_handshake()  # it is complete already
    return stream
