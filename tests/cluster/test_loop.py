"""LoopThread: an event loop in a thread, which ends."""

from __future__ import annotations

import asyncio

import pytest

from portal.cluster.loop import LoopThread


def test_a_loop_runs_until_it_is_stopped() -> None:
    made = LoopThread()
    assert asyncio.run_coroutine_threadsafe(asyncio.sleep(0, "done"), made.loop).result(30.0) == "done"
    waits = asyncio.run_coroutine_threadsafe(asyncio.Event().wait(), made.loop)
    made.stop()
    made.stop()
    assert waits.cancelled()
    assert not made._thread.is_alive()
    assert made.loop.is_closed()


def test_a_loop_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError("too many open files")

    monkeypatch.setattr(asyncio, "new_event_loop", fail)
    monkeypatch.setattr(asyncio.events, "new_event_loop", fail)
    with pytest.raises(OSError, match="too many"):
        LoopThread()
