"""ChildProcess: one child process that runs JavaScript, seen from this process."""

from __future__ import annotations

import select
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from time import monotonic
from typing import Any

from ..engine import EngineError, Host
from ..limits import Limits
from ..program import Program
from .messages import MessageReader, pack

__all__ = ["ChildProcess", "ChildSettings"]

#: Folder that has the package `portal`.
_ROOT = str(Path(__file__).parents[3])
_START = "import sys; sys.path[:] = {path!r}; from portal.javascript.pool.child import main; main()"


@dataclass(frozen=True)
class ChildSettings:
    """Settings of a child process.

    Attributes:
        engine: `module:class` of the engine.
        address_space: bytes of virtual memory, or None.
        data: bytes of private memory, or None.
        threads: whether the engine starts threads of its own.
        forks: whether the child forks for each call.
        start_timeout: seconds within which the child must be ready.
        grace: seconds that a call may exceed its time limit before the child is killed.
        max_programs: different programs that a child may hold before it is replaced.
        options: keyword arguments of the engine, as JSON data.
    """

    engine: str
    address_space: int | None = None
    data: int | None = None
    threads: bool = False
    forks: bool = False
    start_timeout: float = 60.0
    grace: float = 0.03
    max_programs: int = 128
    options: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return what the child has to know, as JSON data."""
        return {
            "engine": self.engine,
            "lock_down": True,
            "address_space": self.address_space,
            "data": self.data,
            "threads": self.threads,
            "forks": self.forks,
            "limits": Limits.names(),
            "options": self.options,
        }


class ChildProcess:
    """A running child. It has an empty environment and no descriptors but its socket.

    Attributes:
        active: the measures of `lock_down` that are in force.
        able: the forbidden operations that the child can still do; empty if all attempts have failed.
        uses: how many calls it has made.

    Raises: EngineError (stage "host") if the child does not start.

    Threads: one at a time; `kill` may be called from any thread.
    """

    def __init__(self, settings: ChildSettings) -> None:
        self._settings = settings
        self._socket, theirs = socket.socketpair()
        self._end = monotonic() + settings.start_timeout
        path = [_ROOT, *(one for one in sys.path if one and one != _ROOT)]
        command = [sys.executable, "-I", "-S", "-c", _START.format(path=path)]
        try:
            with theirs:
                self._process = subprocess.Popen(
                    command,
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env={},
                    cwd="/",
                )
        except BaseException as error:
            self._socket.close()
            if not isinstance(error, OSError):
                raise
            raise EngineError("host", f"a child process cannot be started: {error}") from error
        self.uses = 0
        self._known: set[str] = set()
        try:
            head = self._begin()
        except BaseException as error:
            self.kill()
            self.close()
            if not isinstance(error, EOFError | OSError | ValueError):
                raise
            raise EngineError("host", f"the child process failed to start: {error or 'it ended'}") from error
        self.active: list[str] = head[1]["active"]
        self.able: list[str] = head[1]["able"]

    def _begin(self) -> Any:
        """Send the settings, and return the child's first message."""
        self._socket.setblocking(False)
        self._readable, self._writable = _poll(self._socket, write=False), _poll(self._socket, write=True)
        self._reader = MessageReader(self._receive)
        self._send(pack(self._settings.to_dict()))
        head, _ = self._reader.read()
        if head[0] != "ready":
            raise EngineError("host", f"the child process failed to start: {head[1]}")
        return head

    @property
    def pid(self) -> int:
        """The id of the process."""
        pid: int = self._process.pid
        return pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    @property
    def is_full(self) -> bool:
        """Whether it holds as many programs as it may."""
        return len(self._known) >= self._settings.max_programs

    def call(self, program: Program, text: str, limits: Limits, host: Host) -> str:
        """Make one call in a fresh global object.

        Raises: EngineError. If `broken` is set, the child has ended or must be killed.
        """
        self.uses += 1
        started = monotonic()
        self._end = started + limits.time + self._settings.grace
        digest = program.digest
        data = pack(["call", digest, limits.to_list()], text)
        if digest not in self._known:
            self._known.add(digest)
            data = pack(["program", digest], program.to_json()) + data
        try:
            self._send(data)
            while True:
                head, body = self._reader.read(4 * limits.output + 4096)
                if head.__class__ is not list or not 1 <= len(head) <= 2:
                    raise ValueError("a message of a child must have a head with a kind")
                if head[0] == "ok":
                    return body
                if head[0] == "error":
                    raise EngineError.from_dict(head[-1])
                self._serve_host(head, body, host)
        except TimeoutError:
            raise EngineError("timeout", "the time limit has passed", broken=True) from None
        except (EOFError, OSError, ValueError) as error:
            raise self._crash(error, monotonic() - started >= limits.time) from None

    def _serve_host(self, head: list[Any], text: str, host: Host) -> None:
        if head[0] in ("log", "fuel"):  # no response is wanted
            host(head[0], text)
            return
        try:
            reply = pack(["done"], host(head[-1], text))
        except EngineError as error:
            reply = pack(["failed", error.name, error.message])
        self._send(reply)

    def _crash(self, error: Exception, late: bool) -> EngineError:
        if isinstance(error, ValueError):
            return EngineError("memory", f"the result is too long: {error}", broken=True)
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            code = 0
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        if late or name in ("SIGALRM", "SIGXCPU"):
            return EngineError("timeout", "the time limit has passed", broken=True)
        if name == "SIGKILL":
            return EngineError(
                "memory", "the operating system killed the child process, probably because memory ran out", broken=True
            )
        return EngineError("execute", f"the child process crashed: {name}", name="Crash", broken=True)

    def _send(self, data: bytes) -> None:
        sent = self._send_some(data)
        if sent < len(data):
            left = memoryview(data)[sent:]
            while left:
                self._wait(self._writable)
                left = left[self._send_some(left) :]

    def _send_some(self, data: bytes | memoryview) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0

    def _receive(self, length: int) -> bytes:
        self._wait(self._readable)
        return self._socket.recv(length)

    def _wait(self, poll: Any) -> None:
        """Wait until the socket is ready. Raises: TimeoutError when the time of the call is over."""
        left = self._end - monotonic()
        if left <= 0 or not poll.poll(ceil(left * 1000)):
            raise TimeoutError

    def kill(self) -> None:
        """End the process at once; `close` frees what is left."""
        self._process.kill()

    def close(self, timeout: float = 5.0) -> None:
        """Close the socket, which ends the process, and wait for its end; kill it after `timeout` seconds."""
        self._socket.close()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def abandon(self) -> None:
        """Close the socket in a process that was forked from the parent, where the child is not its own."""
        self._socket.close()

    def memory(self) -> int:
        """Return the resident bytes of the process, or 0 where that is not known."""
        try:
            with open(f"/proc/{self.pid}/statm", encoding="ascii") as file:
                return int(file.read().split()[1]) * 4096
        except (OSError, ValueError, IndexError):
            return 0


def _poll(connection: socket.socket, *, write: bool) -> Any:
    """Return what waits until a socket is ready; one system call for each wait."""
    found = select.poll()
    found.register(connection, select.POLLOUT if write else select.POLLIN)
    return found
