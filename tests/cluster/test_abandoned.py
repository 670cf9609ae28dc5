"""A task that nobody waits for: on its worker, the call that runs learns of it, and no further call starts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("distributed", reason="the package distributed is not installed")

from portal import CallCancelled, CallContext, CallTimeout
from portal.cluster import DaskPortal
from portal.cluster.abandoned import ReleaseWatch, cancelled_with_task
from tests.support import cluster_functions as functions
from tests.support.dask_cluster import WAIT, quiet
from tests.support.fifos import read_fifo

pytestmark = quiet


def require_one_run(portal: DaskPortal, notes: Path) -> None:
    """Check that the waiting call was cancelled, and that no call of its task ran after it."""
    assert read_fifo(Path(f"{notes}.ended"), WAIT) == "cancelled"
    assert list(portal.map_at(portal.apply(functions.add), [{"a": 1, "b": 2}])) == [3.0]  # after it, as in a queue
    assert functions.runs(str(notes)) == 1


def calls(notes: Path) -> list[dict[str, Any]]:
    return [{"path": str(notes), "wait": number == 0} for number in range(10)]


@pytest.mark.parametrize("how", ["deadline", "cancel"])
def test_a_map_that_ends_before_its_chunk(portal: DaskPortal, notes: Path, how: str) -> None:
    address = portal.apply(functions.wait_until_cancelled)
    context = CallContext()

    def map_calls() -> list[Any]:
        with context.active():
            return list(portal.map_at(address, calls(notes), chunk=10, timeout=10.0 if how == "deadline" else WAIT))

    with ThreadPoolExecutor(1) as threads:
        found = threads.submit(map_calls)
        assert read_fifo(Path(f"{notes}.started"), WAIT) == "started"
        if how == "cancel":
            context.cancel()
        with pytest.raises(CallCancelled if how == "cancel" else CallTimeout):
            found.result(WAIT)
    require_one_run(portal, notes)


def test_a_map_whose_results_are_not_taken(portal: DaskPortal, notes: Path) -> None:
    address = portal.apply(functions.wait_until_cancelled)
    first = [{"path": f"{notes}.others", "wait": False}] * 10
    results = portal.map_at(address, [*first, *calls(notes)], chunk=10, timeout=WAIT)
    assert next(results) is None
    assert read_fifo(Path(f"{notes}.started"), WAIT) == "started"
    results.close()  # type: ignore[attr-defined]
    require_one_run(portal, notes)


def test_a_context_outside_of_a_worker() -> None:
    context = CallContext()
    with cancelled_with_task(context):
        assert not context.cancelled


@pytest.mark.parametrize(("state", "cancelled"), [("executing", False), ("cancelled", True), (None, True)])
def test_a_task_that_is_released_before_the_watch_is_there(state: str | None, cancelled: bool) -> None:
    watch, context = ReleaseWatch(), CallContext()
    watch.contexts["key"] = context
    tasks = {} if state is None else {"key": SimpleNamespace(state=state)}
    watch.setup(SimpleNamespace(state=SimpleNamespace(tasks=tasks)))
    assert context.cancelled is cancelled


def test_a_task_that_is_released() -> None:
    watch, context = ReleaseWatch(), CallContext()
    watch.contexts["key"] = context
    watch.transition("other", "executing", "released")
    watch.transition("key", "executing", "memory")
    assert not context.cancelled
    watch.transition("key", "executing", "released")
    assert context.cancelled
