"""A portal that registers in the directory of the environment, for server processes of tests."""

from __future__ import annotations

import os

from portal import HTTPPortal, function
from portal.directory import Registration

LEASE = 2.0
portal = HTTPPortal(directory=Registration(os.environ.get("PORTAL_TEST_DIRECTORY", "memory://registered"), lease=LEASE))


@function(idempotent=True)
def pid() -> int:
    return os.getpid()
