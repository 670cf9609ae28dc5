"""List the threads that a test has started: those of earlier tests may still end, and a count would hide it."""

from __future__ import annotations

import threading
from collections.abc import Collection

__all__ = ["new_threads"]


def new_threads(before: Collection[threading.Thread]) -> list[threading.Thread]:
    """Return the threads that run now and are not among `before`, which is an earlier `threading.enumerate()`."""
    return [thread for thread in threading.enumerate() if thread not in before]
