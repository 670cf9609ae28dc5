"""The program of a worker process: it runs one job after another until its parent closes the connection.

A job is the pickled tuple (function, arguments), and the reply is the pickled result. The function handles its errors
itself; see `portal.function.remote_call`.
"""

from __future__ import annotations

import os
import pickle
import runpy
import select
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
    start_thread("portal-process-watch", _watch, descriptor)
    try:
        connection.send(READY)
        while True:
            connection.send(run_packed(connection.receive()))
    except (EOFError, OSError):
        os._exit(0)  # the parent has ended, or does not need this process any more


def _watch(descriptor: int) -> None:
    """End the process with its parent, also in the middle of a job.

    The main thread reads the jobs itself: a hand-over from this thread would cost two changes of threads for each job.
    """
    try:
        found = select.poll()
        found.register(descriptor, 0)  # for nothing but its end
        found.poll()
    finally:
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
