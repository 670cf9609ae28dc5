"""The conditions of a measurement: versions, processors, and the load of other processes."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from importlib import metadata
from importlib.util import find_spec
from time import perf_counter
from typing import Any

__all__ = ["OthersClock", "surroundings"]

_PACKAGES = ("Flask", "waitress", "fastapi", "uvicorn", "uvloop", "httptools", "granian", "falcon", "msgspec", "Pyro5",
             "rpyc", "requests", "pydantic")  # fmt: skip


def surroundings() -> dict[str, Any]:
    """Return the interpreter, processors, load average and the versions of the peers."""
    versions = []
    for package in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions.append(f"{package} {metadata.version(package)}")
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load before": round(os.getloadavg()[0], 2),
        "versions": ", ".join(versions),
    }


class OthersClock:
    """Counts the processors that processes of others kept busy, from its construction to `busy`.

    Child processes count as ours after they were waited for. The kernel's work for our sockets outside of our processes
    counts as others', so a few hundredths are always there. It needs psutil.
    """

    def __init__(self) -> None:
        self._started = perf_counter()
        self._others = _others_seconds()

    def busy(self) -> float | None:
        """Return the average number of processors that others kept busy; None when psutil is not installed."""
        now = _others_seconds()
        if now is None or self._others is None:
            return None
        return max(0.0, (now - self._others) / (perf_counter() - self._started))


def _others_seconds() -> float | None:
    if not find_spec("psutil"):
        return None
    import psutil  # type: ignore[import-untyped]

    times = psutil.cpu_times()
    # user time includes guest time
    total = sum(value for name, value in times._asdict().items() if not name.startswith("guest"))
    busy: float = total - times.idle - getattr(times, "iowait", 0.0)
    return busy - sum(os.times()[:4])
