"""RejectionLog: one line a subject, and a bounded number of lines."""

from __future__ import annotations

import pytest

from portal.directory.rejections import RejectionLog
from tests.support.clocks import Clock


def test_a_subject_is_logged_once_in_an_interval(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    log = RejectionLog("left out", interval=60.0, max_lines=2, clock=clock)
    for _ in range(3):
        log.note("a", "its signature is wrong")
    assert [one.getMessage() for one in caplog.records] == ["left out: 'a': its signature is wrong"]
    for subject in "bcd":
        log.note(subject, "x")
    assert len(caplog.records) == 2
    clock.now += 60.0
    log.note("a", "x")
    assert [one.getMessage() for one in caplog.records[2:]] == [
        "left out: 2 more in the last interval were not logged",
        "left out: 'a': x",
    ]


def test_long_texts_are_cut(caplog: pytest.LogCaptureFixture) -> None:
    RejectionLog("left out", clock=Clock()).note("a" * 1000, "b" * 10_000)
    assert len(caplog.text) < 1000
