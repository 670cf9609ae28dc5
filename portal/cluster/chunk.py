"""The far side of a cluster: a worker runs a chunk of calls of one function in one task."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any, NamedTuple

from ..context import enter, leave
from ..function.remote_call import context_of
from .causes import pack_error
from .packing import load_function

__all__ = ["ChunkResult", "Outcome", "run_chunk"]

#: ("ok", JSON data), ("error", PackedError), ("late", None) or ("absent", text) of a worker, where the last two did not
#: run; ("failed", PortalError) if no worker has responded.
Outcome = tuple[str, Any]


class ChunkResult(NamedTuple):
    """The outcomes of a chunk, in order.

    Attributes:
        seconds: how long the worker took.
    """

    outcomes: list[Outcome]
    seconds: float


def run_chunk(data: bytes, calls: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> ChunkResult:
    """Run calls of one function, one after the other.

    Args:
        data: the function; see `pack_function`.
        calls: the parameters of each call, as JSON data.
        facts: the context of all of them, made by `context_to_dict`.
    """
    context = context_of(facts)
    try:
        function = load_function(data)
    except Exception as error:  # the import of user code may raise anything
        return ChunkResult([("absent", f"{type(error).__name__}: {error}")] * len(calls), 0.0)
    begin = perf_counter()
    outcomes: list[Outcome] = []
    for params in calls:
        if context.expired:
            outcomes.append(("late", None))
            continue
        token = enter(context)
        try:
            outcomes.append(("ok", function.invoke(params, context)))
        except BaseException as error:  # also SystemExit
            outcomes.append(("error", pack_error(error)))
        finally:
            leave(token)
    return ChunkResult(_picklable(outcomes), perf_counter() - begin)


def _picklable(outcomes: list[Outcome]) -> list[Outcome]:
    """Return the outcomes, each of which can be sent."""
    try:
        pickle.dumps(outcomes)
        return outcomes
    except Exception:  # a result that was not validated may be anything
        return [_checked(one) for one in outcomes]


def _checked(outcome: Outcome) -> Outcome:
    try:
        pickle.dumps(outcome)
        return outcome
    except Exception as error:  # likewise
        return "error", pack_error(error)
