"""OnceOnly: a plug-in of the scheduler, so that a task whose worker died is not run again.

Dask runs such a task again on other workers, three times by default, and `retries=` does not change that. A function
that is not idempotent must not run again. This module is loaded by the scheduler.
"""

from __future__ import annotations

from typing import Any

from distributed.diagnostics.plugin import SchedulerPlugin

_Plugin: Any = SchedulerPlugin

__all__ = ["PREFIX", "OnceOnly"]

#: How the keys of these tasks begin.
PREFIX = "portal-once-"


class OnceOnly(_Plugin):  # type: ignore[misc]  # Any, whether distributed is installed or not
    """Makes a task fail, and not run again, if its worker dies. It applies to tasks whose keys begin with `PREFIX`."""

    name = "portal-once-only"
    idempotent = True

    async def start(self, scheduler: Any) -> None:
        """Begin to watch the tasks of a scheduler."""
        self._scheduler = scheduler

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        """Count the failures of a task that starts as used up."""
        if finish == "processing" and isinstance(key, str) and key.startswith(PREFIX):
            task = self._scheduler.tasks.get(key)
            if task is not None:
                task.suspicious = max(task.suspicious, self._scheduler.allowed_failures)
