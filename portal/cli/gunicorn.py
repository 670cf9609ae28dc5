"""The gunicorn application and worker class of `portal serve --workers`.

It is also gunicorn's configuration file and sets nothing, so that gunicorn does not run a `gunicorn.conf.py` of the
current directory.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, cast

from ..serving.gunicorn import Worker as PortalWorker
from ..serving.switch_interval import shorten_switch_interval
from .announce import announce
from .handover import read_options
from .portal import Served, http_portal
from .serve import publish
from .targets import load_all

if TYPE_CHECKING:
    from ..http import HTTPPortal

__all__ = ["Worker", "from_environment"]


def from_environment() -> HTTPPortal:
    """Return the portal that the options of `portal serve --workers` describe, with its functions published."""
    shorten_switch_interval()
    settings = read_options()
    targets, where = settings.pop("targets"), settings.pop("where")
    del settings["as_json"]
    settings["origins"] = tuple(settings["origins"])
    http = http_portal(where, **settings)
    publish(load_all(targets, settings["debug"]), Served(http), ExitStack())
    return http


class Worker(PortalWorker):
    """A gunicorn worker. The first one prints the addresses, as `portal serve` without workers does.

    The main process of gunicorn cannot print them. It must not import the served modules, because a reload would then
    keep old code.
    """

    def load_wsgi(self) -> None:
        """Import the portal and print its addresses. gunicorn is already listening.

        Raises: AppImportError.
        """
        super().load_wsgi()
        if self.age > 1:  # gunicorn numbers all workers it ever starts
            return
        http, settings = cast("HTTPPortal", self.wsgi), read_options()
        name = self.sockets[0].getsockname()
        if isinstance(name, tuple):
            http.listener.assign_port(name[1])  # addresses have the real port in place of 0
        announce([http], http, settings["where"], settings["as_json"])
