"""Publication: entries at a scheduler that loses them, and that does not respond."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pytest

pytest.importorskip("distributed", reason="the package distributed is not installed")

from portal.cluster.publication import Publication
from portal.cluster.table import FunctionTable
from portal.errors import TransportError
from tests.support.raising import failing_log_handler, raising_once
from tests.support.waiting import eventually

ADD, SUB = {"name": "add", "since": 1.0}, {"name": "sub", "since": 1.0}


class Memory:
    """A scheduler."""

    def __init__(self) -> None:
        self.table = FunctionTable()
        self.fails = False
        self.writes = 0

    def _check(self) -> None:
        if self.fails:
            raise TransportError("gone", delivery="not_sent")

    def change(self, owner: str, entries: Mapping[str, Mapping[str, Any] | None], *, anew: bool = False) -> None:
        self._check()
        self.writes += 1
        self.table.change(owner, entries, anew)

    def renew(self, owner: str) -> int:
        self._check()
        return self.table.renew(owner)

    def restart(self) -> None:
        self.table.clear()

    @property
    def names(self) -> dict[str, str]:
        return {path: entry["name"] for path, entry in self.table.list().items()}


@pytest.fixture
def scheduler() -> Memory:
    return Memory()


def test_what_is_wanted_is_published_while_it_is_active(scheduler: Memory) -> None:
    wanted = {"add/1": ADD}
    publication = Publication(scheduler, lambda: dict(wanted), interval=3600.0)
    publication.update()
    assert scheduler.names == {}
    publication.start()
    assert scheduler.names == {"add/1": "add"}
    wanted["sub/1"] = SUB
    publication.update()
    assert scheduler.names == {"add/1": "add", "sub/1": "sub"}
    writes = scheduler.writes
    publication.update()
    assert scheduler.writes == writes
    del wanted["add/1"]
    publication.update()
    assert scheduler.names == {"sub/1": "sub"}
    publication.stop()
    publication.stop()
    assert scheduler.names == {}
    assert not publication.active


def test_a_restarted_scheduler_gets_everything_again(scheduler: Memory, caplog: pytest.LogCaptureFixture) -> None:
    publication = Publication(scheduler, lambda: {"add/1": ADD}, interval=0.0)
    publication.start()
    publication._loop.stop()
    scheduler.fails = True
    publication._wait_and_check()
    publication._wait_and_check()
    assert caplog.text.count("the scheduler does not respond") == 1
    scheduler.fails = False
    scheduler.restart()
    publication._wait_and_check()
    assert scheduler.names == {"add/1": "add"}
    publication.stop()


def test_a_replica_that_stops_takes_away_nothing_of_others(scheduler: Memory) -> None:
    one = Publication(scheduler, lambda: {"add/1": ADD}, interval=0.0)
    two = Publication(scheduler, lambda: {"add/1": ADD}, interval=0.0)
    for publication in (one, two):
        publication.start()
        publication._loop.stop()
    two.stop()
    assert scheduler.names == {"add/1": "add"}, "the entry of the first one is left"
    two.start()
    one.stop()
    assert scheduler.names == {"add/1": "add"}
    two.stop()
    assert scheduler.names == {}


def test_a_scheduler_that_does_not_respond(scheduler: Memory, caplog: pytest.LogCaptureFixture) -> None:
    publication = Publication(scheduler, lambda: {"add/1": ADD}, interval=3600.0)
    scheduler.fails = True
    with pytest.raises(TransportError):
        publication.start()
    assert not publication.active
    scheduler.fails = False
    publication.start()
    scheduler.fails = True
    publication.stop()
    assert "were not withdrawn" in caplog.text


def test_the_last_of_two_changes_at_once_counts(scheduler: Memory) -> None:
    """A thread that is stopped within its change must not undo that of another thread."""
    wanted: dict[str, Any] = {"add/1": ADD}
    reading, go_on = threading.Event(), threading.Event()

    def read() -> dict[str, Any]:
        found = dict(wanted)
        if threading.current_thread() is first:
            reading.set()
            go_on.wait(30.0)
        return found

    publication = Publication(scheduler, read, interval=3600.0)
    first = threading.Thread(target=publication.update)
    publication.start()
    first.start()
    reading.wait(30.0)
    wanted["sub/1"] = SUB
    second = threading.Thread(target=publication.update)
    second.start()
    go_on.set()
    for thread in (first, second):
        thread.join(30.0)
    assert scheduler.names == {"add/1": "add", "sub/1": "sub"}
    publication.stop()


def test_a_start_during_a_stop_goes_on(scheduler: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    publication = Publication(scheduler, lambda: {"add/1": ADD}, interval=3600.0)
    publication.start()
    stop = publication._loop.stop

    def start_first() -> None:
        publication.start()
        stop()

    with monkeypatch.context() as patch:
        patch.setattr(publication._loop, "stop", start_first)
        publication.stop()
    assert publication._loop.running
    assert scheduler.names == {"add/1": "add"}
    publication.stop()


# faults inside


def test_a_stop_that_fails_ends_the_thread(scheduler: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    publication = Publication(scheduler, lambda: {"add/1": ADD}, interval=3600.0)
    publication.start()
    thread = publication._loop._thread
    raising_once(monkeypatch, scheduler, "change", MemoryError())
    with pytest.raises(MemoryError):
        publication.stop()
    assert thread is not None
    assert not thread.is_alive()
    assert not publication.active
    publication.start()
    assert scheduler.names == {"add/1": "add"}
    publication.stop()
    assert scheduler.names == {}


@pytest.mark.parametrize("error", [RuntimeError("injected"), MemoryError(), SystemExit(1)])
@pytest.mark.parametrize("step", ["change", "renew"])
def test_the_thread_goes_on_after_a_step_that_raises(
    scheduler: Memory, monkeypatch: pytest.MonkeyPatch, error: BaseException, step: str
) -> None:
    publication = Publication(scheduler, lambda: {"add/1": ADD, "sub/1": SUB}, interval=0.005)
    with failing_log_handler():
        publication.start()
        left = raising_once(monkeypatch, scheduler, step, error, thread="portal-dask")
        scheduler.restart()
        eventually(lambda: not left)
        eventually(lambda: scheduler.names == {"add/1": "add", "sub/1": "sub"})
    publication.stop()
    assert scheduler.names == {}
