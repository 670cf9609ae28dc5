"""Who is compared with whom, and the processes in which they run."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from .workload import BODY, EXPECTED, REFUSED, authorization

__all__ = ["CLIENTS", "PROTECTED", "SERVERS", "THREADED", "Contestant", "call_rate", "check_server", "serving"]

_ROOT = Path(__file__).parents[1]
_START_SECONDS = 30.0


@dataclass(frozen=True)
class Contestant:
    """One way to serve or to call the same function.

    Attributes:
        name: for the tables.
        server: key of `servers.SERVERS`.
        client: key of `clients.CLIENTS`; "" where a load generator is the client.
        needs: modules without which it is skipped.
        validates: whether it refuses parameters of another type.
        protected: whether it wants to know who calls.
    """

    name: str
    server: str
    client: str = ""
    needs: tuple[str, ...] = ()
    validates: bool = True
    protected: bool = False

    def headers(self) -> dict[str, str]:
        """What is sent beside the call."""
        return authorization() if self.protected else {}

    def missing(self) -> list[str]:
        """The modules that are not installed."""
        return [module for module in self.needs if find_spec(module) is None]


_CAN_PIN = hasattr(os, "sched_setaffinity")
_FLASK = ("flask", "waitress")

SERVERS = (
    Contestant("Portal", "portal"),
    Contestant("Flask+waitress", "flask", needs=_FLASK),
    Contestant("FastAPI+uvicorn", "fastapi", needs=("fastapi", "uvicorn", "pydantic")),
    Contestant("minimal server", "minimal", validates=False),
    *([Contestant("minimal server, one processor", "minimal-pinned", validates=False)] if _CAN_PIN else ()),
)
PROTECTED = (
    Contestant("Portal, protected", "portal-protected", protected=True),
    Contestant("Portal, protected, log unbuffered", "portal-protected-at-once", protected=True),
    Contestant("Portal, everything on", "portal-everything", protected=True),
    Contestant("Portal", "portal"),
    Contestant("FastAPI+uvicorn", "fastapi", needs=("fastapi", "uvicorn", "pydantic")),
)
CLIENTS = (
    Contestant("Portal", "portal", "portal"),
    Contestant("requests+Flask+waitress", "flask", "requests", needs=("requests", *_FLASK)),
    Contestant("Pyro5", "pyro5", "pyro5", needs=("Pyro5",)),
    Contestant("rpyc, conn.root.add(...)", "rpyc", "rpyc-root", needs=("rpyc",)),
    Contestant("rpyc, add = conn.root.add kept", "rpyc", "rpyc", needs=("rpyc",)),
)
THREADED = (
    Contestant("Portal", "portal", "portal"),
    Contestant("rpyc, one connection", "rpyc", "rpyc", needs=("rpyc",)),
    Contestant("rpyc, a connection a thread", "rpyc", "rpyc-each", needs=("rpyc",)),
    Contestant("Pyro5, a proxy a thread", "pyro5", "pyro5", needs=("Pyro5",)),
)


def _environment() -> dict[str, str]:
    """Without proxies: everything here stays on 127.0.0.1."""
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


@contextmanager
def serving(server: str) -> Iterator[str]:
    """A server in its own process for the length of a `with` block; gives where it answers.

    Raises: RuntimeError when it does not come up.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.servers", server],
        cwd=_ROOT,
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        ready, _, _ = select.select([process.stdout], [], [], _START_SECONDS)
        where = process.stdout.readline().strip() if ready else ""
        if not where:
            raise RuntimeError(f"the {server} server did not start")
        yield where
    finally:
        process.stdin.close()  # it ends when its input does
        try:
            process.wait(5.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def check_server(url: str, contestant: Contestant) -> None:
    """Make sure that an HTTP server answers rightly; RuntimeError when it does not."""
    headers = contestant.headers()
    if contestant.protected and (status := _post(url, BODY, {})[0]) != 401:
        raise RuntimeError(f"it answers {status} to a caller it does not know")
    status, body = _post(url, BODY, headers)
    if status != 200 or json.loads(body) != EXPECTED:
        raise RuntimeError(f"it answers {status} {body[:100]!r}")
    if contestant.validates and not 400 <= (status := _post(url, REFUSED, headers)[0]) < 500:
        raise RuntimeError(f"it answers {status} to parameters that do not fit")


def _post(url: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **headers})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10.0) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def call_rate(client: str, target: str, seconds: float, threads: int) -> float:
    """Calls a second of a client in a process of its own; RuntimeError when it failed."""
    command = [sys.executable, "-m", "benchmarks.clients", client, target, str(seconds), str(threads)]
    done = subprocess.run(
        command, cwd=_ROOT, env=_environment(), capture_output=True, text=True, timeout=seconds + 90, check=False
    )
    if done.returncode:
        raise RuntimeError(f"the {client} client failed: {done.stderr.strip()[-300:]}")
    return float(json.loads(done.stdout.splitlines()[-1])["rate"])
