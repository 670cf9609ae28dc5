"""WorkerProcess: one process that runs jobs, seen from this process."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from .child import READY
from .messages import MessageSocket

__all__ = ["WorkerProcess"]

_START = "import sys; sys.path[:] = {path!r}; from portal.processes.child import main; main({descriptor})"


def _options() -> Sequence[str]:
    """Return the options of this interpreter, such as -X dev."""
    found: Any = getattr(subprocess, "_args_from_interpreter_flags", list)
    return list(found())


class WorkerProcess:
    """A running process. It ends when this process ends.

    Args:
        start_timeout: seconds within which it must be ready.

    Attributes:
        uses: how many jobs it has run.

    Raises: OSError if it does not start.

    Threads: one at a time; `kill` may be called from any thread.
    """

    def __init__(self, start_timeout: float = 60.0) -> None:
        ours, theirs = socket.socketpair()
        self._connection = MessageSocket(ours)
        self.uses = 0
        code = _START.format(path=sys.path, descriptor=theirs.fileno())
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, *_options(), "-c", code],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                )
        except BaseException:
            self._connection.close()
            raise
        try:
            if self._connection.receive(start_timeout) != READY:
                raise OSError("its first message was not the expected one")
        except BaseException as error:
            self.kill()
            end = self.close()
            if not isinstance(error, OSError | EOFError):
                raise
            raise OSError(f"a worker process did not start: {error}; {end}") from error

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def send(self, data: bytes, timeout: float | None = None) -> None:
        """Send a job. If this raises, the job does not run.

        Raises: TimeoutError if the process does not take it in time. OSError if the process has ended.
        """
        self.uses += 1
        self._connection.send(data, timeout)

    def receive(self, timeout: float | None) -> bytes:
        """Return the reply to the job.

        Raises: TimeoutError after `timeout` seconds. EOFError or OSError if the process ends.
        """
        return self._connection.receive(timeout)

    def kill(self) -> None:
        """End the process at once; `close` frees what is left."""
        with suppress(OSError):
            self._process.kill()

    def close(self) -> str:
        """Close the connection, end the process and wait for its end.

        Returns: how it ended, such as "SIGKILL" or "exit code 1".
        """
        self._connection.close()
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def abandon(self) -> None:
        """Close the connection in a process that was forked from the parent, where the process is not its own."""
        self._connection.close()
        self._process.returncode = 0  # it is not waited for here
