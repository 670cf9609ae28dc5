"""InstanceGroup: the instances of one function, and which of them gets the next call."""

from __future__ import annotations

import random as _random
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Any

from .._internal.at_fork import new_lock, renew_after_fork
from .._internal.conditions import Place
from .._internal.log import get_logger
from ..calls.middleware import Call
from ..directory.instance import Instance
from ..errors import ConfigError
from ..function import Function
from ..resilience.retry_budget import RetryTokens
from .balancing.candidate import Candidate
from .balancing.outcomes import SUCCESS, outcome_of, reason_of_pause
from .balancing.outliers import OutlierDetector
from .balancing.pickers import expected
from .balancing.selection import Selection, choose_subset, rank_of, reason_against, select
from .balancing.settings import Balancing

__all__ = ["CandidateState", "GroupStats", "InstanceGroup", "Lease", "Preview"]

_log = get_logger("portal.consumer")


@dataclass(frozen=True, slots=True)
class GroupStats:
    """Counts of one group.

    Attributes:
        instances: the instances of the group.
        healthy: those that are healthy and in the subset of this caller.
        outstanding: calls in progress.
        ejected: instances that are ejected at the moment.
        ejections: how many times an instance was ejected.
        panic: whether ejections are ignored because too few instances are healthy.
        panics: how many times that began.
    """

    instances: int
    healthy: int
    outstanding: int
    ejected: int
    ejections: int
    panic: bool
    panics: int


@dataclass(frozen=True, slots=True)
class CandidateState:
    """One instance of a group at one moment.

    Attributes:
        address: where it is called.
        weight: the weight of the instance.
        effective_weight: its weight during the slow start.
        zone, version: as the directory says, or None.
        outstanding: calls in progress there.
        latency: the peak EWMA in seconds, or None.
        calls, failures: the calls that ended there, and those of them that failed.
        tier: 0 for an instance that the next call may go to; a larger number for one that is used if others fail; None
            for one that is not used.
        reason: why it is not in the first tier, or None.
    """

    address: str
    weight: float
    effective_weight: float
    zone: str | None
    version: str | None
    outstanding: int
    latency: float | None
    calls: int
    failures: int
    tier: int | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Preview:
    """The choice that the next call of a group would make.

    Attributes:
        candidates: all instances.
        chosen: the address that the next call goes to; None if there is none, or if chance decides.
        panic: whether ejections are ignored because too few instances are healthy.
        choices: how many instances the picker may pick from.
    """

    candidates: tuple[CandidateState, ...]
    chosen: str | None
    panic: bool
    choices: int


class Lease(Place[tuple[Candidate, int]]):
    """One call in progress at an instance. `done` gives its place back.

    If nobody ends the call, as a stream was dropped or a signal's handler raised, its place comes back with its end.

    Threads: one at a time. `done` may be called more than once; the first time counts.
    """

    __slots__ = ("_group", "candidate", "started")

    def __init__(self, group: InstanceGroup, candidate: Candidate, started: float, epoch: int) -> None:
        self._lost = group.abandoned  # without the frame of another `__init__`, as each call passes here
        self.what = (candidate, epoch)
        self.is_held = False
        self.candidate = candidate
        self.started = started
        self._group = group

    def done(self, error: BaseException | None = None) -> None:
        """End the call: with its error, or with None after a response."""
        if self.is_held:
            self._group.settle(self, error)


class InstanceGroup:
    """The instances of one function, with their load and health.

    Args:
        name: for log lines.
        instances: the instances, in order of preference; each address counts once.
        balancing: how one is picked.
        transports: the schemes to use, the preferred one first; None for all alike.
        function: stands for the function until a call has fetched its schema.
        is_remote: whether a call may leave this process.
        clock: seconds, as `time.monotonic`.
        random: returns a number from 0 to 1, for the enforcement of ejections.

    Attributes:
        function: the function of the last call that succeeded; it has the schema.
        tokens: the budget for attempts after one that an instance may have worked on.
        abandoned: calls that nobody ended, to be taken from the load.

    Threads: any. A lock is held briefly before and after a call, never while a picker runs. Fork: a child process
    keeps what is known of the instances; the calls of its parent do not count there.
    """

    def __init__(
        self,
        name: str,
        instances: Iterable[Instance],
        balancing: Balancing | None = None,
        *,
        transports: tuple[str, ...] | None = None,
        function: Function[..., Any] | None = None,
        is_remote: bool = True,
        clock: Callable[[], float] = monotonic,
        random: Callable[[], float] = _random.random,
    ) -> None:
        self.name = name
        self.balancing = Balancing() if balancing is None else balancing
        self.transports = transports
        self.function = function
        self.is_remote = is_remote
        self.tokens = RetryTokens(self.balancing.budget)
        self.abandoned: deque[tuple[Candidate, int]] = deque()
        self._clock = clock
        self._picker = self.balancing.make_picker()
        self._lock = new_lock()  # guards the candidates and the fields below
        rules = self.balancing.outliers
        self._detector = None if rules is None else OutlierDetector(rules, random=random)
        self._interval = inf if rules is None else rules.interval
        self._sweep_at = clock() + self._interval
        self._recheck_at = -inf  # when the selection must be made anew
        self._panics = 0
        self._epoch = 0
        self._selection = Selection((), False, 0, inf)
        self._candidates: tuple[Candidate, ...] = ()
        self._subset: tuple[Candidate, ...] = ()
        self.replace(instances)
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Forget the calls of the parent process; a child process calls this by itself."""
        self._epoch += 1
        for candidate in self._candidates:
            candidate.outstanding = 0
        self._recheck_at = -inf

    def replace(self, instances: Iterable[Instance]) -> None:
        """Use these instances. One that stays keeps its load and health; one that joins begins with the slow start."""
        given = {str(one.address): one for one in instances}
        now = self._clock()
        with self._lock:
            known = {one.text: one for one in self._candidates}
            candidates = []
            for text, one in given.items():
                candidate = known.get(text)
                if candidate is None:
                    candidate = Candidate(one, now=now if known else None, clock=self._clock)
                else:
                    candidate.instance = one
                candidates.append(candidate)
            self._candidates = tuple(candidates)
            self._subset = choose_subset(candidates, self.balancing, self.transports)
            self._recheck_at = -inf

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """All candidates, to read."""
        return self._candidates

    def remember(self, function: Function[..., Any]) -> None:
        """Remember the function that a call was made of, with its schema, for the middleware of later calls."""
        self.function = function

    def lease(self, call: Call, excluded: Collection[str] = ()) -> Lease | None:
        """Pick an instance for a call, and count the call as in progress there.

        Args:
            call: the call, for the picker.
            excluded: addresses that are not to be picked, as they have failed this call.

        Returns: None if there is no other instance.
        Raises: ConfigError if a picker returns something else than a candidate; what a picker raises.
        """
        now = self._clock()
        if self.abandoned:
            self._reclaim()
        selection = self._selection if now < self._recheck_at else self._refresh(now)
        busy: Candidate | None = None
        for tier in selection.tiers:
            candidates = tier
            while True:
                if excluded:
                    candidates = tuple(one for one in candidates if one.text not in excluded)
                if not candidates:
                    break
                candidate = candidates[0] if len(candidates) == 1 else self._picker.pick(candidates, call)
                if candidate.__class__ is not Candidate:
                    words = f"a picker that returns a candidate for {self.name}"
                    raise ConfigError.invalid("balancing.picker", candidate, words)
                lease = Lease(self, candidate, now, self._epoch)
                if self._take(lease):
                    return lease
                busy = busy or candidate
                excluded = (*excluded, candidate.text)
        if busy is None:
            return None
        lease = Lease(self, busy, now, self._epoch)
        self._take(lease, is_last=True)
        return lease

    def _reclaim(self) -> None:
        with self._lock:
            while self.abandoned:
                candidate, epoch = self.abandoned.popleft()
                if epoch == self._epoch:
                    candidate.outstanding -= 1

    def _take(self, lease: Lease, is_last: bool = False) -> bool:
        """Count a call. One call at a time tries an unreachable instance, unless nothing else is left."""
        candidate = lease.candidate
        with self._lock:
            if candidate.down_until is not None:
                if candidate.outstanding and not is_last:
                    return False
                self._recheck_at = -inf
            candidate.outstanding += 1
            lease.is_held = True
            return True

    def settle(self, lease: Lease, error: BaseException | None) -> None:
        """Count the end of a call; a Lease calls it."""
        (candidate, epoch), started = lease.what, lease.started
        failed, reached, pause = SUCCESS if error is None else outcome_of(error)
        now = self._clock()
        with self._lock:
            lease.is_held = False
            if epoch != self._epoch:  # the call of a parent process
                return
            candidate.outstanding -= 1
            if failed is not None:
                candidate.observe(now - started, now, failed)
            elif pause is None:
                candidate.observe_at_least(now - started, now)
            if reached and (candidate.down_until is not None or candidate.barred_until):
                candidate.accept(now)
                self._recheck_at = -inf
            elif reached is False or (candidate.down_until is not None and failed):
                candidate.refuse(now)
                self._recheck_at = -inf
            if pause is not None:
                candidate.barred_until = now + pause
                candidate.barred_why = reason_of_pause(error)
                self._recheck_at = -inf

    def _refresh(self, now: float) -> Selection:
        """Make the selection anew, after the end of an interval of the outlier detection if it is over."""
        balancing = self.balancing
        with self._lock:
            if now >= self._sweep_at and self._detector is not None:
                self._sweep_at = now + self._interval
                for candidate in self._detector.sweep(self._candidates, now):
                    candidate.joined_at = now
            for candidate in self._candidates:
                candidate.warm_up(now, balancing.slow_start)
            before = self._selection.panic
            made = select(self._candidates, now, balancing, self.transports, self._subset)
            self._selection = made
            self._recheck_at = min(made.recheck_at, self._sweep_at)
            begins = made.panic and not before
            self._panics += begins
            total = len(self._subset)
        if begins:
            _log.warning(
                "panic: %s has %d healthy instances of %d; ejections are ignored", self.name, made.healthy, total
            )
        return made

    def stats(self) -> GroupStats:
        """Return the counts of this group."""
        selection = self._current()
        with self._lock:
            candidates = self._candidates
            return GroupStats(
                instances=len(candidates),
                healthy=selection.healthy,
                outstanding=sum(one.outstanding for one in candidates),
                ejected=sum(one.ejected_at is not None for one in candidates),
                ejections=0 if self._detector is None else self._detector.ejections,
                panic=selection.panic,
                panics=self._panics,
            )

    def _current(self) -> Selection:
        """Return the selection at this moment, without an end of an interval, a log line or a turn."""
        self._reclaim()
        return select(self._candidates, self._clock(), self.balancing, self.transports, self._subset)

    def summary(self) -> str:
        """Return the state of the group in one line, for errors."""
        stats = self.stats()
        tokens = self.tokens.stats()["tokens"]
        now = self._clock()
        reasons = [f"{one.text}: {reason}" for one in self._candidates if (reason := self.reason_against(one, now))]
        more = f" and {len(reasons) - 3} more" if len(reasons) > 3 else ""
        return (
            f"{stats.healthy} of {stats.instances} instances healthy, {self.balancing.picker_name}"
            f"{', panic' if stats.panic else ''}, {tokens:.0f} tokens left"
            + (f"; {', '.join(reasons[:3])}{more}" if reasons else "")
        )

    def preview(self, call: Call) -> Preview:
        """Return what the next call would do, and why; no lease or turn is taken."""
        now, selection = self._clock(), self._current()
        first = selection.tiers[0] if selection.tiers else ()
        chosen = first[0] if len(first) == 1 else expected(self._picker, first, call) if first else None
        order = {one.text: number for number, tier in enumerate(selection.tiers) for one in tier}
        rows = [self._row(one, now, order) for one in self._candidates]
        return Preview(tuple(rows), None if chosen is None else chosen.text, selection.panic, len(first))

    def _row(self, candidate: Candidate, now: float, order: dict[str, int]) -> CandidateState:
        return CandidateState(
            address=candidate.text,
            weight=candidate.instance.weight,
            effective_weight=candidate.weight,
            zone=candidate.instance.zone,
            version=candidate.instance.version,
            outstanding=candidate.outstanding,
            latency=candidate.latency,
            calls=candidate.calls,
            failures=candidate.failures,
            tier=order.get(candidate.text),
            reason=self.reason_against(candidate, now),
        )

    def reason_against(self, candidate: Candidate, now: float | None = None) -> str | None:
        """Return why a candidate gets no calls, or is used only if others fail; None if it is among the first."""
        if candidate.instance.weight <= 0:
            return "its weight is 0"
        if rank_of(candidate, self.transports) is None:
            return f"{candidate.address.scheme} is not in Policy(transports=...)"
        reason = reason_against(candidate, self._clock() if now is None else now, self.balancing)
        if reason is None and candidate not in self._subset:
            return "not in the subset of this caller"
        return reason
