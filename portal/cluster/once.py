"""OnceOnly: a plug-in of the scheduler, so that a task that was sent to a worker is not sent to another one.

Dask runs a task again if its worker dies, if its worker is retired, or if its result is lost before the caller has it.
`retries=` does not change that. A function that is not idempotent must not run again. The scheduler loads this module,
and a worker that gets such a task again.
"""

from __future__ import annotations

from typing import Any, NoReturn

from distributed.diagnostics.plugin import SchedulerPlugin

from ..errors import TransportError

_Plugin: Any = SchedulerPlugin

__all__ = ["PREFIX", "OnceOnly", "reject_second_run"]

#: How the keys of these tasks begin.
PREFIX = "portal-once-"


class OnceOnly(_Plugin):  # type: ignore[misc]  # Any, whether distributed is installed or not
    """Makes a task fail, and not run again, if its worker or its result is lost.

    It applies to tasks whose keys begin with `PREFIX`. If their worker dies, they fail at once. Otherwise what the task
    runs is replaced, so that it fails on the next worker.
    """

    name = "portal-once-only"
    idempotent = True

    async def start(self, scheduler: Any) -> None:
        """Begin to watch the tasks of a scheduler."""
        self._scheduler = scheduler

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        """Count the failures of a task that starts as used up; replace a task that a worker has had."""
        task = self._scheduler.tasks.get(key) if isinstance(key, str) and key.startswith(PREFIX) else None
        if task is None:
            return
        if finish == "processing":
            task.suspicious = max(task.suspicious, self._scheduler.allowed_failures)
        elif finish == "released" and start in ("processing", "memory"):
            task.run_spec = type(task.run_spec)(key, reject_second_run)


def reject_second_run() -> NoReturn:
    """Stand for a task that a worker has had. Raises: TransportError."""
    raise TransportError("the worker of the call has left the cluster, or its result was lost; it is not run again")
