"""Run the `portal` command in this process or as a server process."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from click.testing import CliRunner, Result

import portal
from portal.cli.main import main

ROOT = pathlib.Path(portal.__file__).parent.parent
TIMEOUT = 30.0


def run(*arguments: str, stdin: str | bytes | None = None) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(main, list(arguments), input=stdin, prog_name="portal")


@contextmanager
def serving(folder: pathlib.Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run `portal serve` as a process in `folder`, and terminate it at the end."""
    command = [sys.executable, "-m", "portal", "serve", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ORDERS_TOKEN": "from-the-environment"}
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            yield server
        finally:
            server.terminate()
            server.communicate(timeout=TIMEOUT)


def first_address(server: subprocess.Popen[str]) -> str:
    """Return the first address that `portal serve --json` prints."""
    assert server.stdout is not None
    return str(json.loads(server.stdout.readline())["functions"][0]["address"])
