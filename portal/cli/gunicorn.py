"""The gunicorn application and worker class of `portal serve --workers`.

It is also gunicorn's configuration file and sets nothing, so that gunicorn does not run a `gunicorn.conf.py` of the
current directory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from time import monotonic
from typing import Any, cast

from ..serving.gunicorn import Worker as PortalWorker
from ..serving.loaded_objects import freeze_loaded_objects
from ..serving.switch_interval import shorten_switch_interval
from .announce import announce
from .drain import drain
from .handover import read_options
from .portal import Served, served_portals
from .serve import publish
from .targets import load_all

__all__ = ["ServedProcess", "Worker", "from_environment"]


class ServedProcess:
    """The portals of one process: HTTP and, with --ws, WebSocket on the same sockets.

    Args:
        served: the portals, which share a listener.

    Attributes:
        portals: the portals.
        listener: of the portals.

    Threads: one at a time.
    """

    def __init__(self, served: Served) -> None:
        self.http = served.http
        self.portals = [portal for portal in served if portal is not None]
        self.listener = served.http.listener

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Respond to one WSGI request; gunicorn wants a callable, and the worker does not call it."""
        return self.http(environ, start_response)

    def start(self) -> None:
        """Serve."""
        for portal in self.portals:
            portal.start()

    def stop(self, grace: float = 5.0) -> None:
        """Stop, after the delay of the listener and after calls that run have finished within `grace` seconds."""
        drain(self.portals)
        end = monotonic() + grace
        for portal in reversed(self.portals):
            portal.stop(max(0.0, end - monotonic()))


def from_environment() -> ServedProcess:
    """Return the portals that the options of `portal serve --workers` describe, with their functions published."""
    shorten_switch_interval()
    settings = read_options()
    targets, where, websocket = (settings.pop(name) for name in ("targets", "where", "websocket"))
    del settings["as_json"]
    settings["origins"] = tuple(settings["origins"])
    served = served_portals(where, websocket, **settings)
    publish(load_all(targets, settings["debug"]), served, ExitStack())
    freeze_loaded_objects()
    return ServedProcess(served)


class Worker(PortalWorker):
    """A gunicorn worker. The first one prints the addresses, as `portal serve` without workers does.

    The main process of gunicorn cannot print them. It must not import the served modules, because a reload would then
    keep old code.
    """

    def load_wsgi(self) -> None:
        """Import the portals and print their addresses. gunicorn is already listening.

        Raises: AppImportError.
        """
        super().load_wsgi()
        if self.age > 1:  # gunicorn numbers all workers it ever starts
            return
        served, settings = cast("ServedProcess", self.wsgi), read_options()
        name = self.sockets[0].getsockname()
        if isinstance(name, tuple):
            served.listener.assign_port(name[1])  # addresses have the real port in place of 0
        needs_credential = bool(settings["tokens"] or settings["auth"])
        where, as_json = settings["where"], settings["as_json"]
        announce(served.portals, served.http, where, as_json, needs_credential=needs_credential)
