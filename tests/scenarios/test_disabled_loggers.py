"""An application whose logging configuration disables the loggers of Portal, as `logging.config` does by default."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import logging.config, sys
from portal import Consumer, FunctionError, HTTPPortal

def charge(card: str) -> int:
    raise ConnectionError("the bank does not respond")

CONFIGURE

with HTTPPortal() as portal, Consumer() as consumer:
    address = portal.apply(charge)
    for _ in range(3):
        try:
            consumer.call_at(address, {"card": "1"})
        except FunctionError as error:
            assert "log has the reason" in str(error)
"""
HANDLER = '"handlers": {"h": {"class": "logging.StreamHandler"}}, "root": {"handlers": ["h"]}'
SAYS = "the logger portal.http has no handler"


@pytest.mark.parametrize(
    ("configure", "lines", "tracebacks"),
    [
        (f'logging.config.dictConfig({{"version": 1, {HANDLER}}})', 1, 0),
        (f'logging.config.dictConfig({{"version": 1, "disable_existing_loggers": False, {HANDLER}}})', 0, 3),
        ("logging.disable()", 1, 0),
        ("logging.getLogger('portal').addHandler(logging.NullHandler())", 1, 0),
        ("", 0, 3),
    ],
)
def test_an_error_that_is_logged_nowhere_is_one_line_on_stderr(configure: str, lines: int, tracebacks: int) -> None:
    program = PROGRAM.replace("CONFIGURE", configure)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.count("has no handler") == lines, done.stderr
    assert done.stderr.count("Traceback") >= tracebacks
    if lines:
        (line,) = done.stderr.splitlines()
        assert SAYS in line
        assert line.count("ConnectionError: the bank does not respond") == 1
