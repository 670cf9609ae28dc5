"""The contestants of each comparison, and the processes in which they run."""

from __future__ import annotations

import json
import os
import select
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from .certificate import certificate_files
from .programs import find_program
from .workload import BODY, EXPECTED, INVALID, authorization

__all__ = [
    "CLIENTS",
    "ORDERS",
    "PROTECTED",
    "ROOT",
    "SERVERS",
    "STREAMS",
    "THREADED",
    "TLS_CLIENTS",
    "TLS_SERVERS",
    "Contestant",
    "call_rate",
    "check_server",
    "run_code",
    "serving",
]

#: The root of this checkout.
ROOT = Path(__file__).parents[1]
_START_SECONDS = 30.0


@dataclass(frozen=True)
class Contestant:
    """One way to serve or to call the same function.

    Attributes:
        name: its name in the tables.
        server: key of `servers.SERVERS` or `servers.PROGRAMS`.
        client: key of `clients.CLIENTS`, or "" when a load generator is the client.
        needs: the modules that it needs.
        programs: the programs that it needs.
        validates: whether it rejects parameters of another type.
        protected: whether it requires a credential.
        threads: threads of the client; 0 for as many as the comparison has.
    """

    name: str
    server: str
    client: str = ""
    needs: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    validates: bool = True
    protected: bool = False
    threads: int = 0

    def headers(self) -> dict[str, str]:
        """Return the headers that each request carries."""
        return authorization() if self.protected else {}

    def missing(self) -> list[str]:
        """Return the modules and programs that are not installed."""
        modules = [module for module in self.needs if find_spec(module) is None]
        return modules + [program for program in self.programs if find_program(program) is None]


_CAN_PIN = hasattr(os, "sched_setaffinity")
_FLASK = ("flask", "waitress")
_GRANIAN = ("granian", "falcon", "msgspec")

SERVERS = (
    Contestant("Portal", "portal"),
    Contestant("Flask+waitress", "flask", needs=_FLASK),
    Contestant("FastAPI+uvicorn", "fastapi", needs=("fastapi", "uvicorn", "pydantic")),
    Contestant("Falcon+msgspec on granian", "granian", needs=_GRANIAN),
    Contestant("Falcon+msgspec on granian, one thread", "granian-one-thread", needs=_GRANIAN),
    Contestant("nginx, a constant", "nginx", programs=("nginx",), validates=False),
    Contestant("minimal server", "minimal", validates=False),
    Contestant("minimal server, one thread", "minimal-one-thread", validates=False),
    *([Contestant("minimal server, one processor", "minimal-pinned", validates=False)] if _CAN_PIN else ()),
)
_TLS = ("trustme", "cryptography")
TLS_SERVERS = (
    Contestant("Portal", "portal-tls", needs=_TLS),
    Contestant("Falcon+msgspec on granian", "granian-tls", needs=(*_GRANIAN, *_TLS)),
    Contestant("Falcon+msgspec on granian, one thread", "granian-tls-one-thread", needs=(*_GRANIAN, *_TLS)),
)
TLS_CLIENTS = (
    Contestant("Portal", "portal-tls", "portal-tls", needs=_TLS),
    Contestant("Portal, 16 threads", "portal-tls", "portal-tls", needs=_TLS, threads=16),
    Contestant("http.client", "portal-tls", "http.client", needs=_TLS),
)
STREAMS = (
    Contestant("Portal, a stream", "portal-rows", "portal-stream"),
    Contestant("Flask, a stream", "flask-rows", "requests-stream", needs=("requests", *_FLASK)),
    Contestant("Portal, rows", "portal-rows", "portal-rows"),
    Contestant("Portal, rows as dataclasses", "portal-rows", "portal-objects"),
    Contestant("Flask, rows", "flask-rows", "requests-rows", needs=("requests", *_FLASK)),
)
ORDERS = (
    Contestant("Portal", "portal-order", "http.client-order"),
    Contestant("pydantic, Flask+waitress", "flask-order", "http.client-order", needs=(*_FLASK, "pydantic")),
    Contestant("FastAPI+uvicorn", "fastapi-order", "http.client-order", needs=("fastapi", "uvicorn", "pydantic")),
    Contestant("Portal on both sides", "portal-order", "portal-order"),
    Contestant("pydantic on both sides", "flask-order", "requests-order", needs=("requests", *_FLASK, "pydantic")),
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
    Contestant("Portal, an Address", "portal", "portal-address"),
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


def _environment(root: Path) -> dict[str, str]:
    """Return the environment for a process of the checkout at `root`.

    It names no proxies, as everything here stays on 127.0.0.1.
    """
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return environment | {"PYTHONPATH": str(root)}


@contextmanager
def serving(server: str, root: Path = ROOT) -> Iterator[str]:
    """Run a server in its own process for the length of a `with` block; gives its address.

    Args:
        server: key of `servers.SERVERS` or `servers.PROGRAMS`.
        root: the checkout whose server it is.

    Raises: RuntimeError when it does not start.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.servers", server],
        cwd=root,
        env=_environment(root),
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
        process.stdin.close()  # the server ends when its input does
        try:
            process.wait(5.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def check_server(url: str, contestant: Contestant, headers: Mapping[str, str]) -> None:
    """Check the responses of an HTTP server; RuntimeError for a wrong one.

    Args:
        headers: the credential, for a contestant that requires one.
    """
    if contestant.protected and (status := _post(url, BODY, {})[0]) != 401:
        raise RuntimeError(f"the status without a credential must be 401, got {status}")
    status, body = _post(url, BODY, headers)
    if status != 200 or json.loads(body) != EXPECTED:
        raise RuntimeError(f"the response must be 200 {EXPECTED}, got {status} {body[:100]!r}")
    if contestant.validates and not 400 <= (status := _post(url, INVALID, headers)[0]) < 500:
        raise RuntimeError(f"the status for invalid parameters must be 4xx, got {status}")


def _post(url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **headers})
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if url.startswith("https:"):
        context = ssl.create_default_context(cafile=str(certificate_files().authority))
        handlers.append(urllib.request.HTTPSHandler(context=context))
    opener = urllib.request.build_opener(*handlers)
    try:
        with opener.open(request, timeout=10.0) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def call_rate(client: str, target: str, seconds: float, threads: int, root: Path = ROOT) -> float:
    """Return the calls a second of a client in a process of its own; RuntimeError when it failed.

    Args:
        root: the checkout whose client it is.
    """
    output = _run(
        "-m", "benchmarks.clients", client, target, str(seconds), str(threads), timeout=seconds + 90, root=root
    )
    return float(json.loads(output)["rate"])


def run_code(code: str, *, timeout: float, root: Path = ROOT) -> str:
    """Run Python code in a process of the checkout at `root` and return the last line that it prints.

    Raises: RuntimeError when it failed.
    """
    return _run("-c", code, timeout=timeout, root=root)


def _run(*arguments: str, timeout: float, root: Path) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=root,
        env=_environment(root),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        last = done.stderr.strip().rpartition("\n")[2]
        raise RuntimeError(f"{' '.join(arguments[:3])[:60]} failed: {last[-300:]}")
    return lines[-1]
