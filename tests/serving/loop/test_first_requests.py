"""FirstRequests: one request of an unknown path tells what the others will cost."""

from __future__ import annotations

import time
from collections.abc import Hashable
from math import inf

import pytest

from portal.errors import OverloadedError
from portal.serving.loop.first_requests import LOOK, FirstRequest, FirstRequests
from portal.serving.loop.processor_time import BUSY, ProcessorTime

PATH = ("POST", "/api/report")
OTHER = ("POST", "/api/other")


def begun(firsts: FirstRequests[str], path: Hashable, now: float) -> FirstRequest[str]:
    first = firsts.begin(path, "first", now)
    assert first is not None
    return first


def test_one_request_of_a_path_is_the_first_and_the_others_wait_for_it() -> None:
    firsts: FirstRequests[str] = FirstRequests(ProcessorTime(), 2)
    first = begun(firsts, PATH, 1.0)
    assert firsts.begin(PATH, "second", 1.0) is None
    assert firsts.begin(PATH, "third", 1.0) is None
    assert len(firsts) == 2
    begun(firsts, OTHER, 1.0)
    assert firsts.end(first) == ["second", "third"]
    assert len(firsts) == 0
    begun(firsts, PATH, 1.0)


def test_an_end_that_comes_twice_ends_no_other_one() -> None:
    firsts: FirstRequests[str] = FirstRequests(ProcessorTime(), 2)
    first = begun(firsts, PATH, 1.0)
    firsts.end(first)
    begun(firsts, PATH, 1.0)
    assert firsts.end(first) == []
    assert firsts.begin(PATH, "second", 1.0) is None


def test_the_number_of_waiting_jobs_is_bounded() -> None:
    firsts: FirstRequests[str] = FirstRequests(ProcessorTime(), 2)
    for path in (PATH, OTHER):
        begun(firsts, path, 1.0)
        firsts.begin(path, "waits", 1.0)
    with pytest.raises(OverloadedError):
        firsts.begin(PATH, "more", 1.0)
    assert firsts.take_back(lambda job: True) == ["waits", "waits"]
    assert len(firsts) == 0
    assert firsts.look(2.0) == []


@pytest.mark.parametrize(
    ("spent", "busy"),
    [(10 * BUSY, True), (BUSY / 2, False), (None, False)],
    ids=["computes", "waits", "the system does not tell it"],
)
def test_a_path_is_judged_while_its_first_request_runs(spent: float | None, busy: bool) -> None:
    times = ProcessorTime()
    firsts: FirstRequests[str] = FirstRequests(
        times, 2, lambda thread: None if spent is None else time.thread_time() + spent
    )
    begun(firsts, PATH, 5.0)
    firsts.begin(PATH, "second", 5.0)
    assert firsts.look(5.0 + LOOK / 2) == []
    assert times.is_busy("ann", PATH) is None
    assert firsts.look(5.0 + LOOK) == ["second"]
    assert times.is_busy("ann", PATH) is busy
    assert len(firsts) == 0


def test_only_a_request_that_others_wait_for_needs_a_look() -> None:
    firsts: FirstRequests[str] = FirstRequests(ProcessorTime(), 2)
    begun(firsts, PATH, 4.0)
    begun(firsts, OTHER, 5.0)
    assert firsts.look_at == inf
    firsts.begin(OTHER, "second", 6.0)
    assert firsts.look_at == 5.0 + LOOK
    assert firsts.look(firsts.look_at) == ["second"]
    assert firsts.look_at == inf
