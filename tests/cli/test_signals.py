"""StopSignals, in a process of its own: signal handlers belong to a process."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs POSIX signals")
PROGRAM = """
from portal.cli.signals import StopSignals
signals = StopSignals(lambda: print("hangup", flush=True))
assert signals.wait(0.001) is False
print("ready", flush=True)
print("stopped", signals.wait(), signals.wait(0), flush=True)
input()
"""


@pytest.fixture
def process():
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_ends_the_wait_and_the_second_one_the_process(process, number):
    process.send_signal(number)
    assert process.stdout.readline() == "stopped True True\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == -signal.SIGTERM


def test_each_hangup_is_reported_and_does_not_end_the_wait(process):
    for _ in range(2):
        process.send_signal(signal.SIGHUP)
        assert process.stdout.readline() == "hangup\n"
    process.terminate()
    assert process.stdout.readline() == "stopped True True\n"
    process.stdin.write("\n")
    process.stdin.close()
    assert process.wait(30) == 0
