"""The parts of a listener: a start that fails half-way leaves nothing behind."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from portal import Consumer, HTTPPortal, function
from portal.errors import OverloadedError
from portal.http import HTTPClient
from portal.serving import Listener, ServingConfig, engine, listener
from portal.serving.engine import build_engine
from portal.serving.io import poller
from portal.serving.loop.acceptor import Acceptor
from portal.serving.loop.leader import LeaderFollower
from portal.serving.loop.reactor import Reactor
from portal.serving.mounted_apps import MountedApps

WAIT = 10.0
OURS = ("portal-listener", "portal-serve")

#: Each step of a start after the socket is open.
STEPS: list[tuple[Any, str]] = [
    (listener, "is_bound_to_loopback"),
    (engine, "WorkerPool"),
    (engine, "open_poller"),
    (engine, "ConnectionTable"),
    (poller._EpollPoller, "listen"),
    (engine, "Acceptor"),
    (engine, "RequestScheduler"),
    (engine, "Reactor"),
    (Reactor, "start"),
    (LeaderFollower, "_start_leader"),
]
ERRORS: list[BaseException] = [MemoryError(), OSError(24, "Too many open files"), KeyboardInterrupt()]


@function
def add(a: int, b: int) -> int:
    return a + b


def failing(error: BaseException) -> Callable[..., Any]:
    def fail(*args: Any, **options: Any) -> Any:
        raise error

    return fail


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(OURS)]


def open_one() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
@pytest.mark.parametrize(("where", "name"), STEPS, ids=[name for _, name in STEPS])
@pytest.mark.parametrize("error", ERRORS, ids=[type(error).__name__ for error in ERRORS])
def test_a_start_that_fails_half_way_is_undone(
    monkeypatch: pytest.MonkeyPatch, where: Any, name: str, error: BaseException
) -> None:
    before, running = descriptors(), threads()
    portal = HTTPPortal()
    address = portal.apply(add)
    with monkeypatch.context() as patch:
        patch.setattr(where, name, failing(error))
        with pytest.raises(type(error)):
            portal.start()
    assert not portal.listener.running
    assert not portal.listener.ready
    assert not portal.accepting
    assert portal.stats()["listener"] == {"running": False, "ready": False}
    assert threads() == running
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", portal.port), WAIT)
    portal.start()  # on the same port
    with Consumer() as consumer:
        assert consumer.call_at(address, {"a": 1, "b": 2}) == 3
    portal.close()
    assert descriptors() <= before


def test_a_start_without_a_thread_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    running = threads()
    for name in ("portal-listener", "portal-listener-watch"):
        start = threading.Thread.start

        def fail(thread: threading.Thread, name: str = name, start: Any = start) -> None:
            if thread.name == name:
                raise RuntimeError("can't start new thread")
            start(thread)

        with monkeypatch.context() as patch, HTTPPortal(listen=False) as hosted:
            patch.setattr(threading.Thread, "start", fail)
            portal = HTTPPortal()
            with pytest.raises(OverloadedError, match=f"no thread can be started for {name}:"):
                portal.start()
            assert hosted.accepting
        assert threads() == running
        portal.start()
        assert portal.listener.ready
        portal.close()


def test_the_sockets_of_a_supervisor_stay_open_after_a_start_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_one() as sock:
        one = Listener()
        one.adopt([sock.dup()])
        with monkeypatch.context() as patch:
            patch.setattr(Reactor, "start", failing(MemoryError()))
            with pytest.raises(MemoryError):
                one.start()
        assert one.adopted
        one.start()
        assert one.ready
        one.stop()


def test_the_file_of_a_socket_is_removed_after_a_start_that_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "socket"
    portal = HTTPPortal(f"unix:{path}", http=HTTPClient(sockets={"localhost": str(path)}))
    with monkeypatch.context() as patch:
        patch.setattr(Reactor, "start", failing(MemoryError()))
        with pytest.raises(MemoryError):
            portal.start()
    assert not path.exists()
    with portal:
        assert path.exists()


@pytest.mark.parametrize("name", ["stop_accepting", "end", "has_unfinished"])
def test_a_stop_of_which_a_step_fails_stops_all_the_same(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    running = threads()
    portal = HTTPPortal()
    portal.start()
    original = getattr(Reactor, name)

    def fail(*args: Any) -> Any:
        original(*args)
        raise RuntimeError("wrong")

    with monkeypatch.context() as patch:
        patch.setattr(Reactor, name, fail)
        with pytest.raises(RuntimeError, match="wrong"):
            portal.listener.stop(0.1)
    assert not portal.listener.running
    assert threads() == running
    portal.close()


def test_no_part_starts_a_thread_when_it_is_made() -> None:
    running = threads()
    with open_one() as sock:
        made = build_engine(
            [sock],
            ServingConfig(),
            tls=None,
            shared=False,
            before=(0, 0, 0),
            apps=MountedApps(),
        )
        assert isinstance(made.acceptor, Acceptor)
        assert threads() == running
        made.reactor.abort_start()
