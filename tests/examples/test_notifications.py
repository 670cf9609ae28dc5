"""The progress of jobs: each client gets its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from portal import Consumer
from portal.examples import notifications


def test_each_client_gets_the_progress_of_its_own_job() -> None:
    with notifications.job_portal() as portal, Consumer() as consumer, ThreadPoolExecutor(3) as pool:
        base = str(portal.base)
        found = list(pool.map(lambda steps: list(notifications.follow(consumer, base, steps)), (3, 5, 7)))
    assert [[one.done for one in progress] for progress in found] == [list(range(1, n + 1)) for n in (3, 5, 7)]
    assert len({progress[0].job for progress in found}) == 3


def test_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert notifications.main() == 0
    assert capsys.readouterr().out.splitlines() == [f"{done} of 5" for done in range(1, 6)]
