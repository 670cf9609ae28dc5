"""FunctionTable: a plug-in of the scheduler, which keeps what portals publish. The scheduler loads this module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

from distributed.diagnostics.plugin import SchedulerPlugin

__all__ = ["FunctionTable"]

_Plugin: Any = SchedulerPlugin
_Entry = Mapping[str, Any]
_REFILL_SECONDS = 10.0  # seconds after the start of the scheduler in which portals publish again
_OWNER_TIMEOUT = 60.0  # seconds after which a portal that is not heard of is replaced by another one
_MAX_WITHDRAWN = 10_000  # paths


class FunctionTable(_Plugin):  # type: ignore[misc]  # Any, whether distributed is installed or not
    """The entries of each owner by path. Several portals may publish the same path; the newest entry counts.

    Args:
        clock: seconds, as `time.monotonic`.

    Threads: one, that of the scheduler.
    """

    name = "portal-functions"
    idempotent = True

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self.clear()

    async def start(self, scheduler: Any) -> None:
        """Add the operations to those of a scheduler."""
        self.clear()
        for operation in (self.change, self.renew, self.find, self.list):
            scheduler.handlers[f"portal_{operation.__name__}"] = operation

    def clear(self) -> None:
        """Forget everything, as a scheduler that has restarted."""
        self._started_at = self._clock()
        self._entries: dict[str, dict[str, _Entry]] = {}  # by path and owner
        self._paths: dict[str, set[str]] = {}  # of each owner with entries
        self._seen: dict[str, float] = {}  # when such an owner was heard of
        self._withdrawn: dict[str, None] = {}  # paths without an entry, the oldest first

    def change(self, owner: str, entries: Mapping[str, _Entry | None], anew: bool = False) -> None:
        """Publish entries of an owner by path; None withdraws one.

        Args:
            anew: whether the owner has no other entries.
        """
        if anew:
            for path in self._paths.get(owner, set()) - entries.keys():
                self._withdraw(path, owner)
        for path, entry in entries.items():
            if entry is None:
                self._withdraw(path, owner)
            else:
                self._publish(path, owner, entry)

    def _publish(self, path: str, owner: str, entry: _Entry) -> None:
        self._paths.setdefault(owner, set()).add(path)
        self._seen[owner] = now = self._clock()
        found = self._entries.setdefault(path, {})
        found[owner] = entry
        for silent in [other for other in found if now - self._seen[other] > _OWNER_TIMEOUT]:
            self._withdraw(path, silent)
        self._withdrawn.pop(path, None)

    def _withdraw(self, path: str, owner: str) -> None:
        paths = self._paths.get(owner, set())
        if path not in paths:
            return
        paths.remove(path)
        if not paths:
            del self._paths[owner], self._seen[owner]
        found = self._entries[path]
        del found[owner]
        if not found:
            del self._entries[path]
            self._withdrawn[path] = None
            if len(self._withdrawn) > _MAX_WITHDRAWN:
                del self._withdrawn[next(iter(self._withdrawn))]

    def renew(self, owner: str) -> int:
        """Note that an owner is alive, and return how many entries it has; 0 after a restart of the scheduler."""
        if owner in self._paths:
            self._seen[owner] = self._clock()
        return len(self._paths.get(owner, ()))

    def find(self, path: str) -> dict[str, Any]:
        """Return the `entry` at a path, or None, and whether it may be missing because of a restart (`is_filling`)."""
        is_young = self._clock() - self._started_at < _REFILL_SECONDS
        return {"entry": self._newest(path), "is_filling": is_young and path not in self._withdrawn}

    def list(self) -> dict[str, _Entry]:
        """Return the newest entry of each path, without the functions themselves."""
        return {path: {**self._newest(path), "data": None} for path in self._entries}

    def _newest(self, path: str) -> Any:
        return max(self._entries.get(path, {}).values(), key=lambda entry: float(entry["since"]), default=None)
