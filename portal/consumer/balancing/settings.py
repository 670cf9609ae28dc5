"""Balancing: how calls are spread over the instances of a function, as one value."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..._internal.settings import count, instance, number, positive_seconds, require, seconds, text
from ...resilience.policy import BALANCE_NAMES
from ...resilience.retry_budget import RetryBudget
from .hashing import ConsistentHash
from .outliers import Outliers
from .pickers import LeastOutstanding, PeakEWMA, Picker, PickFirst, RoundRobin, WeightedRoundRobin

__all__ = ["PICKERS", "Balancing"]

#: The pickers by the names that `Policy(balance=...)` takes. ConsistentHash needs a key, so it has no name.
PICKERS: dict[str, Callable[[], Picker]] = dict(
    zip(BALANCE_NAMES, (PickFirst, RoundRobin, WeightedRoundRobin, LeastOutstanding, PeakEWMA), strict=True)
)
_EXPECTED = f"one of {', '.join(map(repr, BALANCE_NAMES))}, or a picker: an object or class with pick(candidates, call)"


def _client_key() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


@dataclass(frozen=True, kw_only=True)
class Balancing:
    """Settings for load balancing over the instances of a function.

        Policy(balance=Balancing(picker="peak_ewma", zone="eu-1a", slow_start=30.0))

    Attributes:
        picker: a name ("pick_first", "round_robin", "weighted", "least_outstanding", "peak_ewma"), or an object or
            class with a method `pick(candidates, call)`, such as ConsistentHash.
        zone: the zone of this caller. Instances in it are preferred while enough of them are healthy. None for no
            preference.
        slow_start: seconds in which an instance that joins or comes back rises from a tenth of its weight to all of it.
        outliers: when instances that fail are ejected; None ejects none.
        panic_threshold: percent of healthy instances below which ejections are ignored, because the healthy ones could
            not take all calls. With fewer healthy ones in the zone, other zones are used as well.
        subset: the number of instances that this caller uses where there are more; None uses all. Different callers
            use different ones.
        subset_key: what the choice of the subset depends on; host name and process id by default. A caller with a fixed
            key has the same subset after a restart.
        budget: how many attempts may follow failed ones; see RetryBudget. An attempt after one that did not reach an
            instance is free.
        max_sends: how many instances one call may be sent to.
        attempt_timeout: seconds after which an attempt of a call that may be sent again is given up, and the next
            instance is tried. None waits until the deadline of the call.

    Raises: ConfigError for a wrong setting.

    Threads: immutable; any thread may use it.
    """

    picker: Any = "round_robin"
    zone: str | None = None
    slow_start: float = 0.0
    outliers: Outliers | None = field(default_factory=Outliers)
    panic_threshold: float = 50.0
    subset: int | None = None
    subset_key: str | None = None
    budget: RetryBudget = field(default_factory=RetryBudget)
    max_sends: int = 5
    attempt_timeout: float | None = None

    def __post_init__(self) -> None:
        _require_picker("balancing.picker", self.picker)
        text("balancing.zone", self.zone, optional=True)
        seconds("balancing.slow_start", self.slow_start)
        instance("balancing.outliers", self.outliers, Outliers, optional=True)
        number("balancing.panic_threshold", self.panic_threshold, minimum=0, maximum=100)
        count("balancing.subset", self.subset, optional=True)
        text("balancing.subset_key", self.subset_key, optional=True)
        instance("balancing.budget", self.budget, RetryBudget)
        count("balancing.max_sends", self.max_sends)
        positive_seconds("balancing.attempt_timeout", self.attempt_timeout, optional=True)

    @staticmethod
    def of(value: Any) -> Balancing:
        """Return what `Policy(balance=...)` stands for: a Balancing, or one with this picker.

        Raises: ConfigError for anything else.
        """
        if isinstance(value, Balancing):
            return value
        _require_picker("policy.balance", value)
        return Balancing(picker=value)

    def make_picker(self) -> Picker:
        """Return the picker of a new group. An object without `for_group` serves all groups."""
        made = PICKERS[self.picker]() if isinstance(self.picker, str) else self.picker
        if isinstance(made, type):
            made = made()
        for_group = getattr(made, "for_group", None)
        found: Picker = for_group() if callable(for_group) else made
        return found

    @property
    def picker_name(self) -> str:
        """The name of the picker, for people."""
        if isinstance(self.picker, str):
            return self.picker
        return self.picker.__name__ if isinstance(self.picker, type) else type(self.picker).__name__

    @property
    def client_key(self) -> str:
        """The key that decides which subset of the instances this client uses."""
        return self.subset_key or _client_key()


def _require_picker(setting: str, value: Any) -> None:
    is_picker = value in PICKERS if isinstance(value, str) else callable(getattr(value, "pick", None))
    require(is_picker and value is not ConsistentHash, setting, value, _EXPECTED)
