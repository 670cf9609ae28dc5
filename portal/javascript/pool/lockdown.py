"""Take from this process what JavaScript code has no use for. It runs in a child process after its imports.

Each measure is tried; `lock_down` returns which of them are in force.
"""

from __future__ import annotations

import _socket
import ctypes
import os
import sys
from contextlib import suppress
from typing import Any

from .seccomp import install_filter

resource: Any
try:  # imported before the files are out of reach
    import resource
except ImportError:  # Windows
    resource = None

__all__ = ["lock_down", "opens_nothing"]

_FILES_OF_THREADS = 32  # descriptors for the event loops of an engine with threads
_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38
_LANDLOCK_CREATE, _LANDLOCK_RESTRICT = 444, 446
#: Rights of the file system by version of the Landlock interface, then those of the network.
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}


def lock_down(*, address_space: int | None, data: int | None = None, threads: bool = False) -> list[str]:
    """Restrict this process for good.

    Args:
        address_space: bytes of virtual memory; None sets no limit.
        data: bytes of private memory, for an engine that maps much that it never touches; None sets no limit.
        threads: whether the engine starts threads of its own.

    Returns: the names of the measures in force: "no_new_privs", "landlock", "rlimits", "seccomp".
    """
    active = []
    highest = max((int(one) for one in _open_files()), default=64)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
        if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
            active.append("no_new_privs")
            if _landlock(libc):  # before the limit on open files, as a ruleset is one
                active.append("landlock")
    if _set_resource_limits(address_space, data, highest + (_FILES_OF_THREADS if threads else 0)):
        active.append("rlimits")
    if install_filter(threads=threads):
        active.append("seccomp")
    return active


def _set_resource_limits(address_space: int | None, data: int | None, highest: int) -> bool:
    if resource is None:
        return False
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: highest + 1,
        resource.RLIMIT_AS: address_space,
        resource.RLIMIT_DATA: data,
    }
    for kind, bound in wanted.items():
        if bound is not None:
            hard = resource.getrlimit(kind)[1]
            most = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
            with suppress(ValueError, OSError):  # macOS rejects some
                resource.setrlimit(kind, (most, most))
    return True


def _open_files() -> list[str]:
    try:
        found = os.listdir("/proc/self/fd")
    except OSError:
        return []
    return [one for one in found if _is_open(int(one))]


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _landlock(libc: ctypes.CDLL) -> bool:
    """Deny all access to files, and to the network where the kernel can: a ruleset without a rule allows nothing."""
    version = libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    if version < 1:
        return False
    files = (1 << _RIGHTS.get(version, 16)) - 1
    rights = (ctypes.c_uint64 * 2)(files, 3 if version >= 4 else 0)
    size = 16 if version >= 4 else 8
    ruleset = libc.syscall(_LANDLOCK_CREATE, ctypes.byref(rights), ctypes.c_size_t(size), ctypes.c_uint32(0))
    if ruleset < 0:
        return False
    try:
        return bool(libc.syscall(_LANDLOCK_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint32(0)) == 0)
    finally:
        os.close(ruleset)


def opens_nothing() -> list[str]:
    """Return what this process can still do of what it must not: "file", "socket", "process"."""
    able = []
    with suppress(OSError), open("/dev/null", "rb"):
        able.append("file")
    with suppress(OSError):
        _socket.socket().close()
        able.append("socket")
    with suppress(OSError):
        child = os.fork() if hasattr(os, "fork") else 1
        if child == 0:
            os._exit(0)
        if child > 1:
            os.waitpid(child, 0)
        able.append("process")
    return able
