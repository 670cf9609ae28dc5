"""Listener: one address, many apps by path prefix; connections that wait cost no thread.

A Reactor reads every connection until a request is complete. A RequestScheduler then has the request served: by the
reactor's own thread if that usually takes next to no time, otherwise by a bounded pool of workers.
"""

from __future__ import annotations

import os
import socket
import threading
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from .._internal.at_fork import new_lock
from .._internal.background import failing_loops
from .._internal.closing import run_all
from .._internal.settings import instance, require
from .._internal.settings import port as valid_port
from .._internal.weak_bag import WeakBag
from ..errors import ConfigError
from .config import ServingConfig
from .draining import Draining
from .engine import Engine, build_engine
from .io.sockets import (
    SocketFile,
    bind_free_port,
    is_bound_to_loopback,
    is_unix,
    open_socket,
    socket_file,
    start_listening,
)
from .io.tls import ServerTLS
from .messages.app import App
from .mounted_apps import MountedApps

__all__ = ["Listener"]


class Listener:
    """One listening address, many apps by path prefix.

    Args:
        host: a name or an address to listen on, or "unix:" and the path of a Unix socket.
        port: a number, or 0 for a free port. The attribute `port` has its number after `bind` or `start`.
        config: limits, timeouts and TLS.

    Threads: any thread may mount, start and stop. Fork: the parent continues to serve. The child has no socket of it
        open and may start the listener again.
    """

    # Of all listeners of this process:
    _supervised: ClassVar[bool] = False  # whether they wait for the sockets of a supervisor
    _withheld: ClassVar[int] = 0  # how many threads are in `never_opening_sockets`

    def __init__(self, host: str = "127.0.0.1", port: int = 0, *, config: ServingConfig | None = None) -> None:
        host_ok = isinstance(host, str) and host != "unix:"
        require(host_ok, "listener.host", host, 'a name, an address, or "unix:/path"')
        self.host = host
        self.port = valid_port("listener.port", port)
        self.config = instance("listener.config", config, ServingConfig, optional=True) or ServingConfig()
        self._apps = MountedApps()
        self._adopted: list[socket.socket] = []
        self._bound: socket.socket | None = None  # holds a free port from `bind` to `start`
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()  # guards starting, stopping and mounting
        self._running = False
        self._loopback = False
        self._engine: Engine | None = None  # of the latest start
        self._tls: ServerTLS | None = None
        self._file: SocketFile | None = None  # of a Unix socket that is open
        self.draining = Draining(0.0)  # of the latest start

    # apps

    def mount(self, prefix: str, app: App, *, shared: bool = False) -> None:
        """Serve `app` under a path prefix such as "/api". A path goes to the app with the longest matching prefix.

        Args:
            shared: whether to keep the present app, without an error, if the prefix has one.
        Raises: ConfigError if another app has the prefix.
        """
        with self._lock:
            self._apps.add(prefix, app, shared=shared)

    def unmount(self, app: App) -> int:
        """Stop serving an app, and return how many apps are left."""
        with self._lock:
            self._apps.remove(app)
            return len(self._apps)

    def serves(self, prefix: str) -> bool:
        """Return whether an app is mounted under a path prefix."""
        return self._apps.has(prefix)

    # life

    @property
    def running(self) -> bool:
        """Whether it serves, even if only to finish running calls. False while no thread watches its connections."""
        return self._running and self._engine is not None and not self._engine.reactor.failing

    @property
    def ready(self) -> bool:
        """Whether it takes new calls. False as soon as it drains or stops, and while `failing` names something."""
        return self._running and not self.draining.begun and not self.failing

    @property
    def failing(self) -> list[str]:
        """The names of what must run and does not: its own loop, and loops and pools of this process.

        Each starts again as soon as that is possible. Empty while it does not serve.
        """
        if (engine := self._engine) is None or not self._running:
            return []
        return ["portal-listener", *failing_loops()] if engine.reactor.failing else failing_loops()

    @property
    def loopback(self) -> bool:
        """Whether it was started on loopback addresses only, so that other machines cannot connect."""
        return self._loopback

    @property
    def secure(self) -> bool:
        """Whether it uses TLS."""
        return self.config.tls is not None

    @classmethod
    def supervise(cls) -> None:
        """Let all listeners of this process wait for the sockets of a supervisor from now on.

        `bind` and `start` do nothing before `adopt`.
        """
        cls._supervised = True

    @classmethod
    @contextmanager
    def never_opening_sockets(cls) -> Iterator[None]:
        """Let `bind` and `start` do nothing inside a `with` block, in all threads of this process."""
        with _lock:
            cls._withheld += 1
        try:
            yield
        finally:
            with _lock:
                cls._withheld -= 1

    @property
    def _waits_for_sockets(self) -> bool:
        return self._supervised or self._withheld > 0

    def assign_port(self, number: int) -> None:
        """Set the port that a supervisor has bound, so that addresses have it before `adopt`."""
        self.port = number

    def adopt(self, sockets: Iterable[socket.socket]) -> None:
        """Serve on the listening sockets of a supervisor instead of opening one. Call this before `start`.

        The listener owns the sockets from then on, and closes them.

        Raises: ConfigError if it serves already.
        """
        with self._lock:
            if self._running:
                message = "adopt must be called before start; the listener serves already"
                raise ConfigError(message, path="listener.sockets", expected="adopt before start")
            self._adopted = list(sockets)

    @property
    def adopted(self) -> bool:
        """Whether it has the sockets of a supervisor."""
        return bool(self._adopted)

    def bind(self) -> None:
        """Bind a free port if `port` is 0, so that its number is known. Connections are refused until `start`.

        Raises: TransportError if the host is not an address of this machine.
        """
        with self._lock:
            if self._running or self.port or is_unix(self.host) or self._adopted or self._waits_for_sockets:
                return
            self._bound = bind_free_port(self.host)
            self.port = int(self._bound.getsockname()[1])
            # A portal that publishes and is dropped without `close` gives its port back.
            weakref.finalize(self, self._bound.close).atexit = False
            with _lock:
                _open.add(self)

    def _release_port(self) -> None:
        if self._bound is not None:
            self._bound.close()
            self._bound = None

    def _open_sockets(self) -> list[socket.socket]:
        if self._adopted:
            self._release_port()
            return self._adopted
        if self._bound is not None:
            listening = [start_listening(self._bound, self.config.backlog)]
            self._bound = None
            return listening
        opened = [open_socket(self.host, self.port, self.config.backlog, self.config.socket_mode)]
        self._file = socket_file(self.host)
        return opened

    def start(self) -> None:
        """Bind and serve. Does nothing if it serves already.

        Raises: TransportError if the address is in use or not of this machine; ConfigError for bad certificates.
        """
        with self._lock:
            if self._running or (self._waits_for_sockets and not self._adopted):
                return
            config = self.config
            self._tls = None if config.tls is None else ServerTLS(config.tls)
            sockets = self._open_sockets()
            engine = None
            try:
                self._take_names(sockets)
                engine = self._build(sockets)
                self._engine, self._running, self.draining = engine, True, Draining(config.drain_delay)
                engine.reactor.start()
                with _lock:
                    _open.add(self)
            except BaseException:
                self._engine, self._running = None, False
                self._undo_start(sockets, engine)
                raise

    def _take_names(self, sockets: list[socket.socket]) -> None:
        name = sockets[0].getsockname()
        if isinstance(name, tuple):
            self.port = int(name[1])
            self.host = str(name[0]) if self._adopted else self.host
        self._loopback = all(is_bound_to_loopback(one) for one in sockets)

    def _undo_start(self, sockets: list[socket.socket], engine: Engine | None) -> None:
        """Close what a failed start has opened. The sockets of a supervisor stay open for another attempt."""
        if engine is not None:
            engine.reactor.abort_start()
        if not self._adopted:
            run_all(self._remove_socket_file, *(one.close for one in sockets))

    def _build(self, sockets: list[socket.socket]) -> Engine:
        return build_engine(
            sockets,
            self.config,
            tls=self._tls,
            shared=bool(self._adopted),
            before=(0, 0, 0) if self._engine is None else self._engine.table.open.totals(),
            apps=self._apps,
        )

    def reload_certificates(self) -> None:
        """Read the certificate files again. Open connections keep their certificate. Raises: ConfigError."""
        if self._tls is not None:
            self._tls.reload()

    def stop(self, grace: float | None = None) -> None:
        """Stop accepting, close idle connections, and let running calls finish for `grace` seconds. Then abort them.

        `ready` is False at once. Requests are accepted for `drain_delay` seconds more, unless `grace` is 0. A later one
        on an open connection gets 503. On the sockets of a supervisor, where other processes continue, it is served as
        the last of its connection. A second call does nothing. A worker must not call this.
        """
        if self.running:
            self.draining.wait(at_once=grace == 0)
        with self._lock:
            self._release_port()
            engine = self._engine
            if not self._running or engine is None:
                return
            wait = self.config.grace if grace is None else grace
            try:
                run_all(
                    engine.scheduler.stop,
                    self._remove_socket_file,  # before the socket is closed
                    engine.reactor.stop_accepting,
                    lambda: engine.scheduler.wait_until_idle(wait, engine.reactor.has_unfinished),
                )
            finally:
                self._running = False
                self._adopted = []
                with _lock:
                    _open.discard(self)
                run_all(
                    engine.scheduler.abort_active,
                    engine.reactor.end,
                    lambda: engine.pool.shutdown(wait=True, cancel_futures=True, timeout=0.5),
                )

    def _remove_socket_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.remove()

    def abandon(self) -> None:
        """Close the copies of the parent's sockets in the child of a fork. The parent does not notice."""
        if self._engine is not None:
            self._engine.reactor.abandon()
        self._release_port()
        self._adopted = []
        self._reset()

    def stats(self) -> dict[str, Any]:
        """Return counters of connections, requests, bytes and workers. Takes no lock that serving needs.

        Returns: running, ready, failing (see there), and the counters of `Engine.stats`.
        """
        engine = self._engine
        if engine is None:
            return {"running": False, "ready": False}
        state = {"running": self._running, "ready": self.ready, "failing": self.failing}
        return state | engine.stats()


_lock = new_lock()  # guards the bag below, and the number of threads in `never_opening_sockets`
_open: WeakBag[Listener] = WeakBag()


def _abandon_all() -> None:
    for listener in _open.items():
        listener.abandon()
        _open.discard(listener)


# Otherwise a child would keep the parent's port and connections open.
os.register_at_fork(after_in_child=_abandon_all)
