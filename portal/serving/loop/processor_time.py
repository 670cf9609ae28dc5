"""ProcessorTime: how long requests keep a processor busy, by client and by path.

A request that waits, as for a database, does not disturb others. One that computes does: threads of one process share
the interpreter's lock, so that each computing thread makes every other thread wait for its turn.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable

__all__ = ["BUSY", "ProcessorTime"]

BUSY = 1e-3  # seconds of processor time; a request that usually takes more is processor-bound
_MAX_SAMPLE = 4 * BUSY  # a longer request counts as this, so that one pause of the interpreter changes little
_WEIGHT = 1 / 16  # of the latest request in the average


class ProcessorTime:
    """The usual processor time of requests.

    Requests of one client for one path have an average of their own, because the client decides what it sends there.
    The first request of a client is judged by the average of its path. While no request of a path has ended, the path
    is judged by what is supposed of it.

    Args:
        max_keys: number of averages of each kind. When there are more, the one that was noted longest ago is forgotten.

    Threads: any. The averages are read without the lock: a reader sees the former value or the new one.
    """

    def __init__(self, max_keys: int = 4096) -> None:
        self._max_keys = max_keys
        self._of_paths: OrderedDict[Hashable, float] = OrderedDict()
        self._of_clients: OrderedDict[Hashable, float] = OrderedDict()
        self._supposed: OrderedDict[Hashable, float] = OrderedDict()  # of paths
        self._lock = threading.Lock()  # guards changes of all three

    def is_busy(self, client: str, path: Hashable) -> bool | None:
        """Return whether a request is likely to take more than BUSY of processor time; None if that is unknown."""
        usual = self._of_clients.get((client, path))
        if usual is None:
            usual = self._of_paths.get(path)
        if usual is None:
            usual = self._supposed.get(path)
        return None if usual is None else usual > BUSY

    def suppose(self, path: Hashable, seconds: float) -> None:
        """Suppose the processor time of a path's requests until one of them has ended."""
        with self._lock:
            self._set(self._supposed, path, seconds)

    def note(self, client: str, path: Hashable, seconds: float) -> None:
        """Note the processor time that a request has taken."""
        seconds = min(seconds, _MAX_SAMPLE)
        with self._lock:
            self._add(self._of_clients, (client, path), seconds)
            self._add(self._of_paths, path, seconds)
            self._supposed.pop(path, None)

    def _add(self, averages: OrderedDict[Hashable, float], key: Hashable, seconds: float) -> None:
        usual = averages.get(key, seconds)
        self._set(averages, key, usual + (seconds - usual) * _WEIGHT)

    def _set(self, averages: OrderedDict[Hashable, float], key: Hashable, seconds: float) -> None:
        averages[key] = seconds
        averages.move_to_end(key)
        if len(averages) > self._max_keys:
            averages.popitem(last=False)
