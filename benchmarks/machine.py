"""What figures depend on besides the code: versions, processors, and what else the machine was doing."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from importlib import metadata
from importlib.util import find_spec
from time import perf_counter
from typing import Any

__all__ = ["OthersClock", "surroundings"]

_PACKAGES = ("Flask", "waitress", "fastapi", "uvicorn", "uvloop", "httptools", "Pyro5", "rpyc", "requests", "pydantic")


def surroundings() -> dict[str, Any]:
    """Interpreter, processors, load average and the versions of the peers."""
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
    """How many processors were busy with what we did not start, from its making to `busy`.

    Our children count as ours once they were waited for. What the kernel does for our sockets outside of our processes
    is counted as others', so a few hundredths are always there. It needs psutil.
    """

    def __init__(self) -> None:
        self._started = perf_counter()
        self._others = _others_seconds()

    def busy(self) -> float | None:
        """Processors taken by others on average; None where psutil is not installed."""
        now = _others_seconds()
        if now is None or self._others is None:
            return None
        return max(0.0, (now - self._others) / (perf_counter() - self._started))


def _others_seconds() -> float | None:
    if not find_spec("psutil"):
        return None
    import psutil  # type: ignore[import-untyped]

    times = psutil.cpu_times()
    # guest time is part of user time already
    total = sum(value for name, value in times._asdict().items() if not name.startswith("guest"))
    busy: float = total - times.idle - getattr(times, "iowait", 0.0)
    return busy - sum(os.times()[:4])
