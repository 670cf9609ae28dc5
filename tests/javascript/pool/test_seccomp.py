from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from portal.javascript.pool import seccomp

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in seccomp._MACHINES, reason="no seccomp here"
)
PROGRAM = """
import os, socket, subprocess, sys, threading
from portal.javascript.pool.seccomp import install_filter
data = os.open("/dev/null", os.O_RDONLY)
assert install_filter(threads=sys.argv[1] == "threads")
def attempt(name, action):
    try:
        action()
    except (OSError, RuntimeError) as error:
        print(name, type(error).__name__)
    else:
        print(name, "done")
attempt("open", lambda: os.open("/etc/passwd", os.O_RDONLY))
attempt("socket", lambda: socket.socket())
attempt("exec", lambda: os.execv("/bin/true", ["true"]))
attempt("kill", lambda: os.kill(os.getppid(), 0))
attempt("unlink", lambda: os.unlink("/tmp/none"))
attempt("read", lambda: os.read(data, 1))
attempt("thread", lambda: threading.Thread(target=int).start())
"""


@pytest.mark.parametrize("threads", [False, True])
def test_system_calls_that_are_not_listed_fail(threads: bool) -> None:
    word = "threads" if threads else "none"
    command = [sys.executable, "-c", PROGRAM, word]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
    lines = done.stdout.split("\n")
    for name in ("open", "socket", "exec", "kill", "unlink"):
        assert f"{name} PermissionError" in lines, done
    assert "read done" in lines
    assert ("thread done" in lines) is threads


def test_the_filter_checks_the_machine_first() -> None:
    code = seccomp._assemble(0xC000003E, [0, 1])
    assert len(code) == 8 * (6 + 2 * 2 + 1)
    assert code[:2] == (0x20).to_bytes(2, sys.byteorder)
