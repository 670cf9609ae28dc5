"""Portals join a directory, leave it, are killed and frozen, while calls by name go on."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from time import monotonic

from portal import Address, Consumer
from portal.directory import Instance, PolledDirectory, open_directory
from portal.resilience import Hedge, Policy
from tests.support.directory_members import Members

__all__ = ["Events"]

WAIT = 120.0
_MIN_ALIVE = 3


class Events:
    """Runs events one after the other, and notes when the directory shows each.

    At least two portals are alive and not frozen at each moment, so that no call may fail.

    Attributes:
        failures: what calls raised.
        calls: how many calls were made.
        times: seconds from an event to its effect, by the kind of the event.
    """

    def __init__(self, members: Members, seed: int) -> None:
        self._members = members
        self._random = random.Random(seed)
        self._alive: list[Address] = []
        self._changed = threading.Condition()
        self._seen: set[str] = set()
        self._seen_at = 0.0
        self._over = threading.Event()
        self.failures: list[str] = []
        self.calls = 0
        self.times: dict[str, list[float]] = defaultdict(list)

    def run(self, count: int, threads: int = 2) -> None:
        directory = open_directory(self._members.url)
        watch = directory.watch("pid", self._note)
        try:
            for _ in range(_MIN_ALIVE):
                self._join("start")
            workers = [threading.Thread(target=self._load, args=(directory,)) for _ in range(threads)]
            for worker in workers:
                worker.start()
            try:
                kinds = self._members.kinds * (count // len(self._members.kinds) + 1)
                for kind in kinds[:count]:
                    getattr(self, f"_{kind}")(kind)
            finally:
                self._over.set()
                for worker in workers:
                    worker.join(WAIT)
        finally:
            watch.close()
            directory.close()

    def _note(self, found: tuple[Instance, ...]) -> None:
        with self._changed:
            self._seen = {_port_of(one.address) for one in found}
            self._seen_at = monotonic()
            self._changed.notify_all()

    def _wait(self, kind: str, base: Address, *, there: bool, begun: float) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: (_port_of(base) in self._seen) is there, WAIT), (kind, str(base))
            self.times[kind].append(max(0.0, self._seen_at - begun))  # its portal may end later than that

    def _load(self, directory: PolledDirectory) -> None:
        policy = Policy(hedge=Hedge(initial_delay=0.3, min_delay=0.1))
        with Consumer(directory=directory, policy=policy) as consumer:
            while not self._over.is_set():
                try:
                    consumer.call("pid", timeout=WAIT)
                except BaseException as error:
                    self.failures.append(f"{type(error).__name__}: {error}")
                self.calls += 1

    def _take(self) -> Address:
        while len(self._alive) < _MIN_ALIVE:
            self._join("join")
        base = self._random.choice(self._alive)
        self._alive.remove(base)
        return base

    def _join(self, kind: str) -> None:
        base = self._members.start()
        begun = monotonic()  # it serves now
        self._members.enlist(base)
        self._alive.append(base)
        self._wait(kind, base, there=True, begun=begun)

    def _leave(self, kind: str) -> None:
        base = self._take()
        begun = monotonic()
        with self._members.leaving(base):
            self._wait(kind, base, there=False, begun=begun)

    def _kill(self, kind: str) -> None:
        base = self._take()
        begun = monotonic()
        self._members.kill(base)
        self._wait(kind, base, there=False, begun=begun)

    def _freeze(self, kind: str) -> None:
        base = self._take()
        begun = monotonic()
        self._members.freeze(base)
        self._wait(kind, base, there=False, begun=begun)
        begun = monotonic()
        self._members.thaw(base)
        self._wait("thaw", base, there=True, begun=begun)
        self._alive.append(base)


def _port_of(address: Address) -> str:
    """Return what tells the members apart: in DNS they have the name of their host."""
    return address.authority.rpartition(":")[2]
