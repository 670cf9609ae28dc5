"""The program of a child process: it runs JavaScript functions, each call in a global object of its own.

The parent and the child are connected by a socket, the child's standard input. The child configures itself, locks
itself down, and then serves one call after another until the socket is closed. A timer of the system ends it if a call
takes far too long, so that no child survives its parent in a loop.
"""

from __future__ import annotations

import _socket  # the module around it is for servers, and takes a while
import ctypes
import gc
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ..engine import Engine, EngineError
from ..program import Program
from .lockdown import lock_down, opens_nothing
from .messages import MessageReader, pack, read_message

if TYPE_CHECKING:
    from ..limits import Limits

__all__ = ["main", "serve"]

#: Seconds that a call may take beyond its time limit before the system ends the process.
_GRACE = 1.0
_MIB = 1024 * 1024
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve the parent; it is the standard input."""
    connection = _socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.close(null)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    try:
        serve(connection)
    except (EOFError, ConnectionError):
        pass
    except BaseException as error:
        with suppress(OSError):
            connection.sendall(pack(["failed", f"{type(error).__name__}: {error}"]))
    os._exit(0)


def serve(connection: _socket.socket) -> None:
    """Configure this process, and serve calls until the connection is closed."""
    reader = MessageReader(connection.recv)
    settings, _ = reader.read()
    engine = load_engine(settings["engine"])(**settings["options"])
    child = _Child(connection, reader, engine, 0.0 if settings["forks"] else _GRACE, _limits_with(settings["limits"]))
    child.warm_up()
    gc.collect()
    gc.freeze()
    facts: dict[str, Any] = {"active": [], "able": []}
    if settings["forks"]:
        facts = _try_in_fork(settings)
    elif settings["lock_down"]:
        facts = _locked_down(settings)
    connection.sendall(pack(["ready", facts]))
    while True:
        head, body = reader.read()
        if settings["forks"] and head[0] == "call":
            child.serve_in_fork(head, body, settings)
        else:
            child.serve_message(head, body)


def _locked_down(settings: dict[str, Any]) -> dict[str, Any]:
    active = lock_down(address_space=settings["address_space"], data=settings["data"], threads=settings["threads"])
    return {"active": active, "able": opens_nothing() if "seccomp" in active else []}


def _try_in_fork(settings: dict[str, Any]) -> dict[str, Any]:
    """Lock a fork down, and return what is in force there."""
    read, write = os.pipe()
    fork = os.fork()
    if fork == 0:
        os.write(write, pack(_locked_down(settings)))
        os._exit(0)
    os.close(write)
    try:
        facts: dict[str, Any] = read_message(lambda length: os.read(read, length))[0]
    finally:
        os.close(read)
        os.waitpid(fork, 0)
    return facts


def _die_with_parent() -> None:
    """Have the system end this fork with its parent."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def _virtual_memory() -> int:
    """Return the bytes of virtual memory of this process; a large number where they are not known."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 512 * 1024 * 1024


def _limits_with(names: Sequence[str]) -> Callable[..., Limits]:
    """Return a function of the values of limits. The class Limits checks its values, which takes a child too long."""

    @lru_cache(maxsize=64)
    def limits_of(*values: Any) -> Any:
        return SimpleNamespace(**dict(zip(names, values, strict=True)))

    return limits_of


def load_engine(reference: str) -> type[Engine]:
    """Return the engine class that `module:name` names."""
    module, _, name = reference.partition(":")
    found: type[Engine] = getattr(import_module(module), name)
    return found


class _Child:
    def __init__(
        self,
        connection: _socket.socket,
        reader: MessageReader,
        engine: Engine,
        grace: float,
        limits_of: Callable[..., Limits],
    ) -> None:
        self._grace = grace
        self._limits_of = limits_of
        self._connection = connection
        self._reader = reader
        self._engine = engine
        self._programs: dict[str, Program] = {}

    def warm_up(self) -> None:
        """Make one call, so that all that is loaded on first use is loaded before the files are out of reach."""
        program = Program("warm", "__default__ = function (p) { throw new Error(p.a); };")
        limits = self._limits_of(5.0, 64 * _MIB, _MIB, _MIB, 0, 1, None)
        for text in ('{"a": 1}', '{"a": "\\u00e9"}'):
            handle = self._engine.compile(program, limits)
            try:
                self._engine.call(handle, text, limits, self._host)
            except EngineError as error:
                pack(["error", error.to_dict()])
            self._engine.release(handle)
        self._engine.prepare(program, limits)

    def serve_message(self, head: list[Any], body: str) -> None:
        if head[0] == "program":
            self._programs[head[1]] = Program.from_json(body, head[1])
            return
        _, digest, values = head
        program, limits = self._programs[digest], self._limits_of(*values)
        signal.setitimer(signal.ITIMER_REAL, limits.time + self._grace)
        handle = None
        try:
            handle = self._engine.compile(program, limits)
            reply = pack(["ok"], self._engine.call(handle, body, limits, self._host) if body else "")
        except EngineError as error:
            reply = pack(["error", error.to_dict()])
        except MemoryError:
            reply = pack(["error", EngineError("memory", "the process is out of memory", broken=True).to_dict()])
        if handle is not None and body and self._engine.fuel is not None:
            reply = pack(["fuel"], str(self._engine.fuel)) + reply
        self._connection.sendall(reply)
        signal.setitimer(signal.ITIMER_REAL, 0)
        if handle is not None:
            self._engine.release(handle)
        self._engine.prepare(program, limits)

    def serve_in_fork(self, head: list[Any], body: str, settings: dict[str, Any]) -> None:
        """Make a call in a fork of this process, which has loaded the engine and runs no code of a user itself."""
        limits = self._limits_of(*head[2])
        fork = os.fork()
        if fork == 0:
            try:
                _die_with_parent()
                lock_down(
                    address_space=_virtual_memory() + limits.memory, data=settings["data"], threads=settings["threads"]
                )
                self.serve_message(head, body)
            finally:
                os._exit(0)
        status = os.waitpid(fork, 0)[1]
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            late = number in (signal.SIGALRM, signal.SIGXCPU)
            error = EngineError("execute", f"the child process crashed: {signal.Signals(number).name}", name="Crash")
            if late:
                error = EngineError("timeout", "the time limit has passed")
            elif number == signal.SIGKILL:
                error = EngineError(
                    "memory", "the operating system killed the child process, probably because memory ran out"
                )
            self._connection.sendall(pack(["error", error.to_dict()]))

    def _host(self, kind: str, text: str) -> str:
        if kind == "log":
            self._connection.sendall(pack(["log"], text))
            return "null"
        self._connection.sendall(pack(["host", kind], text))
        head, body = self._reader.read()
        if head[0] == "failed":
            raise EngineError("host", head[2], name=head[1])
        return body
