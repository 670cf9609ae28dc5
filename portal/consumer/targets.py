"""GroupTable: the groups of instances that a Consumer calls, by their addresses or by name."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from functools import partial
from typing import Any, NamedTuple

from .._internal.at_fork import new_lock
from .._internal.closing import close_and_log
from .._internal.settings import instance
from ..address import Address
from ..catalogue.suggestions import most_similar
from ..directory.base import Directory, Watch
from ..directory.instance import Instance
from ..errors import ConfigError, RegistryError
from .balancing.settings import Balancing
from .function_cache import FunctionCache
from .group import InstanceGroup
from .pending import PendingFunction

__all__ = ["GroupKind", "GroupTable", "Target"]

#: What `Consumer.call` takes: a name, or the equal instances of one function.
Target = str | Iterable[Address | str | Instance]

_MAX_GROUPS = 1024


class GroupKind(NamedTuple):
    """The settings by which a group picks instances. Groups of one target and different kinds share nothing.

    Attributes:
        number: a number for each pair of the other two.
        balancing: how an instance is picked.
        transports: the schemes to use, the preferred one first; None for all alike.
    """

    number: int
    balancing: Balancing
    transports: tuple[str, ...] | None


class GroupTable:
    """Make groups on first use, and keep the most recently used ones.

    Args:
        functions: tells whether an address is remote; forgets a function whose instance has changed.
        directory: where names are looked up, or None.

    Raises: ConfigError for a directory that is not one.

    Threads: any.
    """

    def __init__(self, functions: FunctionCache, directory: Directory | None = None) -> None:
        self._functions = functions
        expected = "a Directory: an object with problem, instances(name) and watch(name, on_change)"
        self._directory = instance("consumer.directory", directory, Directory, optional=True, expected=expected)
        self._lock = new_lock()  # guards the groups
        self._groups: OrderedDict[Hashable, tuple[InstanceGroup, Watch | None]] = OrderedDict()  # newest last

    @property
    def problem(self) -> str | None:
        """Why the lists of the directory may be out of date, or None."""
        return None if self._directory is None else self._directory.problem

    def find(self, target: Target, kind: GroupKind) -> InstanceGroup | None:
        """Return the group of a target, or None if no call has made it. Raises: ConfigError, as `get`."""
        key = (target if isinstance(target, str) else _key_of(target), kind.number)
        with self._lock:
            found = self._groups.get(key)
            if found is None:
                return None
            self._groups.move_to_end(key)
            return found[0]

    def get(self, target: Target, kind: GroupKind) -> InstanceGroup:
        """Return the group of a target. It may wait for the directory, until the deadline of the running call.

        Raises: ConfigError for a target that is neither a name nor a list of addresses, and for a name without a
            directory; AddressError; RegistryError for a name that has no instances; what the directory raises.
        """
        named = target if isinstance(target, str) else _key_of(target)
        found = self.find(named, kind)
        if found is not None:
            return found
        key = (named, kind.number)
        group, watch = self._make(named, kind, watched=True)
        with self._lock:
            kept = self._groups.setdefault(key, (group, watch))
            dropped = [] if kept[0] is group else [watch]
            while len(self._groups) > _MAX_GROUPS:
                dropped.append(self._groups.popitem(last=False)[1][1])
        for one in dropped:
            _close(one)
        return kept[0]

    def peek(self, target: Target, kind: GroupKind) -> InstanceGroup:
        """Return the group of a target; one that no call has made is not kept, and has no watch. Raises: as `get`."""
        named = target if isinstance(target, str) else _key_of(target)
        found = self._groups.get((named, kind.number))
        return self._make(named, kind, watched=False)[0] if found is None else found[0]

    def _make(
        self, target: str | tuple[Any, ...], kind: GroupKind, *, watched: bool
    ) -> tuple[InstanceGroup, Watch | None]:
        if not isinstance(target, str):
            instances = tuple(Instance.of(one) for one in target)
            return self._group(instances[0].address.name, instances, kind), None
        directory = self._directory
        if directory is None:
            expected = 'such as Consumer(directory="sqlite:////var/lib/portals.sqlite"); call_at calls one address'
            message = f"consumer.directory must be set to call {target[:100]!r} by its name"
            raise ConfigError(message, path="consumer.directory", expected=expected)
        found = directory.instances(target)
        if not found:
            problem = directory.problem or ""
            words = f"no instance of {target} is registered" + (f"; {problem}" if problem else "")
            raise RegistryError(words, name=target, hint=problem or _suggestion(directory, target))
        group = self._group(target, found, kind)
        return group, directory.watch(target, partial(self._changed, group)) if watched else None

    def _group(self, name: str, instances: tuple[Instance, ...], kind: GroupKind) -> InstanceGroup:
        first = instances[0].address
        return InstanceGroup(
            name,
            instances,
            kind.balancing,
            transports=kind.transports,
            function=PendingFunction(first, partial(self._functions.fetch, str(first))),
            is_remote=any(self._functions.is_remote(one.address) for one in instances),
        )

    def _changed(self, group: InstanceGroup, instances: tuple[Instance, ...]) -> None:
        """Use the instances that a directory reports, and fetch the schema again where the fingerprint has changed."""
        known = {one.text: one.instance.fingerprint for one in group.candidates}
        for one in instances:
            text = str(one.address)
            if known.get(text, one.fingerprint) != one.fingerprint:
                self._functions.forget(text)
        group.replace(instances)

    def close(self) -> None:
        """End the watches of the directory, which stays open. May be called twice."""
        with self._lock:
            watches = [watch for _, watch in self._groups.values()]
            self._groups.clear()
        for one in watches:
            _close(one)


def _suggestion(directory: Directory, name: str) -> str:
    tell = getattr(directory, "known_names", None)
    known = [tuple(one.split("/")) for one in tell()] if callable(tell) else []
    near = ["/".join(path) for path in most_similar(tuple(name.split("/")), known)]
    return f"did you mean {' or '.join(near)}?" if near else ""


def _close(watch: Watch | None) -> None:
    if watch is not None:
        close_and_log(watch, "a watch of the directory")


def _key_of(target: Any) -> tuple[Any, ...]:
    expected = "the name of a function, or a list of addresses"
    if isinstance(target, Address | Instance):
        return (target,)
    if not isinstance(target, Iterable):
        raise ConfigError.invalid("target", target, expected)
    key = tuple(target)
    if not key or not all(isinstance(one, str | Address | Instance) for one in key):
        raise ConfigError.invalid("target", target, expected)
    return key
