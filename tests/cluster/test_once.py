"""OnceOnly: tasks that must not run again have no failures left when they start."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

pytest.importorskip("distributed", reason="the package distributed is not installed")

from portal import TransportError
from portal.cluster.once import PREFIX, OnceOnly, reject_second_run


def test_only_its_own_tasks_are_marked() -> None:
    tasks = {name: SimpleNamespace(suspicious=0) for name in (f"{PREFIX}add-1", "portal-add-1", "other")}
    plugin = OnceOnly()
    asyncio.run(plugin.start(SimpleNamespace(tasks=tasks, allowed_failures=3)))
    for name in [*tasks, f"{PREFIX}unknown", ("tuple", 1)]:
        plugin.transition(name, "waiting", "processing")
    assert {name: task.suspicious for name, task in tasks.items()} == {
        f"{PREFIX}add-1": 3,
        "portal-add-1": 0,
        "other": 0,
    }
    tasks[f"{PREFIX}add-1"].suspicious = 0
    plugin.transition(f"{PREFIX}add-1", "processing", "memory")
    assert tasks[f"{PREFIX}add-1"].suspicious == 0


class Spec:
    def __init__(self, key: str, function: object) -> None:
        self.function = function


@pytest.mark.parametrize("start", ["processing", "memory"])
def test_a_task_that_a_worker_has_had_is_replaced(start: str) -> None:
    tasks = {name: SimpleNamespace(suspicious=0, run_spec=Spec(name, max)) for name in (f"{PREFIX}add-1", "other")}
    plugin = OnceOnly()
    asyncio.run(plugin.start(SimpleNamespace(tasks=tasks, allowed_failures=3)))
    for name in tasks:
        plugin.transition(name, "waiting", "released")
        assert tasks[name].run_spec.function is max
        plugin.transition(name, start, "released")
    assert [task.run_spec.function for task in tasks.values()] == [reject_second_run, max]
    with pytest.raises(TransportError) as caught:
        reject_second_run()
    assert caught.value.may_have_executed
