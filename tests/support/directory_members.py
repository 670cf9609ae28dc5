"""The portals of a directory of each kind, and who lists them there."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from portal import Address, HTTPPortal
from portal.directory import Registration
from portal.testing import ServerProcesses
from tests.support.dns_server import DNSServer
from tests.support.registered_portal import LEASE, pid

__all__ = ["DIRECTORY_KINDS", "Members", "members_of"]

DIRECTORY_KINDS = ("memory", "sqlite", "redis", "file", "dns")
WAIT = 120.0
TTL = 1  # seconds
_TARGETS = ("tests.support.registered_portal:portal", "tests.support.registered_portal:pid")
_SERVICE = "_http._tcp.shop.example"


class Members(Protocol):
    """The portals of one directory.

    Attributes:
        url: of the directory.
        kinds: the events that its portals know, in their order.
    """

    url: str
    kinds: tuple[str, ...]

    def start(self) -> Address:
        """Start a portal and return its base address once it serves."""

    def enlist(self, base: Address) -> None:
        """List it, where it does not register by itself."""

    def leaving(self, base: Address) -> Any:
        """Begin its end, and complete it after the `with` block, in which the directory shows it no more."""

    def kill(self, base: Address) -> None:
        """Kill it."""

    def freeze(self, base: Address) -> None:
        """Freeze it."""

    def thaw(self, base: Address) -> None:
        """Let it go on."""


class Threads:
    """Portals of this process, which cannot be killed or frozen one by one."""

    kinds = ("join", "leave")

    def __init__(self, url: str) -> None:
        self.url = url
        self._portals: dict[Address, HTTPPortal] = {}

    def start(self) -> Address:
        portal = HTTPPortal(directory=Registration(self.url, lease=LEASE))
        address = portal.apply(pid)
        portal.start()
        base = Address.parse(f"http://{address.authority}/api")
        self._portals[base] = portal
        return base

    def enlist(self, base: Address) -> None:
        pass

    @contextmanager
    def leaving(self, base: Address) -> Iterator[None]:
        self._portals.pop(base).close()
        yield

    def kill(self, base: Address) -> None:
        raise NotImplementedError

    freeze = thaw = kill

    def close(self) -> None:
        for portal in self._portals.values():
            portal.close()


class Processes:
    """Portals in processes of their own, which register by themselves."""

    kinds = ("join", "leave", "kill", "freeze")

    def __init__(self, url: str) -> None:
        self.url = url
        self._servers = ServerProcesses()

    def start(self) -> Address:
        return self._servers(*_TARGETS)

    def enlist(self, base: Address) -> None:
        pass

    @contextmanager
    def leaving(self, base: Address) -> Iterator[None]:
        process = self._end(base)
        yield
        _await_end(process)

    def _end(self, base: Address) -> subprocess.Popen[str]:
        process = self._servers._processes.pop(base)
        assert process.stdin is not None
        process.stdin.close()
        return process

    def kill(self, base: Address) -> None:
        self._servers._processes[base].kill()

    def freeze(self, base: Address) -> None:
        self._servers._processes[base].send_signal(signal.SIGSTOP)

    def thaw(self, base: Address) -> None:
        self._servers._processes[base].send_signal(signal.SIGCONT)

    def close(self) -> None:
        self._servers.close()


def _await_end(process: subprocess.Popen[str]) -> None:
    process.wait(WAIT)
    assert process.stdout is not None
    process.stdout.close()


class Listed(Processes):
    """Portals in processes of their own, which a supervisor lists. It notices at once what becomes of them."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._listed: list[Address] = []

    def enlist(self, base: Address) -> None:
        self._listed.append(base)
        self.write(self._listed)

    def _drop(self, base: Address) -> None:
        self._listed.remove(base)
        self.write(self._listed)

    @contextmanager
    def leaving(self, base: Address) -> Iterator[None]:
        self._drop(base)
        yield  # it ends when nobody calls it any more
        _await_end(self._end(base))

    def kill(self, base: Address) -> None:
        super().kill(base)
        self._drop(base)

    def freeze(self, base: Address) -> None:
        super().freeze(base)
        self._drop(base)

    def thaw(self, base: Address) -> None:
        super().thaw(base)
        self.enlist(base)

    def write(self, listed: list[Address]) -> None:
        raise NotImplementedError


class InFile(Listed):
    def __init__(self, path: Path) -> None:
        super().__init__(f"file://{path}")
        self._path = path
        self.write([])

    def write(self, listed: list[Address]) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps({"*": [str(base) for base in listed]}))
        fresh.replace(self._path)


class InZone(Listed):
    def __init__(self, server: DNSServer) -> None:
        super().__init__(f"dns://127.0.0.1:{server.port}/{_SERVICE}")
        self._server = server
        self.write([])

    def write(self, listed: list[Address]) -> None:
        texts = [f"0 0 {base.authority.rpartition(':')[2]} localhost." for base in listed]
        self._server.records[f"{_SERVICE}.", "SRV"] = (TTL, texts)


@contextmanager
def members_of(kind: str, folder: Path, request: pytest.FixtureRequest) -> Iterator[Members]:
    """Make an empty directory of one of DIRECTORY_KINDS; its portals end with the block."""
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr("portal.testing.server_processes._READY", 5 * WAIT)  # a busy machine starts processes slowly
        made: Threads | Processes
        if kind == "memory":
            made = Threads("memory://events")
        elif kind == "file":
            made = InFile(folder / "portals.json")
        elif kind == "dns":
            made = InZone(stack.enter_context(DNSServer()))
        else:
            at = f"sqlite://{folder}/portals.sqlite" if kind == "sqlite" else request.getfixturevalue("valkey_url")
            made = Processes(f"{at}#events" if kind == "redis" else at)
            patch.setenv("PORTAL_TEST_DIRECTORY", made.url)
        yield stack.enter_context(closing(made))
