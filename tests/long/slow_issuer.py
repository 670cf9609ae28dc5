"""An issuer of JSON Web Tokens whose keys take two seconds to fetch."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["slow_issuer"]

_DELAY = 2.0
_pause = threading.Event()  # never set


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        _pause.wait(_DELAY)
        body = b'{"keys":[]}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing: clients leave early."""


@contextmanager
def slow_issuer() -> Iterator[str]:
    """Serve in a thread, and return the URL of the keys."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/keys"
        finally:
            server.shutdown()
