"""Wait for what has no event to wait for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic

__all__ = ["WAIT", "eventually"]

WAIT = 30.0  # seconds after which a test has failed


def eventually(
    condition: Callable[[], bool], seconds: float = WAIT, *, failure: str = "the condition never became true"
) -> None:
    """Wait for what another thread is about to do.

    Args:
        failure: the message if it does not happen.
    """
    end, pause = monotonic() + seconds, threading.Event()
    while not condition():
        assert monotonic() < end, failure
        pause.wait(0.005)
