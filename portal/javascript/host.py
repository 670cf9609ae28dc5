"""What scripts may ask of this process: by default nothing but `console`, which writes to the log."""

from __future__ import annotations

import json
import logging

from .._internal.log import get_logger
from ..context import CallContext
from .engine import EngineError

__all__ = ["CallHost"]

_log = get_logger("portal.javascript.console")
_LEVELS = {"debug": logging.DEBUG, "log": logging.INFO, "info": logging.INFO, "warn": logging.WARNING}


class CallHost:
    """Handles the requests of one call.

    Args:
        name: the name of the function.
        context: of the call.

    Threads: the thread of the call.
    """

    __slots__ = ("_context", "_name")

    def __init__(self, name: str, context: CallContext) -> None:
        self._name = name
        self._context = context

    def __call__(self, kind: str, text: str) -> str:
        """Handle one request and return its result as JSON text; see `Host`.

        Raises: EngineError (stage "host") for a request that is not granted.
        """
        if kind != "log":
            raise EngineError("host", f"{kind} is not granted to this function", name="HostError")
        level, line = json.loads(text)
        words = "%s: request_id=%s: %s"
        _log.log(_LEVELS.get(level, logging.ERROR), words, self._name, self._context.request_id, line)
        return "null"
