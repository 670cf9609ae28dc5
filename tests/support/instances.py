"""Candidates, calls and groups of instances that nothing serves, on a clock that the test moves."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from portal import CallContext, Function
from portal.calls.middleware import Call
from portal.consumer.balancing import Balancing, Candidate
from portal.consumer.group import InstanceGroup
from portal.directory import Instance

from .clocks import Clock

__all__ = ["call_of", "candidates_of", "group_of", "instances_of"]


def serve(user: str = "") -> str:
    return user


_FUNCTION = Function.of(serve)


def call_of(**params: Any) -> Call:
    """Return a call with these parameters."""
    return Call(_FUNCTION, params, CallContext())


def instances_of(weights: Iterable[float], **options: Any) -> list[Instance]:
    """Return the instances a, b, c, ... with these weights."""
    return [Instance(f"http://{chr(97 + index)}/api/serve", one, **options) for index, one in enumerate(weights)]


def candidates_of(*weights: float, clock: Clock | None = None) -> tuple[Candidate, ...]:
    """Return a candidate for each weight: a, b, c, ..."""
    return tuple(Candidate(one, clock=clock or Clock()) for one in instances_of(weights))


def group_of(
    balancing: Balancing | str = "round_robin", *weights: float, clock: Clock, instances: list[Instance] | None = None
) -> InstanceGroup:
    """Return a group on a clock, of four instances of weight 1 if nothing is given; chance is the same each time."""
    settings = Balancing.of(balancing)
    chance = random.Random(1).random
    found = instances_of(weights or (1, 1, 1, 1)) if instances is None else instances
    return InstanceGroup("serve", found, settings, clock=clock, random=chance)
