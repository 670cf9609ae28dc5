"""A seccomp filter for the child processes: an allow-list of system calls; any other gives EPERM.

Source: Documentation/userspace-api/seccomp_filter.rst of Linux; the numbers are those of asm/unistd_64.h and
asm-generic/unistd.h.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

__all__ = ["install_filter"]

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER = 38, 22, 2
_ALLOW, _ERRNO_EPERM, _KILL = 0x7FFF0000, 0x00050001, 0x80000000

#: By machine: AUDIT_ARCH, then the numbers of the system calls.
_MACHINES: dict[str, tuple[int, dict[str, int]]] = {
    "x86_64": (
        0xC000003E,
        {
            "read": 0, "write": 1, "close": 3, "fstat": 5, "poll": 7, "lseek": 8, "mmap": 9, "mprotect": 10,
            "munmap": 11, "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "sched_yield": 24,
            "mremap": 25, "madvise": 28, "setitimer": 38, "getpid": 39, "sendto": 44, "recvfrom": 45, "exit": 60,
            "uname": 63, "gettimeofday": 96, "getrusage": 98, "sigaltstack": 131, "gettid": 186, "futex": 202,
            "sched_getaffinity": 204, "restart_syscall": 219, "clock_gettime": 228, "clock_getres": 229,
            "clock_nanosleep": 230, "exit_group": 231, "getrandom": 318, "membarrier": 324, "rseq": 334,
            "clone": 56, "clone3": 435, "set_robust_list": 273, "prctl": 157, "sched_getparam": 143,
            "sched_getscheduler": 145, "pkey_alloc": 330, "pkey_free": 331, "pkey_mprotect": 329, "sysinfo": 99,
            "ppoll": 271, "getcpu": 309,
            "socketpair": 53, "epoll_create1": 291, "epoll_ctl": 233, "epoll_wait": 232, "epoll_pwait": 281,
            "eventfd2": 290, "pipe2": 293, "fcntl": 72, "ioctl": 16, "set_tid_address": 218, "mincore": 27,
            "arch_prctl": 158, "prlimit64": 302,
        },
    ),
    "aarch64": (
        0xC00000B7,
        {
            "read": 63, "write": 64, "close": 57, "fstat": 80, "ppoll": 73, "lseek": 62, "mmap": 222, "mprotect": 226,
            "munmap": 215, "brk": 214, "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigreturn": 139,
            "sched_yield": 124, "mremap": 216, "madvise": 233, "setitimer": 103, "getpid": 172, "sendto": 206,
            "recvfrom": 207, "exit": 93, "uname": 160, "gettimeofday": 169, "getrusage": 165, "sigaltstack": 132,
            "gettid": 178, "futex": 98, "sched_getaffinity": 123, "restart_syscall": 128, "clock_gettime": 113,
            "clock_getres": 114, "clock_nanosleep": 115, "exit_group": 94, "getrandom": 278, "membarrier": 283,
            "rseq": 293, "clone": 220, "clone3": 435, "set_robust_list": 99, "prctl": 167, "sched_getparam": 121,
            "sched_getscheduler": 120, "pkey_alloc": 289, "pkey_free": 290, "pkey_mprotect": 288, "sysinfo": 179,
            "getcpu": 168, "socketpair": 199, "epoll_create1": 20, "epoll_ctl": 21, "epoll_pwait": 22, "eventfd2": 19,
            "pipe2": 59, "fcntl": 25, "ioctl": 29, "set_tid_address": 96, "mincore": 232, "prlimit64": 261,
        },
    ),
}  # fmt: skip
#: What an engine with threads of its own needs beside the others.
_THREADS = frozenset(
    ("clone", "clone3", "set_robust_list", "prctl", "sched_getparam", "sched_getscheduler", "pkey_alloc", "pkey_free",
     "pkey_mprotect", "sysinfo", "getcpu", "ppoll", "socketpair", "epoll_create1", "epoll_ctl", "epoll_wait",
     "epoll_pwait", "eventfd2", "pipe2", "fcntl", "ioctl", "set_tid_address", "mincore", "arch_prctl", "prlimit64")
)  # fmt: skip


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def install_filter(*, threads: bool = False) -> bool:
    """Forbid all system calls of this thread and its descendants that are not on the list.

    Args:
        threads: whether the process may start threads.

    Returns: False where the platform has no seccomp, or forbids it.
    """
    machine = _MACHINES.get(os.uname().machine) if sys.platform == "linux" else None
    if machine is None:
        return False
    arch, numbers = machine
    allowed = sorted(number for name, number in numbers.items() if threads or name not in _THREADS)
    code = _assemble(arch, allowed)
    libc = ctypes.CDLL(None, use_errno=True)
    program = _Program(len(code) // 8, code)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return bool(libc.prctl(_PR_SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0) == 0)


def _assemble(arch: int, allowed: list[int]) -> bytes:
    """Return the filter as BPF instructions: (code, jump if true, jump if false, operand)."""
    load, equal, at_least, end = 0x20, 0x15, 0x35, 0x06
    rows = [(load, 0, 0, 4), (equal, 1, 0, arch), (end, 0, 0, _KILL), (load, 0, 0, 0)]
    rows.append((at_least, 0, 1, 0x40000000))  # the x32 interface
    rows.append((end, 0, 0, _KILL))
    for number in allowed:
        rows += [(equal, 0, 1, number), (end, 0, 0, _ALLOW)]
    rows.append((end, 0, 0, _ERRNO_EPERM))
    return b"".join(struct.pack("HBBI", *row) for row in rows)
