"""The candidates of a picker in tiers: the best ones first, the last resort at the end."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from .candidate import Candidate
from .hashing import hash_of
from .settings import Balancing

__all__ = ["Selection", "choose_subset", "rank_of", "reason_against", "select"]


class Selection(NamedTuple):
    """The candidates of a group at one moment.

    Attributes:
        tiers: lists of candidates. The first one is to pick from, the others are for a call that it has failed. No list
            is empty.
        panic: whether ejections are ignored because too few candidates are healthy.
        healthy: how many of the candidates can be reached and are not ejected.
        recheck_at: when time alone may change the selection; infinity if never.
    """

    tiers: tuple[tuple[Candidate, ...], ...]
    panic: bool
    healthy: int
    recheck_at: float


def rank_of(candidate: Candidate, transports: Sequence[str] | None) -> int | None:
    """Return the place of a candidate's scheme in `Policy(transports=...)`, or None if it is not there.

    "http" also stands for https, and "ws" for wss.
    """
    if transports is None:
        return 0
    scheme = candidate.address.scheme
    for rank, name in enumerate(transports):
        if name == scheme or (name in ("http", "ws") and f"{name}s" == scheme):
            return rank
    return None


def choose_subset(
    candidates: Sequence[Candidate], balancing: Balancing, transports: Sequence[str] | None
) -> tuple[Candidate, ...]:
    """Return the candidates that this caller uses, in their order.

    A candidate that joins or leaves changes the subset by one at most. Callers with different keys spread evenly over
    the candidates, but for chance.

    Source: gRFC A68, random subsetting by rendezvous hashing.
    """
    size = balancing.subset
    if size is None or len(candidates) <= size:
        return tuple(candidates)
    key = balancing.client_key

    def order(candidate: Candidate) -> tuple[int, bool, int]:
        rank = rank_of(candidate, transports)
        is_far = balancing.zone is not None and candidate.instance.zone != balancing.zone
        return (1_000 if rank is None else rank, is_far, hash_of(f"{key}\n{candidate.text}"))

    chosen = set(map(id, sorted(candidates, key=order)[:size]))
    return tuple(one for one in candidates if id(one) in chosen)


def reason_against(candidate: Candidate, now: float, balancing: Balancing) -> str | None:
    """Return why a candidate is not healthy, in a few words; None if it is."""
    if candidate.ejected_at is not None:
        end = None if balancing.outliers is None else balancing.outliers.ejection_end(candidate)
        return "ejected as an outlier" + ("" if end is None else f" for another {max(0.0, end - now):.1f} s")
    why = _reason_to_wait(candidate, now)
    if why == _DOWN:
        assert candidate.down_until is not None
        left = candidate.down_until - now
        return f"unreachable; tried again in {left:.1f} s" if left > 0 else "unreachable; another call tries it"
    return None if why is None else f"{candidate.barred_why} for another {candidate.barred_until - now:.1f} s"


_DOWN, _BARRED = "down", "barred"


def _reason_to_wait(candidate: Candidate, now: float) -> str | None:
    down_until = candidate.down_until
    if down_until is not None and (down_until > now or candidate.outstanding):
        return _DOWN
    return _BARRED if candidate.barred_until > now else None


def select(
    candidates: Sequence[Candidate],
    now: float,
    balancing: Balancing,
    transports: Sequence[str] | None = None,
    subset: Sequence[Candidate] | None = None,
) -> Selection:
    """Divide candidates into tiers.

    Args:
        candidates: all candidates of the group.
        now: the time, on the clock of the candidates.
        balancing: the settings.
        transports: the schemes of the policy, the preferred one first.
        subset: the candidates that this caller uses; None for all.
    """
    usable = [one for one in candidates if one.weight > 0 and rank_of(one, transports) is not None]
    used = set(map(id, candidates if subset is None else subset))
    mine = [one for one in usable if id(one) in used]
    well = sum(one.ejected_at is None and _reason_to_wait(one, now) != _DOWN for one in mine)
    ejected = any(one.ejected_at is not None for one in mine)
    panic = ejected and 100.0 * well < balancing.panic_threshold * len(mine)
    healthy = [one for one in mine if (panic or one.ejected_at is None) and _reason_to_wait(one, now) is None]
    tiers: list[tuple[Candidate, ...]] = []
    for rank in range(1 if transports is None else len(transports)):
        ranked = [one for one in healthy if rank_of(one, transports) == rank]
        near = [one for one in ranked if one.instance.zone == balancing.zone] if balancing.zone is not None else []
        there = sum(one.instance.zone == balancing.zone and rank_of(one, transports) == rank for one in mine)
        if near and 100.0 * len(near) >= balancing.panic_threshold * there:
            tiers.append(tuple(near))
            ranked = [one for one in ranked if one.instance.zone != balancing.zone]
        if ranked:
            tiers.append(tuple(ranked))
    named = {id(one) for tier in tiers for one in tier}
    for rest in (mine, usable):  # the unhealthy ones, then those outside of the subset
        others = tuple(one for one in rest if id(one) not in named)
        if others:
            tiers.append(others)
            named |= set(map(id, others))
    return Selection(tuple(tiers), panic, well, _recheck_at(candidates, now, balancing))


def _recheck_at(candidates: Sequence[Candidate], now: float, balancing: Balancing) -> float:
    moments = [inf]
    for one in candidates:
        if one.down_until is not None and one.down_until > now:
            moments.append(one.down_until)
        if one.barred_until > now:
            moments.append(one.barred_until)
        if one.ramp < 1.0:
            moments.append(now + balancing.slow_start / 20)
    return min(moments)
