"""Log lines that cannot break the code that writes them.

The standard library catches what `Handler.emit` raises only where the handler does so itself. A handler or filter of
the application that raises, or a lack of memory, would otherwise end a loop or leave a claim held.

`logging.config.dictConfig` and `fileConfig` disable the loggers that exist, unless they are told not to. A client that
gets status 500 is told that the log has the reason. So a logger whose errors reach no handler says so on stderr.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

__all__ = ["SafeLogger", "get_logger"]

_ADVICE = "pass disable_existing_loggers=False to logging.config, or add a handler to the logger portal"
_MAX_WORDS = 500  # characters
_silent: set[str] = set()  # names of the loggers that have said so
_HERE = 3  # frames from `Logger.log` to the caller of a method below, so that records name that caller


class SafeLogger:
    """A `logging.Logger` whose methods raise nothing. A line that cannot be logged is lost.

    Args:
        logger: receives the lines.

    Threads: any.
    """

    __slots__ = ("_logger",)

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, message: str, *args: Any) -> None:
        """Log at the level DEBUG."""
        self._log(logging.DEBUG, message, args)

    def info(self, message: str, *args: Any) -> None:
        """Log at the level INFO."""
        self._log(logging.INFO, message, args)

    def warning(self, message: str, *args: Any, exc_info: Any = None) -> None:
        """Log at the level WARNING."""
        self._log(logging.WARNING, message, args, exc_info)

    def error(self, message: str, *args: Any, exc_info: Any = None) -> None:
        """Log at the level ERROR."""
        self._log(logging.ERROR, message, args, exc_info)

    def exception(self, message: str, *args: Any) -> None:
        """Log at the level ERROR, with the exception that is being handled."""
        self._log(logging.ERROR, message, args, True)

    def log(self, level: int, message: str, *args: Any) -> None:
        """Log at a level."""
        self._log(level, message, args)

    def _log(self, level: int, message: str, args: tuple[Any, ...], exc_info: Any = None) -> None:
        try:
            if level >= logging.ERROR:
                self._require_handler(level, message, args, exc_info)
            self._logger.log(level, message, *args, exc_info=exc_info, stacklevel=_HERE)
        except Exception:
            return  # to log this would fail as well

    def _require_handler(self, level: int, message: str, args: tuple[Any, ...], exc_info: Any) -> None:
        """Print a line to stderr if this line reaches no handler. Print it once, until a line reaches one again."""
        name = self._logger.name
        if _reaches_handler(self._logger, level):
            _silent.discard(name)
        elif name not in _silent:
            _silent.add(name)
            words = message % args if args else message
            error = sys.exc_info()[1] if exc_info is True else exc_info
            reason = f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else ""
            if reason not in words:
                words = f"{words}: {reason}"
            printable = "".join(one if one.isprintable() else repr(one)[1:-1] for one in words[:_MAX_WORDS])
            print(f"portal: the logger {name} has no handler; {_ADVICE}; not logged: {printable}", file=sys.stderr)


def _reaches_handler(logger: logging.Logger, level: int) -> bool:
    """Return whether a line at a level gets to a handler. Filters are not asked."""
    if not logger.isEnabledFor(level):
        return False
    found = False
    one: logging.Logger | None = logger
    while one is not None:
        found = found or bool(one.handlers)
        if any(not isinstance(handler, logging.NullHandler) and level >= handler.level for handler in one.handlers):
            return True
        one = one.parent if one.propagate else None
    return not found and logging.lastResort is not None


def get_logger(name: str) -> SafeLogger:
    """Return the logger with a name."""
    return SafeLogger(logging.getLogger(name))
