"""The demo runs, passes its checks, and counts failed checks."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from rich.console import Console

from portal import Consumer, FunctionError, LocalPortal, ValidationError
from portal.examples import demo
from portal.examples.orders import service


def test_the_demo_passes_every_check():
    command = [sys.executable, "-m", "portal.examples.demo"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WRONG" not in done.stdout
    for call in demo.FAILING:
        assert done.stdout.count(f" {call.title:<19} {call.error.__name__}: ") == 4
    assert "no credential       AuthenticationError" in done.stdout
    assert "stopped server      TransportError" in done.stdout
    assert "ws     1.07, Gap(count=None, reason='epoch'), 1.08" in done.stdout
    assert re.search(r"one was killed +│ \d+ +│ none ", done.stdout), "callers saw nothing of it"
    assert "All checks passed. The server stopped with exit code 0." in done.stdout
    assert done.stdout.endswith(f"  {demo.portal_command()} serve portal.examples.orders:service\n")
    assert done.stderr == ""


def test_the_demo_counts_failed_checks(capsys):
    with LocalPortal() as local, Consumer([local]) as consumer:
        local.apply_service(service)
        report = demo.Report(consumer, Console(width=200))
        addresses = {"add": "local://orders/add", "gone": "local://orders/gone"}
        right = demo.SuccessfulCall("add", {"a": 1, "b": 1}, 3.0)
        report.successful([right, demo.SuccessfulCall("gone", {}, None)], [addresses])
        report.failing(demo.FailingCall("right call", "add", {"a": 1, "b": 1}, ValidationError), addresses["add"])
        report.failing(demo.FailingCall("another error", "add", {"a": 1}, FunctionError), addresses["add"])
    assert report.failed == 4
    assert capsys.readouterr().out.count("WRONG") == 4


def test_serve_reports_a_server_that_cannot_start():
    expected = r"(?s)exit code 2 .* has no nothing"
    with pytest.raises(RuntimeError, match=expected), demo.serve("portal.examples.orders:nothing"):
        pytest.fail("the server must not start")


def test_stop_kills_a_server_that_does_not_stop():
    class StubbornProcess:
        killed = False

        def terminate(self):
            self.killed = False

        def wait(self, timeout=None):
            if not self.killed:
                raise subprocess.TimeoutExpired("portal", timeout)
            return -9

        def kill(self):
            self.killed = True

    assert demo.stop(StubbornProcess()) == -9
