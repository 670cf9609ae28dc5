"""Pass the options of `portal serve --workers` to the processes of gunicorn.

They may hold tokens. Every program that a worker starts can read the worker's environment, so that has only the number
of a descriptor. The descriptor belongs to a file without a name, which gunicorn and its workers inherit.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from typing import Any

__all__ = ["VARIABLE", "hand_over", "read_options"]

VARIABLE = "PORTAL_SERVE_FD"  # environment variable with the number of the descriptor


def hand_over(options: Mapping[str, Any]) -> None:
    """Let the programs that this process becomes read the options with `read_options`."""
    number = _file_without_name()
    with open(number, "w", encoding="utf-8", closefd=False) as file:
        json.dump(options, file)
    os.set_inheritable(number, True)
    os.environ[VARIABLE] = str(number)


def read_options() -> dict[str, Any]:
    """Return the options. May be called by several processes."""
    number = int(os.environ[VARIABLE])
    found: dict[str, Any] = json.loads(os.pread(number, os.fstat(number).st_size, 0))
    return found


def _file_without_name() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("portal-serve")
    with tempfile.TemporaryFile() as file:  # on other systems than Linux
        return os.dup(file.fileno())
