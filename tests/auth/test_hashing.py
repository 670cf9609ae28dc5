"""Hashes are computed by few threads, of a lower priority than those that serve calls."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from portal import AuthenticationError, BasicAuth, OverloadedError
from portal._internal.executor import WorkerPool
from portal.auth import hashing, passwords
from portal.auth.authentication import authenticate
from tests.support.credentials import authorized, basic

WAIT = 10.0
#: A cheap hash of "right".
RIGHT = "scrypt:2:1:1$salt$" + hashlib.scrypt(b"right", salt=b"salt", n=2, r=1, p=1, dklen=64).hex()


@pytest.fixture
def pool_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], WorkerPool]:
    """Makes the pool of a process with some number of processors."""

    def make(processors: int) -> WorkerPool:
        monkeypatch.setattr(hashing, "_pools", [])
        monkeypatch.setattr(hashing, "count_processors", lambda: processors)
        return hashing.hashing_pool()

    return make


@pytest.mark.parametrize(("processors", "threads"), [(1, 1), (2, 1), (4, 3), (16, 15)])
def test_one_processor_is_left_to_other_calls(
    processors: int, threads: int, pool_of: Callable[[int], WorkerPool]
) -> None:
    pool = pool_of(processors)
    assert pool.workers == threads
    assert hashing.hashing_pool() is pool


def test_all_authenticators_of_a_process_compute_one_hash_at_a_time_on_two_processors(
    pool_of: Callable[[int], WorkerPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool_of(2)
    lock, running, highest, names = threading.Lock(), 0, 0, set()
    compute = passwords._scrypt

    def count(*arguments: Any) -> bytes:
        nonlocal running, highest
        with lock:
            running += 1
            highest = max(highest, running)
            names.add(threading.current_thread().name)
        try:
            return compute(*arguments)
        finally:
            with lock:
                running -= 1

    monkeypatch.setattr(passwords, "_scrypt", count)
    first, second = BasicAuth({"ann": RIGHT}, max_hashing=8), BasicAuth({"bob": RIGHT}, max_hashing=8)
    running = highest = 0
    names.clear()  # the constructors have computed hashes, too

    def guess(number: int) -> str:
        auth, user = (first, "ann") if number % 2 else (second, "bob")
        credential = basic(f"{user}:right") if number < 4 else basic(f"{user}:{number}")
        try:
            return authenticate([auth], authorized(credential, peer=f"192.0.2.{number}")).name
        except AuthenticationError:
            return "wrong"

    with ThreadPoolExecutor(12) as threads:
        found = list(threads.map(guess, range(12)))
    assert found == ["bob", "ann", "bob", "ann"] + ["wrong"] * 8
    assert highest == 1
    assert names == {"portal-hash-1"}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a priority for each thread")
def test_a_hash_has_a_lower_priority_and_its_caller_keeps_its_own(pool_of: Callable[[int], WorkerPool]) -> None:
    pool_of(2)

    def priority() -> int:
        assert sys.platform == "linux"
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = priority()
    process = os.getpriority(os.PRIO_PROCESS, os.getpid())
    assert [hashing.compute_apart(priority) for _ in range(2)] == [min(19, process + 5)] * 2
    assert priority() == before
    assert os.getpriority(os.PRIO_PROCESS, os.getpid()) == process


def test_a_hash_is_computed_where_the_priority_cannot_be_changed(
    pool_of: Callable[[int], WorkerPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "not permitted")

    pool_of(2)
    monkeypatch.setattr(os, "setpriority", refuse, raising=False)
    assert hashing.compute_apart(sum, [1, 2]) == 3


def test_the_caller_gets_what_the_hash_raises(pool_of: Callable[[int], WorkerPool]) -> None:
    pool_of(2)
    with pytest.raises(ZeroDivisionError):
        hashing.compute_apart(divmod, 1, 0)


def test_more_hashes_than_may_wait_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, started = threading.Event(), threading.Event()
    pool = WorkerPool(1, 0, name="test-hash")
    monkeypatch.setattr(hashing, "_pools", [pool])

    def hold() -> bool:
        started.set()
        return gate.wait(WAIT)

    with ThreadPoolExecutor(1) as threads:
        held = threads.submit(hashing.compute_apart, hold)
        assert started.wait(WAIT)
        try:
            with pytest.raises(OverloadedError):
                hashing.compute_apart(sum, [1])
        finally:
            gate.set()
        assert held.result(WAIT)
