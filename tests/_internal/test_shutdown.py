"""A call that needs a thread while the interpreter ends."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from portal import Consumer, LocalPortal, OverloadedError, PortalError
from portal._internal.shutdown import raise_if_shutting_down

NEW = "can't create new thread at interpreter shutdown"


@pytest.mark.parametrize("words", [NEW, "cannot schedule new futures after interpreter shutdown"])
def test_the_error_says_what_it_is(words: str) -> None:
    direct, wrapped = RuntimeError(words), OverloadedError("no thread can be started", cause=RuntimeError(words))
    for error in (direct, wrapped):
        with pytest.raises(PortalError, match="the interpreter is shutting down and starts no threads") as info:
            raise_if_shutting_down(error)
        found = info.value
        assert (type(found), found.retryable, found.delivery, found.cause) == (PortalError, False, "not_sent", error)


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), OverloadedError("busy"), ValueError()])
def test_other_errors_are_left_alone(error: Exception) -> None:
    raise_if_shutting_down(error)


def add(a: int, b: int) -> int:
    return a + b


@pytest.mark.parametrize("way", ["call_at", "submit_at", "map_at"])
def test_each_way_to_call_says_so(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: Any) -> None:
        raise RuntimeError(NEW)

    with LocalPortal() as local, Consumer([local]) as consumer:
        address = local.apply(add)
        monkeypatch.setattr("threading.Thread.start", start)
        params: Any = {"a": 1, "b": 2}
        options = {"timeout": 5.0} if way == "call_at" else {}
        with pytest.raises(PortalError, match="interpreter is shutting down") as info:
            list(getattr(consumer, way)(address, [params] if way == "map_at" else params, **options))
    assert not isinstance(info.value, OverloadedError)


def test_an_executor_of_the_application_that_has_ended_with_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = ThreadPoolExecutor(1)
    monkeypatch.setattr("concurrent.futures.thread._shutdown", True)
    with LocalPortal(executor=executor) as local, Consumer([local]) as consumer:
        address = local.apply(add)
        with pytest.raises(PortalError, match="interpreter is shutting down"):
            consumer.call_at(address, {"a": 1, "b": 2})
    executor.shutdown()


def test_a_call_in_an_atexit_handler_returns_or_says_so() -> None:
    program = """
import atexit
from portal import Consumer, LocalPortal, PortalError

def add(a: int, b: int) -> int:
    return a + b

local = LocalPortal()
address, consumer = local.apply(add), Consumer([local])

@atexit.register
def last() -> None:
    print(consumer.call_at(address, {"a": 1, "b": 2}))
    try:
        print(consumer.call_at(address, {"a": 1, "b": 2}, timeout=5))
    except PortalError as error:
        print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    first, second = done.stdout.splitlines()
    assert first == "3"
    if sys.version_info < (3, 12):
        assert second == "3"
    else:
        # Later Pythons start threads in atexit handlers again.
        assert second == "3" or second.startswith("PortalError the interpreter is shutting down")
