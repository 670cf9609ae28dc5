"""AdaptiveLimit: bound the calls that run at a time by a limit that it finds from how long they take."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from copy import copy
from time import monotonic
from typing import Any

from .._internal.at_fork import new_lock, renew_after_fork
from .._internal.conditions import Place
from .._internal.settings import callback, count, number, positive_seconds, require, whole_number
from ..calls.middleware import Call, CallNext
from ..errors import CallTimeout, FunctionError, OverloadedError, PortalError
from .bulkhead import HeldStream
from .gradient import Gradient2, GradientRules
from .keyed import KeyedState, authority_of

__all__ = ["AdaptiveLimit", "identity_of", "is_admitted"]

_MIN_RETRY_AFTER = 0.01  # seconds


def service_of(call: Call) -> str:
    """Return the authority that a client calls; "" on a server, whose functions share one limit."""
    return "" if call.address is None else authority_of(call)


def identity_of(call: Call) -> str:
    """Return the name of the caller's identity, or "" for an anonymous caller."""
    identity = call.context.identity
    return "" if identity is None else identity.name


def is_admitted(limit: int, running: int, partitions: int, own: int) -> bool:
    """Return whether a call may run.

    Args:
        limit: the calls that may run.
        running: the calls that run.
        partitions: the partitions with running calls, and the one of this call.
        own: the calls of its partition that run.

    While places are free, a partition may use them all. When they are taken, each may still run its equal share. So a
    partition gets its share at once, and all together run less than twice the limit.
    """
    return running < limit or (own < limit // partitions and running < 2 * limit)


class AdaptiveLimit:
    """Middleware of a client or a server: bounds the calls that run at a time, and finds the bound by itself.

        HTTPPortal(middleware=[AdaptiveLimit(partition=identity_of)])     # a server protects itself
        Consumer(policy=Policy(limiter=AdaptiveLimit()))                  # a client spares its servers

    The limit grows while calls take about as long as on average, and shrinks when they take longer, since calls then
    wait for each other (the algorithm Gradient2). Calls beyond the limit are rejected at once. A client has a limit for
    each service that it calls, a server one for all its functions.

    A call counts if its function ran. A call that the peer rejects as overloaded, or that gets no response in time,
    lowers the limit. Other errors do not count. A stream holds its place until it ends, and does not count.

    Args:
        initial: the limit at the start.
        minimum, maximum: the bounds of the limit.
        queue: the calls by which the limit grows for each window, before smoothing: those that may wait in the server.
        smoothing: the weight of the newest window, above 0 and at most 1.
        tolerance: how many times the average a call may take before the limit shrinks, at least 1.
        min_gradient: the factor by which one window may shrink the limit at most, before smoothing.
        window: seconds for which durations are averaged; at least ten calls.
        partition: callable (call) -> str, such as `identity_of` or the tenant; None for no partitions. When the limit
            is reached, each partition with running calls may still run an equal share of the limit.
        key: callable (call) -> str; each key has a limit of its own. By default the authority on a client, and one
            limit on a server.
        max_entries: the largest number of keys whose limit is kept.
        clock: seconds, as `time.monotonic`.

    Raises: ConfigError for a wrong setting. A call raises OverloadedError if the limit is reached.

    Threads: any. Fork: a child process keeps the limit and starts with no running calls.
    """

    around = "call"  # the kind of middleware; see `resolve_middleware`

    def __init__(
        self,
        initial: int = 20,
        *,
        minimum: int = 1,
        maximum: int = 200,
        queue: int = 4,
        smoothing: float = 0.2,
        tolerance: float = 1.5,
        min_gradient: float = 0.5,
        window: float = 1.0,
        partition: Callable[[Call], str] | None = None,
        key: Callable[[Call], str] = service_of,
        max_entries: int = 1000,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        path = "adaptive_limit"
        self._rules = GradientRules(
            initial=count(f"{path}.initial", initial, maximum=1_000_000),
            minimum=count(f"{path}.minimum", minimum, maximum=1_000_000),
            maximum=count(f"{path}.maximum", maximum, maximum=1_000_000),
            queue=whole_number(f"{path}.queue", queue, minimum=0, maximum=1000),
            smoothing=number(f"{path}.smoothing", smoothing, above=0, maximum=1),
            tolerance=number(f"{path}.tolerance", tolerance, minimum=1),
            min_gradient=number(f"{path}.min_gradient", min_gradient, above=0, maximum=1),
            window=positive_seconds(f"{path}.window", window),
        )
        ordered = minimum <= initial <= maximum
        require(ordered, path, (minimum, initial, maximum), "ordered: minimum <= initial <= maximum")
        self._partition = callback(f"{path}.partition", partition, optional=True)
        self._key = callback(f"{path}.key", key)
        self._max_entries = count(f"{path}.max_entries", max_entries)
        self._clock = clock
        self._limits = self._new_limits()

    def _new_limits(self) -> KeyedState[_Limit]:
        return KeyedState(lambda: _Limit(self._rules, self._clock), self._max_entries, lambda one: one.is_idle)

    def for_consumer(self) -> AdaptiveLimit:
        """Return a limiter with the same settings that has not learned anything."""
        made = copy(self)
        made._limits = made._new_limits()
        return made

    def __call__(self, call: Call, call_next: CallNext) -> Any:
        """Make the call, or raise OverloadedError without a call."""
        key = self._key(call)
        limit = self._limits.get(key)
        partition = "" if self._partition is None else self._partition(call)
        place = limit.place(partition)
        try:
            if not limit.enter(place):
                raise _rejection(call, key, limit)
            result = call_next(call)
            if call.streaming:
                return HeldStream(iter(result), lambda: limit.leave(place, None))
            limit.leave(place, True)
            return result
        except PortalError as error:
            limit.leave(place, _counts(error))
            raise
        except BaseException:
            limit.leave(place, None)  # also if the handler of a signal has raised in `enter`, or in `leave`
            raise

    def stats(self) -> dict[str, dict[str, float]]:
        """Return limit, running and rejected calls, and the short and long averages in seconds, by key."""
        return {key: limit.stats() for key, limit in self._limits.items()}

    def counters(self) -> dict[str, int]:
        """Return the number of rejected calls, for `stats()` of a portal."""
        return {"over_adaptive_limit": int(sum(row["rejected"] for row in self.stats().values()))}


class _CallPlace(Place[str]):
    """The place of a call in its partition.

    Attributes:
        started: the moment at which it was asked for.
    """

    __slots__ = ("started",)

    def __init__(self, lost: deque[str], partition: str, started: float) -> None:
        self._lost = lost  # without the frame of another `__init__`, as each call passes here
        self.what = partition
        self.is_held = False
        self.started = started


class _Limit:
    """The limit of one key, and what runs under it.

    Threads: any.
    """

    def __init__(self, rules: GradientRules, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = new_lock()  # guards the attributes below
        self._gradient = Gradient2(rules)
        self._rejected = 0
        self.after_fork()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Count no running calls; called by `__init__`, and in a child process after a fork."""
        self._running = 0
        self._by_partition: dict[str, int] = {}
        self._lost: deque[str] = deque()

    @property
    def is_idle(self) -> bool:
        """Whether no call runs."""
        return self._running == 0

    @property
    def short(self) -> float:
        """The mean duration of recent calls in seconds."""
        return self._gradient.short

    @property
    def limit(self) -> int:
        """The present limit."""
        return self._gradient.limit

    def place(self, partition: str) -> _CallPlace:
        """Return a place for `enter`, which is not taken yet."""
        return _CallPlace(self._lost, partition, self._clock())

    def enter(self, place: _CallPlace) -> bool:
        """Count a call if it may run, and return whether it may. The call is followed by a `leave`."""
        partition = place.what
        with self._lock:
            if self._lost:
                self._reclaim()
            running = self._running
            by_partition = self._by_partition
            own = by_partition.get(partition, 0)
            limit = self._gradient.limit
            if running >= limit and not is_admitted(limit, running, len(by_partition) + (own == 0), own):
                self._rejected += 1
                return False
            self._running = running + 1
            by_partition[partition] = own + 1
            place.is_held = True
            return True

    def leave(self, place: _CallPlace, counted: bool | None) -> None:
        """Count the end of a call: one that ran (True), one that was dropped (False), or neither (None)."""
        if not place.is_held:
            return
        now = self._clock()
        with self._lock:
            running = self._running
            if counted is not None:
                self._gradient.add(max(0.0, now - place.started) if counted else None, running, now)
            self._give_back(place.what, place)

    def _give_back(self, partition: str, place: _CallPlace | None = None) -> None:
        """Count one call less."""
        own = self._by_partition.get(partition, 0) - 1
        fewer = max(0, self._running - 1)  # a child process may end a call of its parent
        if place is not None:
            place.is_held = False
        self._running = fewer
        if own > 0:
            self._by_partition[partition] = own
        elif partition in self._by_partition:
            del self._by_partition[partition]

    def _reclaim(self) -> None:
        while self._lost:
            self._give_back(self._lost.popleft())

    def stats(self) -> dict[str, float]:
        """Return the numbers that `AdaptiveLimit.stats` shows."""
        with self._lock:
            return {
                "limit": self._gradient.limit,
                "running": self._running,
                "rejected": self._rejected,
                "partitions": len(self._by_partition),
                "short": self._gradient.short,
                "long": self._gradient.long,
            }


def _counts(error: PortalError) -> bool | None:
    if isinstance(error, CallTimeout | OverloadedError):
        return None if error.delivery == "not_sent" and not error.received else False
    return True if isinstance(error, FunctionError) or error.executed else None


def _rejection(call: Call, key: str, limit: _Limit) -> OverloadedError:
    of = f" of {key}" if key else ""
    return OverloadedError(
        f"{limit.limit:,} calls{of} are running, which is the adaptive limit",
        retry_after=max(_MIN_RETRY_AFTER, round(limit.short, 3)),
        context={"request_id": call.context.request_id},
    )
