"""Acceptor: the listening sockets, for the thread that watches them."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable, Iterator

from .poller import Poller

__all__ = ["Acceptor"]

_log = logging.getLogger("portal.serving")
_AT_ONCE = 64  # connections accepted before the others are looked at again


class Acceptor:
    """Listening sockets.

    Args:
        poller: tells when a connection waits.
        shared: whether other processes listen on these sockets too, and take what waits when this one stops.

    Threads: one at a time, but `abandon` is for the child of a fork.
    """

    def __init__(self, sockets: Iterable[socket.socket], poller: Poller, *, shared: bool) -> None:
        self._open = {sock.fileno(): sock for sock in sockets}
        self._poller = poller
        self._shared = shared
        self._deaf = False  # whether some socket is left alone for a while
        for fd, sock in self._open.items():
            sock.setblocking(False)
            poller.listen(fd)

    def __contains__(self, fd: int) -> bool:
        return fd in self._open

    def accept(self, fd: int) -> Iterator[tuple[socket.socket, str]]:
        """Connections that wait at a socket, and their peers."""
        # Of shared sockets one process must not take all that waits while another is idle.
        return self._accept(fd, 1 if self._shared else _AT_ONCE)

    def _accept(self, fd: int, most: int) -> Iterator[tuple[socket.socket, str]]:
        for _ in range(most):
            try:
                sock, peer = self._open[fd].accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # Out of file descriptors, most likely: the connection stays ready, so trying again at once would spin,
                # and waiting here would hold up all others.
                _log.warning("a connection could not be accepted: %s", error)
                self._poller.forget(fd)
                self._deaf = True
                return
            yield sock, str(peer[0]) if isinstance(peer, tuple) else "unix:"

    def listen_again(self) -> None:
        """Listen on sockets where a connection could not be accepted."""
        if self._deaf:
            self._deaf = False
            for fd in self._open:
                self._poller.forget(fd)
                self._poller.listen(fd)

    def close(self, backlog: int) -> Iterator[tuple[socket.socket, str]]:
        """Close them. Gives what the kernel has accepted already, up to `backlog` each, if nobody else takes it."""
        while self._open:
            fd, sock = next(iter(self._open.items()))
            if not self._shared:
                yield from self._accept(fd, backlog)
            self._poller.forget(fd)
            del self._open[fd]
            sock.close()

    def abandon(self) -> None:
        """In a child process after a fork: close this process's copies."""
        for sock in self._open.values():
            sock.close()
