"""FunctionTable: entries of several owners at one path."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("distributed", reason="the package distributed is not installed")

from portal.cluster.table import FunctionTable
from tests.support.clocks import Clock

OLD: dict[str, Any] = {"name": "add", "data": b"old", "since": 1.0}
NEW: dict[str, Any] = {"name": "add", "data": b"new", "since": 2.0}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def table(clock: Clock) -> FunctionTable:
    return FunctionTable(clock)


def entry(table: FunctionTable, path: str = "add") -> Any:
    return table.find(path)["entry"]


def test_the_newest_entry_counts(table: FunctionTable) -> None:
    table.change("b", {"add": NEW})
    table.change("a", {"add": OLD})
    assert entry(table) == NEW
    assert table.list() == {"add": {**NEW, "data": None}}
    table.change("b", {"add": None})
    assert entry(table) == OLD
    table.change("a", {}, anew=True)
    assert entry(table) is None
    assert table.list() == {}


def test_an_owner_that_begins_anew_has_no_other_entries(table: FunctionTable) -> None:
    table.change("a", {"add": OLD, "sub": OLD})
    table.change("b", {"add": NEW})
    table.change("a", {"mul": OLD}, anew=True)
    assert table.renew("a") == 1
    assert [entry(table, path) for path in ("add", "sub", "mul")] == [NEW, None, OLD]


def test_what_is_missing_after_a_restart_was_not_withdrawn(table: FunctionTable, clock: Clock) -> None:
    table.change("a", {"add": OLD})
    table.change("a", {"add": None})
    assert not table.find("add")["is_filling"]
    assert table.find("other")["is_filling"]
    clock.now += 11.0
    assert not table.find("other")["is_filling"]


def test_an_owner_that_is_silent_is_replaced(table: FunctionTable, clock: Clock) -> None:
    table.change("dead", {"add": NEW, "sub": NEW})
    clock.now += 61.0
    assert entry(table) == NEW, "its function can still be called"
    table.change("a", {"add": OLD})
    assert entry(table) == OLD
    assert entry(table, "sub") == NEW
    assert table.renew("dead") == 1, "so that it publishes again"


def test_what_is_kept_is_bounded(table: FunctionTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.cluster.table._MAX_WITHDRAWN", 10)
    for number in range(500):
        table.change(f"owner{number}", {f"add/{number}": OLD})
        table.change(f"owner{number}", {}, anew=True)
    assert len(table._withdrawn) == 10
    assert (table._seen, table._paths, table._entries) == ({}, {}, {})
