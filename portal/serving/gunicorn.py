"""Worker: gunicorn does processes, restarts and reloads; our own listener serves, on gunicorn's sockets.

    gunicorn -k portal.serving.gunicorn.Worker -w 2 module:portal

`module:portal` is an HTTPPortal with everything applied, or a call that makes one (`module:make()`).

| what gunicorn says | what a worker does |
|---|---|
| SIGTERM, reload (HUP), max_requests reached | accepts no more, finishes what runs within graceful_timeout, ends |
| SIGQUIT, SIGINT | ends at once |
| SIGUSR1 | opens the log files anew |

Threads and limits are the portal's own (ServingConfig), and so is TLS; of gunicorn's settings those about processes,
sockets and logs hold. Requests are not in gunicorn's access log.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import traceback
from collections.abc import Sequence
from typing import Any, Protocol

from gunicorn.errors import AppImportError
from gunicorn.workers.base import Worker as BaseWorker

from .listener import Listener

__all__ = ["Worker"]

_BEAT = 1.0  # seconds between signs of life


class _Listener(Protocol):
    def adopt(self, sockets: Sequence[socket.socket]) -> None: ...
    def stats(self) -> dict[str, Any]: ...


class _Served(Protocol):
    listener: _Listener

    def start(self) -> None: ...
    def stop(self, grace: float = 5.0) -> None: ...


class Worker(BaseWorker):  # type: ignore[misc]  # gunicorn has no types
    """One process of `gunicorn -k portal.serving.gunicorn.Worker`.

    Threads: gunicorn runs it in the process's main thread.
    """

    wsgi: _Served | None

    @classmethod
    def setup(cls) -> None:
        """Called by gunicorn before it imports the portal, whose `apply` must not open a socket of its own."""
        Listener.supervised = True

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Refuse what this worker would leave undone. Raises: RuntimeError, which gunicorn prints as it ends."""
        if cfg.is_ssl:
            raise RuntimeError(
                "gunicorn's certfile and keyfile are not used by this worker: give the portal its certificates, "
                "HTTPPortal(config=ServingConfig(tls=...))"
            )
        if cfg.threads > 1:
            log.warning("--threads does not count here: HTTPPortal(config=ServingConfig(workers=%d))", cfg.threads)

    def load_wsgi(self) -> None:
        """Import the portal. With --reload, what is none, or raises, is logged, and the worker waits for a change.

        Raises: AppImportError, on which gunicorn ends, when it is none; what importing it raises.
        """
        try:
            super().load_wsgi()  # with --reload, what cannot be parsed becomes an application that shows the error
        except Exception as error:
            if self.reloader is None:
                raise
            self.log.exception("%s cannot be loaded", self.cfg.default_proc_name)
            for file in _files_of(error):
                self.reloader.add_extra_file(file)
            self.wsgi = None
        if not _is_portal(self.wsgi) and self.reloader is None:
            raise AppImportError(
                f"{type(self.wsgi).__name__} is no portal with a listener: this worker serves an HTTPPortal; "
                "for a WSGI application there is --worker-class gthread"
            )

    def run(self) -> None:
        """Serve until gunicorn says stop, its process is gone, or max_requests is reached."""
        portal = self.wsgi
        if portal is None or not _is_portal(portal):
            self.log.error("Nothing to serve before a file changes.")
            while self.alive and self.ppid == os.getppid():
                self._beat()
            return
        portal.listener.adopt([getattr(one, "sock", one) for one in self.sockets])
        portal.start()
        while self._goes_on(portal):
            self._beat()
        self._end(portal)

    def _goes_on(self, portal: _Served) -> bool:
        if not self.alive:
            return False
        if self.ppid != os.getppid():
            self.log.info("Parent changed, shutting down: %s", self)
            return False
        if portal.listener.stats().get("requests", 0) >= self.max_requests:
            self.log.info("Autorestarting worker after current requests.")
            return False
        return True

    def _beat(self) -> None:
        """Give a sign of life and wait; signals and the reloader wake it by gunicorn's pipe."""
        self.notify()
        ready, _, _ = select.select([self.PIPE[0]], [], [], min(_BEAT, self.timeout or _BEAT))
        if ready:
            os.read(self.PIPE[0], 4096)

    def _end(self, portal: _Served) -> None:
        self.alive = False
        grace = float(self.cfg.graceful_timeout)
        # In a thread, since gunicorn kills a worker that gives no sign of life for as long as stopping may take.
        stopping = threading.Thread(target=portal.stop, args=(grace,), name="portal-gunicorn-stop", daemon=True)
        stopping.start()
        while stopping.is_alive():
            self.notify()
            stopping.join(_BEAT)


def _files_of(error: Exception) -> list[str]:
    """Files whose change may mend it: no module that failed to be imported is among those that are watched."""
    return [frame.filename for frame in traceback.extract_tb(error.__traceback__) if os.path.isfile(frame.filename)]


def _is_portal(app: object) -> bool:
    return hasattr(app, "listener") and hasattr(app, "start") and hasattr(app, "stop")
