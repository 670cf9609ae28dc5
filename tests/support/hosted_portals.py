"""A WebSocketPortal that a WSGI server hosts, over simple-websocket."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from portal import WebSocketPortal
from tests.support.ports import free_port

__all__ = ["hosted_websocket_portal"]

WAIT = 20.0


class _Hosted(WebSocketPortal):
    """Starts and ends the server with itself."""

    _server: Any = None
    _thread: threading.Thread | None = None

    def start(self) -> None:
        if self._server is None:
            serving = pytest.importorskip("werkzeug.serving")
            self._server = serving.make_server("127.0.0.1", self.base.port, self, threaded=True)
            self._server.log = lambda *words: None
            self._server.daemon_threads = True
            self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
            self._thread.start()

    def stop(self, grace: float = 5.0) -> None:
        super().stop(grace)
        server, self._server = self._server, None
        if server is not None and self._thread is not None:
            server.shutdown()
            self._thread.join(WAIT)
            server.server_close()


def hosted_websocket_portal() -> WebSocketPortal:
    """Return a portal that werkzeug serves, with a thread for each connection."""
    return _Hosted(port=free_port(), listen=False)
