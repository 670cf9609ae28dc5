"""A store that accepts a question and does not answer: a call by name ends at its own deadline, for each kind."""

from __future__ import annotations

import builtins
import json
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from portal import CallCancelled, CallContext, CallTimeout, Consumer, HTTPPortal, function
from portal.directory import Registration, open_directory
from tests.support import valkey
from tests.support.dns_server import DNSServer
from tests.support.waiting import WAIT, eventually

HANGS = 2 * WAIT  # seconds for which a store would hold its caller
LATE = WAIT / 2  # seconds after which a call with a short timeout did not end at its deadline

Hang = Callable[[], AbstractContextManager[None]]


@function(idempotent=True)
def add(a: int, b: int) -> int:
    return a + b


@contextmanager
def registered(url: str) -> Iterator[None]:
    """Serve a function that is in the directory."""
    with HTTPPortal(directory=Registration(url, lease=600.0)) as portal, closing(open_directory(url)) as directory:
        portal.apply(add)
        eventually(lambda: directory.instances("add") != ())
        yield


@contextmanager
def redis_store(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[tuple[str, Hang]]:
    with valkey.running() as server:
        url = f"redis://127.0.0.1:{server.port}/0"

        @contextmanager
        def hang() -> Iterator[None]:
            assert server._process is not None
            server._process.send_signal(signal.SIGSTOP)
            try:
                yield
            finally:
                server._process.send_signal(signal.SIGCONT)

        with registered(f"{url}#shop"):
            yield f"{url}?socket_timeout={HANGS}#shop", hang


@contextmanager
def sqlite_store(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[tuple[str, Hang]]:
    patch.setattr("portal.directory.sqlite._BUSY", HANGS)
    path = folder / "portals.sqlite"

    @contextmanager
    def hang() -> Iterator[None]:
        with closing(sqlite3.connect(path, isolation_level=None, timeout=WAIT)) as other:
            other.execute("BEGIN EXCLUSIVE")
            yield
            other.execute("ROLLBACK")

    with registered(f"sqlite://{path}"):
        yield f"sqlite://{path}", hang


@contextmanager
def dns_store(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[tuple[str, Hang]]:
    patch.setattr("portal.directory.dns._TIMEOUT", HANGS)
    with DNSServer() as server, HTTPPortal() as portal:
        base = portal.apply(add)
        server.records["shop.example.", "A"] = (1, ["127.0.0.1"])

        @contextmanager
        def hang() -> Iterator[None]:
            server.silent = True
            try:
                yield
            finally:
                server.silent = False

        yield f"dns://127.0.0.1:{server.port}/shop.example?port={base.port}", hang


@contextmanager
def file_store(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[tuple[str, Hang]]:
    path = folder / "portals.json"
    released = threading.Event()
    released.set()

    def read(*args: Any, **options: Any) -> Any:
        assert released.wait(HANGS)
        return builtins.open(*args, **options)

    patch.setattr("portal.directory.file.open", read, raising=False)  # a network file system that has gone away

    @contextmanager
    def hang() -> Iterator[None]:
        released.clear()
        path.touch()  # else an old file is not read again
        try:
            yield
        finally:
            released.set()

    with HTTPPortal() as portal:
        path.write_text(json.dumps({"add": [str(portal.apply(add))]}))
        yield f"file://{path}", hang


STORES = [redis_store, sqlite_store, dns_store, file_store]


@pytest.fixture(params=STORES, ids=[one.__name__.removesuffix("_store") for one in STORES])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, Hang]]:
    with request.param(tmp_path, monkeypatch) as made:
        yield made


def test_the_first_call_of_a_name_ends_at_its_deadline(store: tuple[str, Hang]) -> None:
    url, hang = store
    with Consumer(directory=url) as consumer:
        with hang():
            for _ in range(2):
                begun = monotonic()
                with pytest.raises(CallTimeout) as caught:
                    consumer.call("add", {"a": 1, "b": 2}, timeout=0.2)
                assert monotonic() < begun + LATE
                assert not caught.value.may_have_executed
                assert caught.value.hint == "the directory has not responded"
            with pytest.raises(CallTimeout), CallContext.for_call(0.2).active():  # of the outer call
                list(consumer.stream("add", {"a": 1, "b": 2}))
        assert consumer.call("add", {"a": 1, "b": 2}, timeout=WAIT) == 3


def test_a_cancelled_call_does_not_wait_for_the_first_list(store: tuple[str, Hang]) -> None:
    url, hang = store
    outcomes: list[BaseException] = []

    def call() -> None:
        try:
            consumer.call("add", {"a": 1, "b": 2}, context=outer, timeout=HANGS)
        except BaseException as error:
            outcomes.append(error)

    with Consumer(directory=url) as consumer:
        with hang():
            outer = CallContext()
            thread = threading.Thread(target=call)
            thread.start()
            eventually(lambda: outer._listeners is not None)  # the call waits for the directory
            outer.cancel()
            thread.join(LATE)
            assert not thread.is_alive()
        assert [type(one) for one in outcomes] == [CallCancelled]


def test_another_name_does_not_wait_for_a_poll_that_hangs(store: tuple[str, Hang]) -> None:
    """The list is known; only the watch of the name is new."""
    url, hang = store
    with Consumer(directory=url) as consumer:
        directory = consumer._directory
        assert directory is not None
        assert directory.instances("other") == () or url.startswith("dns:")
        with hang():
            eventually(lambda: directory._directory._polling_since is not None)  # type: ignore[attr-defined]
            begun = monotonic()
            assert consumer.call("add", {"a": 1, "b": 2}, timeout=LATE) == 3
            assert monotonic() < begun + LATE
