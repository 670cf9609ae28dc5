"""The number of processors is the one that this process may use."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from portal._internal.processors import count_processors


def test_there_is_at_least_one() -> None:
    assert 1 <= count_processors() <= (os.cpu_count() or 1)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity")
def test_a_process_on_one_processor_has_one() -> None:
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from portal._internal.processors import count_processors; print(count_processors())"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert found.stdout.strip() == "1"
