"""NameCheck: finds names in the settings of middleware that name nothing published."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from difflib import get_close_matches

from ..._internal.log import get_logger
from ...calls.middleware import Middleware
from ...catalogue import Catalogue

__all__ = ["NameCheck"]

_log = get_logger("portal.http")


class NameCheck:
    """Logs the names given to middleware that name nothing published: a typo would silently disable the rule.

    The first request runs it, as everything is published by then.

    Args:
        catalogue: what is published.
        middleware: around calls.

    Attributes:
        done: whether a request has run it.

    Threads: any; one of them checks.
    """

    def __init__(self, catalogue: Catalogue, middleware: Sequence[Middleware]) -> None:
        self._catalogue = catalogue
        self._middleware = middleware
        self.done = False
        self._turn = threading.Lock()  # acquired once, by the thread that checks, and never released

    def run(self) -> None:
        """Check the names, unless another thread does."""
        if not self._turn.acquire(blocking=False):
            return
        self.done = True
        published = {name for entry in self._catalogue.entries() for name in (entry.function.name, entry.group)}
        for layer in self._middleware:
            named = getattr(layer, "named", None)  # of Portal's middleware; that of others may be anything
            for name in sorted(named - published) if isinstance(named, frozenset) else ():
                near = get_close_matches(name, published, 1)
                hint = f"; did you mean {near[0]}?" if near else ""
                _log.error("%s names %s, which is not published here%s", type(layer).__name__, name, hint)
