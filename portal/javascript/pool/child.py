"""The program of a child process: it runs JavaScript functions, each call in a global object of its own.

The parent and the child are connected by a socket, the child's standard input. The child configures itself, locks
itself down, and then serves one call after another until the socket is closed. A timer of the system ends it if a call
takes far too long, so that no child survives its parent in a loop.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
from contextlib import suppress
from importlib import import_module
from typing import Any

from ..engine import Engine, EngineError
from ..limits import Limits
from ..program import Program
from .lockdown import lock_down, opens_nothing
from .messages import pack, read_message

__all__ = ["main", "serve"]

#: Seconds that a call may take beyond its time limit before the system ends the process.
_GRACE = 1.0


def main() -> None:
    """Serve the parent; it is the standard input."""
    connection = socket.socket(fileno=os.dup(0))
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


def serve(connection: socket.socket) -> None:
    """Configure this process, and serve calls until the connection is closed."""
    settings, _ = read_message(connection.recv)
    engine = load_engine(settings["engine"])()
    child = _Child(connection, engine)
    child.warm_up()
    gc.collect()
    gc.freeze()
    active, able = [], []
    if settings["lock_down"]:
        active = lock_down(address_space=settings["address_space"], data=settings["data"], threads=settings["threads"])
        able = opens_nothing() if "seccomp" in active else []
    connection.sendall(pack(["ready", {"active": active, "able": able, "pid": os.getpid()}]))
    while True:
        child.serve_message(*read_message(connection.recv))


def load_engine(reference: str) -> type[Engine]:
    """Return the engine class that `module:name` names."""
    module, _, name = reference.partition(":")
    found: type[Engine] = getattr(import_module(module), name)
    return found


class _Child:
    def __init__(self, connection: socket.socket, engine: Engine) -> None:
        self._connection = connection
        self._engine = engine
        self._programs: dict[str, Program] = {}

    def warm_up(self) -> None:
        """Make one call, so that all that is loaded on first use is loaded before the files are out of reach."""
        program = Program("warm", "__default__ = function (p) { throw new Error(p.a); };")
        limits = Limits()
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
            self._programs[head[1]] = Program.from_json(body)
            return
        _, digest, values = head
        program, limits = self._programs[digest], Limits(*values)
        signal.setitimer(signal.ITIMER_REAL, limits.time + _GRACE)
        handle = None
        try:
            handle = self._engine.compile(program, limits)
            reply = pack(["ok"], self._engine.call(handle, body, limits, self._host) if body else "")
        except EngineError as error:
            reply = pack(["error", error.to_dict()])
        except MemoryError:
            reply = pack(["error", EngineError("memory", "the process is out of memory", broken=True).to_dict()])
        self._connection.sendall(reply)
        signal.setitimer(signal.ITIMER_REAL, 0)
        if handle is not None:
            self._engine.release(handle)
        self._engine.prepare(program, limits)

    def _host(self, kind: str, text: str) -> str:
        if kind == "log":
            self._connection.sendall(pack(["log"], text))
            return "null"
        self._connection.sendall(pack(["host", kind], text))
        head, body = read_message(self._connection.recv)
        if head[0] == "failed":
            raise EngineError("host", head[2], name=head[1])
        return body
