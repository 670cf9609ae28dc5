from __future__ import annotations

import pytest

from portal._internal.executor import WorkerPool
from portal._internal.job_queue import KeyLimit
from portal.errors import OverloadedError
from portal.serving.messages.held_keys import HeldKeys
from tests.support.waiting import WAIT


def test_keys_are_counted_right_whatever_step_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, key = WorkerPool(2, 4, limits={"function": KeyLimit(1, 4)}), ("function", "f")
    held = HeldKeys(pool)

    def fail(*args: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(pool, "hold", fail)
        with pytest.raises(MemoryError):
            held.hold(key)
    held.hold(key)
    with monkeypatch.context() as patch:
        patch.setattr(pool, "release", fail)
        with pytest.raises(MemoryError):
            held.drop(key)
    held.abandon()
    with monkeypatch.context() as patch:
        patch.setattr(pool, "recover", fail)
        with pytest.raises(MemoryError):
            held.release()
    assert pool.submit_with_keys((key,), lambda: 1).result(WAIT) == 1
    pool.shutdown(timeout=WAIT)


def test_a_held_key_counts_until_it_is_dropped_or_the_job_ends() -> None:
    pool, key, other = WorkerPool(2, 4, limits={"client": KeyLimit(1, 0)}), ("client", "ann"), ("client", "bob")
    held = HeldKeys(pool)
    held.hold(key)
    held.hold(other)
    for full in (key, other):
        with pytest.raises(OverloadedError):
            HeldKeys(pool).hold(full)
    held.drop(key)
    HeldKeys(pool).hold(key)
    held.release()
    HeldKeys(pool).hold(other)
    pool.shutdown(timeout=WAIT)


def test_an_abandoned_job_is_recovered_at_its_end() -> None:
    pool, key = WorkerPool(1, 4, limits={"client": KeyLimit(1, 4)}, spare=1), ("client", "ann")
    held = HeldKeys(pool)
    held.hold(key)
    held.abandon()
    assert pool.is_stalled((key,))
    held.release()
    assert not pool.is_stalled((key,))
    held.abandon()  # too late: the job has ended
    assert not pool.is_stalled((key,))
    pool.shutdown(timeout=WAIT)
