"""ServerProcesses: serve functions over HTTP in other processes, for tests.

    with ServerProcesses() as serve:
        base = serve(add, "shop.orders:service")          # http://127.0.0.1:40123/api
        consumer.call_at(base.child("add"), {"a": 1, "b": 2})
        serve.kill(base)                                   # like a crash: no response is sent

A process imports what it serves, so each function must have a name in a module. Printed text goes to the error output
of the process. A process ends when it is killed, and when the process that started it ends.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import threading
from contextlib import ExitStack, suppress
from types import ModuleType
from typing import Any

from .._internal.background import logging_errors, start_thread
from .._internal.conditions import Event
from .._internal.settings import require, text
from ..address import Address
from ..errors import ConfigError
from ..schema import is_json

__all__ = ["ServerProcesses", "serve", "target_of"]

_READY = 30.0  # seconds that a process has to import its targets and to listen
_NOTHING = ModuleType("nothing")
_PROGRAM = "from portal.testing.server_processes import serve; serve()"


class ServerProcesses:
    """Starts server processes and kills those that are left at the end of a `with` block.

    Threads: any.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the processes
        self._processes: dict[Address, subprocess.Popen[str]] = {}

    def __call__(self, *targets: Any, **options: Any) -> Address:
        """Start a process and return the base address that it serves at.

        Args:
            targets: functions, services, and at most one portal: the objects, or "module:name" of each.
            options: arguments of the HTTPPortal that is made if no portal is among the targets, as JSON data.

        Raises:
            ConfigError: a target cannot be found by name, or an option is not JSON data.
            RuntimeError: the process ended before it served; the reason is in its error output.
        """
        require(targets, "portal_server.targets", targets, 'functions, services or a portal, or "module:name" of each')
        require(is_json(options), "portal_server.options", options, "JSON data")
        order = json.dumps({"targets": [target_of(target) for target in targets], "options": options})
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([os.getcwd(), *filter(None, sys.path)])},
        )
        assert process.stdin is not None
        assert process.stdout is not None
        answered = Event()
        try:
            start_thread("portal-server-start", logging_errors, "portal-server-start", _kill_late, process, answered)
            with suppress(BrokenPipeError):  # it has ended already; its output is empty
                process.stdin.write(order + "\n")
                process.stdin.flush()
            ready = process.stdout.readline()
            if not ready:
                process.wait()  # it writes its error after it has closed its output
        except BaseException:
            process.kill()
            raise
        finally:
            answered.set()
        if not ready:
            _kill(process)
            raise RuntimeError(f"the server process of {order} ended with {process.returncode}; see its error output")
        base = Address.parse(json.loads(ready)["base"])
        with self._lock:
            self._processes[base] = process
        return base

    def kill(self, base: Address | str) -> None:
        """Kill the process that serves at a base address; its connections break.

        Raises: ConfigError if there is none.
        """
        with self._lock:
            process = self._processes.pop(Address.of(base), None)
        if process is None:
            raise ConfigError.invalid("portal_server.kill", str(base), "the base address of a server that runs")
        _kill(process)

    def close(self) -> None:
        """Kill all processes."""
        with self._lock:
            processes, self._processes = list(self._processes.values()), {}
        for process in processes:
            _kill(process)

    def __enter__(self) -> ServerProcesses:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def target_of(target: Any) -> str:
    """Return "module:name" of an object that an imported module holds under that name.

    Raises: ConfigError for an object that cannot be found by name, such as a lambda or a local function.
    """
    if isinstance(target, str):
        return text("portal_server.targets", target, pattern=r"[\w.]+:[\w.]+", expected='"module:name"')
    home = getattr(getattr(target, "__wrapped__", target), "__module__", None) or ""
    # The home of a service or a portal is the module of its class. Numbers and the like are shared by many modules.
    modules = dict(sys.modules) if callable(target) or type(target).__module__ != "builtins" else {}
    for name in (home, *modules):
        for attribute, value in tuple(vars(modules.get(name, _NOTHING)).items()) if name != "__main__" else ():
            if value is target:
                return f"{name}:{attribute}"
    raise ConfigError.invalid("portal_server.targets", target, 'an object of an importable module, or "module:name"')


def _kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def serve() -> None:
    """Serve what a line of JSON on standard input names, until standard input ends.

    Writes a line of JSON with the base address to standard output once it listens.
    """
    order = json.loads(sys.stdin.readline())
    with os.fdopen(os.dup(1), "w") as ready, ExitStack() as stack:
        os.dup2(2, 1)  # the pipe is not read after the first line; if it were full, print would block
        portal = stack.enter_context(_portal_of([_load(target) for target in order["targets"]], order["options"]))
        print(json.dumps({"base": str(portal.base)}), file=ready, flush=True)
        sys.stdin.read()


def _portal_of(values: list[Any], options: dict[str, Any]) -> Any:
    """Return the portal among the values, or an HTTPPortal; the other values are published at it."""
    from ..http.portal import HTTPPortal
    from ..portal import Portal

    portals = [value for value in values if isinstance(value, Portal)]
    require(len(portals) <= 1, "portal_server.targets", portals, "at most one portal")
    require(not (portals and options), "portal_server.options", options, "left out when a portal is served")
    portal: Any = portals[0] if portals else HTTPPortal(**options)
    for value in values:
        if value is portal:
            continue
        portal.apply_service(value) if isinstance(value, type) or not callable(value) else portal.apply(value)
    return portal


def _load(target: str) -> Any:
    name, _, path = target.partition(":")
    value: Any = importlib.import_module(name)
    for part in path.split("."):
        value = getattr(value, part)
    return value


def _kill_late(process: subprocess.Popen[str], answered: threading.Event) -> None:
    """Kill a process that does not answer in time."""
    if not answered.wait(_READY):
        process.kill()
