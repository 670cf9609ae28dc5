"""Worker: gunicorn manages processes, restarts and reloads, and Portal's listener serves on gunicorn's sockets.

    gunicorn -k portal.serving.gunicorn.Worker -w 2 module:portal

`module:portal` is an HTTPPortal, or a call that makes one (`module:make()`).

| event in gunicorn | action of the worker |
|---|---|
| SIGTERM, reload (HUP), max_requests reached | stops accepting, lets calls finish for graceful_timeout, ends |
| SIGQUIT, SIGINT | ends at once |
| SIGUSR1 | reopens the log files |

Threads, limits and TLS are settings of the portal (ServingConfig). gunicorn's settings for processes, sockets and logs
apply. gunicorn's access log does not show the requests.
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

_HEARTBEAT = 1.0  # seconds


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
        """Let listeners wait for gunicorn's sockets. gunicorn calls this before it imports the portal."""
        Listener.supervise()

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Reject settings that this worker ignores. Raises: RuntimeError, which gunicorn prints before it ends."""
        if cfg.is_ssl:
            raise RuntimeError(
                "this worker does not use gunicorn's certfile and keyfile; set the certificates of the portal with "
                "HTTPPortal(config=ServingConfig(tls=...))"
            )
        if cfg.threads > 1:
            log.warning("this worker ignores --threads; use HTTPPortal(config=ServingConfig(workers=%d))", cfg.threads)

    def load_wsgi(self) -> None:
        """Import the portal. With --reload, an error is logged, and the worker waits until a file changes.

        Raises: AppImportError if it is not a portal, on which gunicorn ends; what the import raises.
        """
        try:
            super().load_wsgi()  # with --reload, gunicorn replaces code with a syntax error by an application
        except Exception as error:
            if self.reloader is None:
                raise
            self.log.exception("%s cannot be loaded", self.cfg.default_proc_name)
            for file in _files_of(error):
                self.reloader.add_extra_file(file)
            self.wsgi = None
        if not _is_portal(self.wsgi) and self.reloader is None:
            raise AppImportError(
                f"the application must be an HTTPPortal, got {type(self.wsgi).__name__}; "
                "use --worker-class gthread for a WSGI application"
            )

    def run(self) -> None:
        """Serve until gunicorn stops this worker, gunicorn's process has ended, or max_requests is reached."""
        portal = self.wsgi
        if portal is None or not _is_portal(portal):
            self.log.error("there is nothing to serve until a file changes")
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
        """Send a heartbeat and wait. Signals and the reloader end the wait through gunicorn's pipe."""
        self.notify()
        ready, _, _ = select.select([self.PIPE[0]], [], [], min(_HEARTBEAT, self.timeout or _HEARTBEAT))
        if ready:
            os.read(self.PIPE[0], 4096)

    def _end(self, portal: _Served) -> None:
        self.alive = False
        grace = float(self.cfg.graceful_timeout)
        # In a thread, as gunicorn would kill a worker that sends no heartbeat while it stops.
        stopping = threading.Thread(target=portal.stop, args=(grace,), name="portal-gunicorn-stop", daemon=True)
        stopping.start()
        while stopping.is_alive():
            self.notify()
            stopping.join(_HEARTBEAT)


def _files_of(error: Exception) -> list[str]:
    """Return the files of a traceback. The reloader does not watch modules that failed to be imported."""
    return [frame.filename for frame in traceback.extract_tb(error.__traceback__) if os.path.isfile(frame.filename)]


def _is_portal(app: object) -> bool:
    return hasattr(app, "listener") and hasattr(app, "start") and hasattr(app, "stop")
