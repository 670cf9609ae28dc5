"""Worker: gunicorn manages processes, restarts and reloads, and Portal's listener serves on gunicorn's sockets.

    gunicorn -k portal.serving.gunicorn.Worker -w 2 module:portal

`module:portal` is an HTTPPortal, or a call that makes one (`module:make()`).

| event in gunicorn | action of the worker |
|---|---|
| SIGTERM, reload (HUP), max_requests reached | stops accepting, lets calls finish for graceful_timeout, ends |
| SIGQUIT, SIGINT | ends at once |
| SIGUSR1 | reopens the log files |

Threads, limits and TLS are settings of the portal (ServingConfig). gunicorn's settings for processes, sockets and logs
apply; a setting that this worker ignores is named in a warning. gunicorn's access log does not show the requests.

A worker whose portal does not serve sends no heartbeat. It ends after some seconds, and gunicorn starts another one.
"""

from __future__ import annotations

import os
import select
import socket
import traceback
from collections.abc import Sequence
from time import monotonic
from typing import Any, Protocol

from gunicorn.config import Config
from gunicorn.errors import AppImportError
from gunicorn.workers.base import Worker as BaseWorker

from .._internal.background import logging_errors, restart_lost_loops, start_thread
from ..errors import OverloadedError
from .config import ServingConfig
from .listener import Listener

__all__ = ["Worker"]

_HEARTBEAT = 0.25  # seconds; the log says within a second that the portal does not serve
_MIN_GRACE = 1.0  # seconds for running calls
_MAX_FAILING = 5.0  # seconds after which a worker ends whose portal does not serve
#: The settings that have no effect on this worker, and what has it.
_IGNORED = {
    "threads": "ServingConfig(workers=)",
    "worker_connections": "ServingConfig(connections=)",
    "keepalive": "ServingConfig(idle_timeout=)",
    "limit_request_line": "ServingConfig(max_target=)",
    "limit_request_fields": "ServingConfig(max_headers=)",
    "limit_request_field_size": "ServingConfig(max_head=)",
    "forwarded_allow_ips": "HTTPPortal(trusted_proxies=)",
    "secure_scheme_headers": "HTTPPortal(trusted_proxies=)",
    "proxy_protocol": "a proxy that sends X-Forwarded-For, and HTTPPortal(trusted_proxies=)",
    "proxy_allow_ips": "HTTPPortal(trusted_proxies=)",
    "accesslog": "HTTPPortal(http_middleware=[RequestLog(...)])",
    "access_log_format": "HTTPPortal(http_middleware=[RequestLog(...)])",
    "pre_request": "HTTPPortal(http_middleware=)",
    "post_request": "HTTPPortal(http_middleware=)",
    "ssl_context": "ServingConfig(tls=)",
    "ssl_version": "ServingConfig(tls=)",
    "cert_reqs": "ServingConfig(tls=)",
    "ca_certs": "ServingConfig(tls=)",
    "ciphers": "ServingConfig(tls=)",
    "suppress_ragged_eofs": "no setting, because it concerns gunicorn's own TLS",
    "do_handshake_on_connect": "no setting, because it concerns gunicorn's own TLS",
    "sendfile": "no setting, because responses are not files",
    "root_path": "HTTPPortal(base_path=)",
    "protocol": "no setting, because the portal speaks HTTP/1.1",
    "uwsgi_allow_ips": "no setting, because the portal speaks HTTP/1.1",
    "http_protocols": "no setting, because the portal speaks HTTP/1.1",
    "http2_cleartext": "no setting, because the portal speaks HTTP/1.1",
    "http2_max_concurrent_streams": "no setting, because the portal speaks HTTP/1.1",
    "http2_initial_window_size": "no setting, because the portal speaks HTTP/1.1",
    "http2_max_frame_size": "no setting, because the portal speaks HTTP/1.1",
    "http2_max_header_list_size": "no setting, because the portal speaks HTTP/1.1",
    "permit_obsolete_folding": "no setting, because the portal has its own parser",
    "strip_header_spaces": "no setting, because the portal has its own parser",
    "permit_unconventional_http_method": "no setting, because the portal has its own parser",
    "permit_unconventional_http_version": "no setting, because the portal has its own parser",
    "casefold_http_method": "no setting, because the portal has its own parser",
    "forwarder_headers": "no setting, because the portal has its own parser",
    "header_map": "no setting, because the portal has its own parser",
    "http_parser": "no setting, because the portal has its own parser",
    "asgi_loop": "no setting, because the portal is not an ASGI application",
    "asgi_lifespan": "no setting, because the portal is not an ASGI application",
    "asgi_disconnect_grace_period": "no setting, because the portal is not an ASGI application",
    "websocket_max_message_size": "no setting, because the portal is not an ASGI application",
}


class _Listener(Protocol):
    failing: list[str]
    config: ServingConfig

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
    _failing: Sequence[str] = ()  # what did not run at the last heartbeat
    _failing_since = 0.0

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
        usual = Config().settings
        for name, instead in _IGNORED.items():
            setting = cfg.settings.get(name)  # each release of gunicorn has others
            if setting is not None and setting.get() != usual[name].get():
                option = setting.cli[-1] if setting.cli else name
                log.warning("this worker ignores %s=%r; use %s", option, setting.get(), instead)

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
                "use --worker-class gthread for a WSGI application, or portal.http.host(HTTPPortal(), application)"
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
            self._beat(serves=not self._failing)
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
        return self._check(portal.listener.failing)

    def _check(self, failing: list[str]) -> bool:
        """Log that the portal does not serve, or serves again. Return False when it has not served for long."""
        if failing:
            restart_lost_loops()  # the thread that does this otherwise may be the one that is lost
            now = monotonic()
            if not self._failing:
                self._failing_since = now
                self.log.error("the worker is not ready: failing=%s", ",".join(failing))
            elif now - self._failing_since >= _MAX_FAILING:
                self.log.error("the worker ends, as it does not serve: failing=%s", ",".join(failing))
                return False
        elif self._failing:
            self.log.warning("the worker is ready again")
        self._failing = failing
        return True

    def _beat(self, *, serves: bool = True) -> None:
        """Send a heartbeat and wait. Signals and the reloader end the wait through gunicorn's pipe.

        Args:
            serves: whether to send it.
        """
        if serves:
            self.notify()
        ready, _, _ = select.select([self.PIPE[0]], [], [], min(_HEARTBEAT, self.timeout or _HEARTBEAT))
        if ready:
            os.read(self.PIPE[0], 4096)

    def _end(self, portal: _Served) -> None:
        self.alive = False
        # gunicorn kills the worker after graceful_timeout, in which the delay and running calls must end.
        timeout, delay = float(self.cfg.graceful_timeout), portal.listener.config.drain_delay
        grace = max(_MIN_GRACE, timeout - delay)
        if delay > timeout - _MIN_GRACE:
            self.log.warning("graceful_timeout=%g is too short for drain_delay=%g and running calls", timeout, delay)
        # In a thread, as gunicorn would kill a worker that sends no heartbeat while it stops.
        name = "portal-gunicorn-stop"
        try:
            stopping = start_thread(name, logging_errors, name, portal.stop, grace)
        except OverloadedError:
            logging_errors(name, portal.stop, grace)
            return
        while stopping.is_alive():
            self.notify()
            stopping.join(_HEARTBEAT)


def _files_of(error: Exception) -> list[str]:
    """Return the files of a traceback. The reloader does not watch modules that failed to be imported."""
    return [frame.filename for frame in traceback.extract_tb(error.__traceback__) if os.path.isfile(frame.filename)]


def _is_portal(app: object) -> bool:
    return hasattr(app, "listener") and hasattr(app, "start") and hasattr(app, "stop")
