"""Long runs: with PORTAL_LONG=1 in full, else in a small version that only shows that they work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


class Process:
    """A script of this folder that responds to lines with JSON."""

    def __init__(self, script: str, **settings: Any) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / script), json.dumps(settings)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def read(self) -> Any:
        """Return the next line that it prints."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"it ended with {self._process.wait()}"
        return json.loads(line)

    def request(self) -> Any:
        """Send it a line and return its response."""
        self.go_on()
        return self.read()

    def go_on(self) -> None:
        """Send it a line."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def run() -> Iterator[Callable[..., Process]]:
    """Starts scripts of this folder: `run("serve.py", config={}, pem=None)`; they end with the test."""
    with ExitStack() as stack:

        def start(script: str, **settings: Any) -> Process:
            process = Process(script, **settings)
            stack.callback(process.close)
            return process

        yield start


@pytest.fixture
def certificates(tmp_path: Path) -> tuple[str, str]:
    """A server's certificate with its key, and the authority's: paths of PEM files."""
    authority = trustme.CA()
    pem, ca = tmp_path / "server.pem", tmp_path / "ca.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(pem))
    authority.cert_pem.write_to_path(str(ca))
    return str(pem), str(ca)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents and "long" in item.name and os.environ.get("PORTAL_LONG") != "1":
            item.add_marker(pytest.mark.skip(reason="a long run; set PORTAL_LONG=1"))
