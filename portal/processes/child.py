"""The program of a worker process: it runs one job after another until its parent closes the connection.

A job is the pickled tuple (function, arguments), and the reply is the pickled result. The function handles its errors
itself; see `portal.function.remote_call`.
"""

from __future__ import annotations

import os
import pickle
import queue
import runpy
import signal
import socket
import sys
import traceback
from types import ModuleType

from .._internal.background import start_thread
from .messages import MessageSocket

__all__ = ["READY", "load_main", "main", "run_packed"]

#: The first message of a child.
READY = b"ready"
_MAIN = "__mp_main__"  # as multiprocessing names it, so that the usual guard of a script works here, too


def main(descriptor: int) -> None:
    """Serve the parent at a descriptor, which is one end of a pair of sockets."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    connection = MessageSocket(socket.socket(fileno=descriptor))
    jobs: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    start_thread("portal-process-read", _read, connection, jobs)
    connection.send(READY)
    while True:
        try:
            connection.send(run_packed(jobs.get()))
        except OSError:  # the parent has ended
            os._exit(1)


def _read(connection: MessageSocket, jobs: queue.SimpleQueue[bytes]) -> None:
    """Pass jobs on, and end the process with its parent, also in the middle of a job."""
    try:
        while True:
            jobs.put(connection.receive())
    except BaseException:
        os._exit(0)


def run_packed(data: bytes) -> bytes:
    """Run a pickled job and return its pickled result.

    An exception becomes the reply `("broken", type, text, traceback)`.
    """
    try:
        main_path, job = pickle.loads(data)
        if main_path is not None:
            load_main(main_path)
        function, arguments = pickle.loads(job)
        return pickle.dumps(function(*arguments), pickle.HIGHEST_PROTOCOL)
    except BaseException as error:
        return pickle.dumps(("broken", type(error).__name__, str(error), traceback.format_exc()))


def load_main(path: str) -> None:
    """Run the script of the parent under another name, so that what it defines is found in `__main__`."""
    if getattr(sys.modules.get("__main__"), "__name__", None) == _MAIN:
        return
    found = ModuleType(_MAIN)
    found.__dict__.update(runpy.run_path(path, run_name=_MAIN))
    found.__dict__["__name__"] = _MAIN
    sys.modules["__main__"] = sys.modules[_MAIN] = found
