"""WorkerProcess: one process, seen from its parent."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import pytest

from portal.processes.process import WorkerProcess


def packed(function: object, *arguments: object) -> bytes:
    return pickle.dumps((None, pickle.dumps((function, arguments))))


def test_a_job_and_its_reply() -> None:
    process = WorkerProcess()
    process.send(packed(divmod, 7, 2))
    assert pickle.loads(process.receive(30.0)) == (3, 1)
    assert process.alive
    assert process.uses == 1
    process.kill()
    assert process.close() == "SIGKILL"
    assert not process.alive


def test_a_reply_that_is_late() -> None:
    process = WorkerProcess()
    with pytest.raises(TimeoutError):
        process.receive(0.0)
    process.kill()
    process.close()


@pytest.mark.parametrize("busy", [False, True])
def test_a_process_ends_with_its_parent(busy: bool) -> None:
    program = (
        "import os, sys, time\n"
        "from portal.processes.jobs import Job, pack\n"
        "from portal.processes.process import WorkerProcess\n"
        "process = WorkerProcess()\n"
        "if sys.argv[1] == 'True': process.send(pack(Job('sleep', time.sleep, (3600,))))\n"
        "print(process.pid, flush=True)\n"
        "os._exit(0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(busy)], capture_output=True, text=True, timeout=60, check=True
    )
    pid = int(done.stdout)
    descriptor = None
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return  # it has ended already
    except AttributeError:
        pytest.skip("this system has no pidfd_open")
    import select

    assert select.select([descriptor], [], [], 30.0)[0]
    os.close(descriptor)


def test_an_interpreter_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(OSError, match="nowhere"):
        WorkerProcess()


def test_a_process_that_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.processes.process._START", "raise SystemExit(7 if {descriptor} and {path!r} else 0)")
    with pytest.raises(OSError, match="the other end is closed; exit code 7"):
        WorkerProcess()
