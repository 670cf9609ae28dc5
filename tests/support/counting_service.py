"""Functions that note each call in the file named by COUNTED, for servers that are killed: what was executed."""

from __future__ import annotations

import os

from portal import HTTPPortal, function

_FILE = os.open(os.environ["COUNTED"], os.O_APPEND | os.O_CREAT | os.O_WRONLY)


def _note(number: int) -> int:
    os.write(_FILE, b"%d\n" % number)  # one write to a file opened for appending is whole
    return os.getpid()


@function
def work(number: int) -> int:
    """Must not be done twice. Gives the process that did it."""
    return _note(number)


@function(idempotent=True)
def safe(number: int) -> int:
    """May be done twice."""
    return _note(number)


http = HTTPPortal()
http.apply(work)
http.apply(safe)
