from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys

import pytest

from portal.javascript.pool.lockdown import opens_nothing

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the measures are those of Linux")
LIMITS = """
import json, resource
from portal.javascript.pool import lockdown
assert lockdown._set_resource_limits(400 * 2**20, None, 9)
print(json.dumps({name: resource.getrlimit(getattr(resource, name))[0] for name in NAMES}))
try:
    bytearray(2**30)
except MemoryError:
    print("memory")
"""
LOCKED = """
import ctypes
import json
from portal.javascript.pool.lockdown import lock_down, opens_nothing
print(json.dumps([lock_down(address_space=400 * 2**20), opens_nothing()]))
"""


def run(code: str) -> list[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment, check=True
    )
    return done.stdout.splitlines()


def test_a_process_that_is_locked_down_can_do_nothing() -> None:
    active, able = json.loads(run(LOCKED)[0])
    assert {"rlimits", "no_new_privs"} <= set(active)
    assert able == [] or "seccomp" not in active


def test_resource_limits() -> None:
    wanted = {"RLIMIT_AS": 400 * 2**20, "RLIMIT_FSIZE": 0, "RLIMIT_CORE": 0}
    first, second = run(LIMITS.replace("NAMES", repr(list(wanted))))
    assert json.loads(first) == wanted
    assert second == "memory"


def test_landlock_is_used_where_the_kernel_has_it() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(444, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    assert ("landlock" in json.loads(run(LOCKED)[0])[0]) is (version >= 1)


def test_this_process_is_not_locked_down() -> None:
    assert {"file", "socket"} <= set(opens_nothing())
