"""The number of processors that this process may use."""

from __future__ import annotations

import os

__all__ = ["count_processors"]


def count_processors() -> int:
    """Return the number of processors that the system lets this process use, at least 1."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
