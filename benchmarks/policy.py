"""What the stages of a policy add to a call: everything on but hedging, which uses threads.

    python -m benchmarks.policy

The call is local and inherits a deadline that another thread watches, so that both sides run in this thread.
"""

from __future__ import annotations

from time import monotonic
from typing import Any

from portal import (
    AdaptiveLimit,
    Breaker,
    Bulkhead,
    CallContext,
    Chaos,
    Consumer,
    Fallback,
    LocalPortal,
    Policy,
    Retry,
)

from .timing import time_by_turns
from .workload import add

__all__ = ["MAX_ADDED", "added_by_policy", "main"]

MAX_ADDED = 15.0  # microseconds


def added_by_policy(repeats: int = 15) -> dict[str, float]:
    """Return the microseconds of a bare call, and what each stage and all of them add: the least of the runs."""
    stages: dict[str, Any] = {
        "fallback": Fallback(0.0),
        "limiter": AdaptiveLimit(),
        "bulkhead": Bulkhead(),
        "retry": Retry(),
        "breaker": Breaker(),
        "chaos": Chaos(),
    }
    policies = {name: Policy(**{name: stage}) for name, stage in stages.items()}
    policies |= {"empty policy": Policy(), "all stages": Policy(**stages)}
    with LocalPortal() as portal, Consumer([portal]) as bare:
        address = str(portal.apply(add))
        consumers = {name: Consumer([portal], policy=policy) for name, policy in policies.items()}
        call = ".call_at(address, {'a': 1.0, 'b': 2.0})"
        scope: dict[str, Any] = {"address": address, "bare": bare, "by": consumers}
        statements = {"bare": f"bare{call}"} | {name: f"by[{name!r}]{call}" for name in consumers}
        context = CallContext(deadline=monotonic() + 3600)
        context.watched = True
        with context.active():
            figures = time_by_turns(statements, scope, repeats=repeats)
        for consumer in consumers.values():
            consumer.close()
    least = {name: min(values) / 1000 for name, values in figures.items()}
    return {name: value if name == "bare" else value - least["bare"] for name, value in least.items()}


def main() -> None:
    """Print the figures, and fail if all stages together cost too much."""
    found = added_by_policy()
    print(f"{'bare call':20} {found.pop('bare'):7.2f} us")
    for name, added in found.items():
        print(f"{name:20} {added:+7.2f} us")
    if found["all stages"] > MAX_ADDED:
        raise SystemExit(f"all stages add more than {MAX_ADDED:g} us")


if __name__ == "__main__":
    main()
