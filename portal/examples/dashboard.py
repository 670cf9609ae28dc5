"""A live dashboard: a page that shows the load of this machine as it changes.

    python -m portal.examples.dashboard

The page gets the last minute as a snapshot and each new value as an event. It uses /portal.js, so it comes back by
itself when the server was away.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import time

from portal import WebSocketPortal
from portal.serving import Request, Response

__all__ = ["Dashboard", "Sample", "main", "read_load"]

_POINTS = 60
_PAGE = Path(__file__).with_suffix(".html")


@dataclass
class Sample:
    """The load at one moment."""

    at: float
    load: float


def read_load() -> float:
    """Return the number of processes that run or wait to run, averaged over a minute."""
    return os.getloadavg()[0]


class Dashboard:
    """Serves the page and the topic `load`.

    Args:
        host, port: where to listen.
        read: returns the present value.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, *, read: Callable[[], float] = read_load) -> None:
        self._read = read
        self._points: deque[Sample] = deque(maxlen=_POINTS)
        self.portal = WebSocketPortal(host, port, title="Dashboard")
        self.load = self.portal.topic("load", item=Sample, slow="drop_oldest", snapshot=self._snapshot)
        self.portal.listener.mount("/dashboard", self)

    def handle(self, request: Request) -> Response:
        """Return the page; see `portal.serving.App`."""
        if request.method not in ("GET", "HEAD"):
            return Response(405, [("Allow", "GET, HEAD")])
        return Response(200, [("Content-Type", "text/html; charset=utf-8")], _PAGE.read_bytes())

    def _snapshot(self) -> list[dict[str, float]]:
        return [{"at": point.at, "load": point.load} for point in list(self._points)]

    def publish(self) -> None:
        """Publish the present value."""
        point = Sample(round(time(), 3), round(self._read(), 2))
        self._points.append(point)
        self.load.publish(point)

    def __enter__(self) -> str:
        self.portal.start()
        return f"http://{self.portal.base.authority}/dashboard"

    def __exit__(self, *exc: object) -> None:
        self.portal.close()


def main() -> int:
    """Serve the dashboard until Ctrl-C."""
    dashboard = Dashboard(port=8080)
    with dashboard as address, suppress(KeyboardInterrupt):
        print(address, flush=True)
        pause = threading.Event()
        while not pause.wait(1.0):
            dashboard.publish()
    return 0


if __name__ == "__main__":
    sys.exit(main())
