"""`portal serve --reload`: run the server as a child process and restart it when a Python file changes."""

from __future__ import annotations

import os
import subprocess
import sys

from .output import echo
from .signals import StopSignals

__all__ = ["WATCHED", "serve_and_reload"]

WATCHED = "PORTAL_RELOAD"  # environment variable that the child process has
_INTERVAL = 0.5  # seconds between two checks of the files
_STOP_TIMEOUT = 30.0  # seconds that the child has to stop
_SKIPPED = ("__pycache__", "node_modules")


def serve_and_reload() -> int:
    """Run this command again as a child process, and restart it after each change.

    Returns: the exit code of the last child process.
    """
    command = [sys.executable, "-m", "portal", *sys.argv[1:]]
    environment = os.environ | {WATCHED: "1"}
    signals = StopSignals(on_hangup=lambda: None)
    while True:
        before, server = _modification_times(), subprocess.Popen(command, env=environment)
        try:
            if not _until_change(before, server, signals):
                break
            echo("a Python file has changed; restarting the server", err=True)
        except BaseException:
            _stop(server)  # it must not outlive this process
            raise
        _stop(server)
    return _stop(server)


def _until_change(before: dict[str, int], server: subprocess.Popen[bytes], signals: StopSignals) -> bool:
    """Wait until a file changes and return True, or return False after a signal to stop."""
    ended = False
    while _modification_times() == before:
        if signals.wait(_INTERVAL):
            return False
        if not ended and server.poll() is not None:
            ended = True
            echo("the server has stopped; it restarts when a Python file changes", err=True)
    return True


def _stop(server: subprocess.Popen[bytes]) -> int:
    server.terminate()
    try:
        return server.wait(_STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        server.kill()
        return server.wait()


def _modification_times() -> dict[str, int]:
    """Return the modification time of each Python file below the current directory."""
    times: dict[str, int] = {}
    for folder, inner, names in os.walk("."):
        inner[:] = [name for name in inner if not name.startswith(".") and name not in _SKIPPED]
        for name in names:
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                try:
                    times[path] = os.stat(path).st_mtime_ns
                except OSError:  # removed, or not to be read
                    continue
    return times
