"""Functions that write each execution to the file EXECUTIONS, for servers that are killed."""

from __future__ import annotations

import os

from portal import HTTPPortal, function

_FILE = os.open(os.environ["EXECUTIONS"], os.O_APPEND | os.O_CREAT | os.O_WRONLY)


def _record(number: int) -> int:
    os.write(_FILE, b"%d\n" % number)  # one write to a file opened for appending is atomic
    return os.getpid()


@function
def work(number: int) -> int:
    """Must not be executed twice. Return the process id."""
    return _record(number)


@function(idempotent=True)
def safe(number: int) -> int:
    """May be executed twice. Return the process id."""
    return _record(number)


http = HTTPPortal()
http.apply(work)
http.apply(safe)
