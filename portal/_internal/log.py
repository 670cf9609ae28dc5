"""Log lines that cannot break the code that writes them.

The standard library catches what `Handler.emit` raises only where the handler does so itself. A handler or filter of
the application that raises, or a lack of memory, would otherwise end a loop or leave a claim held.
"""

from __future__ import annotations

import logging
from typing import Any

__all__ = ["SafeLogger", "get_logger"]

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
            self._logger.log(level, message, *args, exc_info=exc_info, stacklevel=_HERE)
        except Exception:
            return  # to log this would fail as well


def get_logger(name: str) -> SafeLogger:
    """Return the logger with a name."""
    return SafeLogger(logging.getLogger(name))
