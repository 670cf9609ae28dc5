"""Each step of the threads of a directory raises once: consumers hear of the next changes all the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from typing import Any

import pytest

from portal import Consumer, HTTPPortal, function
from portal._internal.background import failing_loops
from portal.consumer.targets import GroupTable
from portal.directory import Instance, PolledDirectory, Registration
from portal.directory import registration as registration_module
from portal.directory import source as source_module
from portal.directory.memory import MemoryStore
from portal.directory.source import RecordSource
from portal.errors import PortalError
from tests.support.raising import failing_log_handler, raising_once
from tests.support.waiting import eventually

WAIT = 60.0
ERRORS = [RuntimeError("injected"), MemoryError(), SystemExit(1)]
STEPS: list[tuple[Any, str]] = [
    (PolledDirectory, "poll"),
    (PolledDirectory, "_poll"),
    (PolledDirectory, "_tell"),
    (RecordSource, "poll"),
    (RecordSource, "_taken"),
    (RecordSource, "_problem_of"),
    (source_module, "decode"),
    (source_module, "_lookup"),
    (MemoryStore, "poll"),
    (GroupTable, "_changed"),
    (Registration, "renew"),
    (Registration, "keep"),
    (Registration, "_update"),
    (Registration, "_served"),
    (Registration, "_instance"),
    (Registration, "_write"),
    (registration_module, "encode"),
    (MemoryStore, "register"),
    (MemoryStore, "renew"),
]


class Served:
    """A portal that is registered, and a consumer that calls by name."""

    def __init__(self, stack: ExitStack) -> None:
        store = MemoryStore()
        self.registration = Registration(store, lease=0.9)
        self.portal = stack.enter_context(HTTPPortal(name="directories", directory=self.registration))
        self.directory = PolledDirectory(RecordSource(store, None, 0.005))
        stack.callback(self.directory.close)
        self.consumer = stack.enter_context(Consumer(directory=self.directory))
        self._numbers = count()

    def works(self, name: str) -> bool:
        try:
            return bool(self.consumer.call(name, {"number": 5}, timeout=WAIT) == 5)
        except PortalError:
            return False

    def change(self) -> None:
        """Publish and remove a function twice; consumers and watchers must hear of each change."""
        one = function(name=f"n{next(self._numbers)}")(lambda number: number)
        heard: list[tuple[Instance, ...]] = []
        watch = self.directory.watch(one.name, heard.append)
        for _ in range(2):
            address = self.portal.apply(one)
            eventually(lambda: self.works(one.name))
            eventually(lambda: len(heard[-1]) == 1)
            self.portal.remove(address)
            eventually(lambda: heard[-1] == ())
        watch.close()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setattr(registration_module, "_CHANGES", 0.005)
        yield Served(stack)


@pytest.mark.parametrize(("where", "name"), STEPS, ids=[f"{where.__name__}.{name}" for where, name in STEPS])
@pytest.mark.parametrize("error", ERRORS, ids=[type(error).__name__ for error in ERRORS])
def test_the_next_changes_are_heard(
    served: Served, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, error: BaseException
) -> None:
    for after in range(2):
        with monkeypatch.context() as patch, failing_log_handler():
            left = raising_once(patch, where, name, type(error)(*error.args), after=after, thread="portal-directory")
            served.change()
            eventually(lambda left=left: not left)
    eventually(lambda: served.directory.problem is None)
    assert not [one for one in failing_loops() if one.startswith("portal-directory")]
