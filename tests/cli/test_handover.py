"""The options of `portal serve --workers` reach gunicorn without a token in the environment."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from portal.cli import handover
from portal.cli.handover import VARIABLE, hand_over, read_options

SECRET = "s3cret-tökèn"


@pytest.mark.parametrize("anonymous", [True, False])
@pytest.mark.parametrize("options", [{}, {"tokens": [f"ann={SECRET}"]}, {"title": "x" * 1_000_000}], ids=len)
def test_other_programs_read_the_options(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], anonymous: bool
) -> None:
    if not anonymous:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setenv(VARIABLE, "")
    hand_over(options)
    number = int(os.environ[VARIABLE])
    try:
        assert read_options() == read_options() == options
        program = "import json; from portal.cli.handover import read_options; print(json.dumps(read_options()))"
        run = subprocess.run([sys.executable, "-c", program], pass_fds=[number], capture_output=True, check=True)
        assert handover.json.loads(run.stdout) == options
        assert SECRET not in str(dict(os.environ))
    finally:
        os.close(number)
