"""`portal` itself: version, help, exit codes."""

from __future__ import annotations

import subprocess
import sys

import pytest

import portal
from tests.support.command import run


def test_version():
    assert run("--version").output == f"portal {portal.__version__}\n"


def test_version_as_a_module_loads_little():
    code = (
        "import runpy, sys\nsys.argv = ['portal', '--version']\n"
        "try: runpy.run_module('portal', run_name='__main__')\n"
        "except SystemExit as end: print(end.code, {'rich', 'requests', 'urllib3', 'jsonschema'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == f"portal {portal.__version__}\n0 set()\n"


@pytest.mark.parametrize("command", ["serve", "call", "describe", "list"])
def test_each_command_has_help(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: portal {command} ")


def test_help_lists_the_exit_codes():
    assert "\n    5  the server is unreachable" in run("--help").output
