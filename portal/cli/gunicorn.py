"""What gunicorn runs for `portal serve --workers`: a portal in each process, and a worker that tells its addresses."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, cast

from ..serving.gunicorn import Worker as PortalWorker
from .portal import http_portal
from .serve import SETTINGS, publish, tell
from .targets import load_all

if TYPE_CHECKING:
    from ..http import HTTPPortal

__all__ = ["Worker", "from_environment"]


def from_environment() -> HTTPPortal:
    """The portal that the options of `portal serve --workers` stand for, with everything applied."""
    settings = json.loads(os.environ[SETTINGS])
    targets, where = settings.pop("targets"), settings.pop("where")
    del settings["as_json"]
    settings["origins"] = tuple(settings["origins"])
    http = http_portal(where, **settings)
    publish(load_all(targets, settings["debug"]), http, ExitStack())
    return http


class Worker(PortalWorker):
    """A worker whose first process tells the addresses, as one process without gunicorn does.

    A worker and not gunicorn's own process: that one must not import what is served, or a reload would not see changes.
    """

    def load_wsgi(self) -> None:
        """Import the portal and tell its addresses; gunicorn listens already. Raises: AppImportError."""
        super().load_wsgi()
        if self.age > 1:  # gunicorn counts all workers that it ever starts
            return
        http, settings = cast("HTTPPortal", self.wsgi), json.loads(os.environ[SETTINGS])
        name = self.sockets[0].getsockname()
        if isinstance(name, tuple):
            http.listener.port = name[1]  # addresses carry the real one in place of port 0
        tell([http], http, settings["where"], settings["as_json"])
