"""Job: what is sent to another process or interpreter, and the replies to it."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from ..context import CallContext
from ..errors import CallCancelled, CallTimeout, SerializationError
from ..errors.base import Delivery

__all__ = ["Job", "Runner", "cancelled_job", "late_job", "pack", "unpack"]


class Job(NamedTuple):
    """One call of a function in another process.

    Attributes:
        name: of the function, for messages.
        run: a function that can be pickled. It handles the errors of the function itself.
        arguments: of `run`.
        needs_main: whether the script of this process must be loaded first.
    """

    name: str
    run: Callable[..., Any]
    arguments: tuple[Any, ...]
    needs_main: bool = False


class Runner(Protocol):
    """Runs jobs in other processes or interpreters."""

    def run(self, job: Job, context: CallContext) -> Any:
        """Return what `job.run` returns.

        Raises: CallTimeout, CallCancelled, OverloadedError, TransportError if the other process ends.
        """


def pack(job: Job) -> bytes:
    """Return the bytes of a job. Raises: SerializationError for arguments that cannot be pickled."""
    try:
        inner = pickle.dumps((job.run, job.arguments), pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # what a class of user code raises here may be anything
        message = f"the arguments of {job.name} cannot be sent to another process: {type(error).__name__}: {error}"
        raise SerializationError(message, delivery="not_sent", cause=error) from error
    return pickle.dumps((_main_path() if job.needs_main else None, inner), pickle.HIGHEST_PROTOCOL)


def _main_path() -> str | None:
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    return None if path is None else os.path.abspath(path)


def unpack(data: bytes) -> Any:
    """Return the result in a reply. A reply that cannot be read becomes ("broken", type, text, traceback)."""
    try:
        return pickle.loads(data)
    except Exception as error:  # likewise
        return "broken", type(error).__name__, str(error), ""


def late_job(job: Job, context: CallContext, *, started: str = "") -> CallTimeout:
    """Return the error for a job whose deadline has passed.

    Args:
        started: what became of a job that had started; "" for one that waited.
    """
    facts: dict[str, Any] = {"context": {"request_id": context.request_id}}
    if not started:
        return CallTimeout(f"{job.name} waited for a process until its deadline", delivery="not_sent", **facts)
    return CallTimeout(f"{job.name} did not respond in time; {started}", **facts)


def cancelled_job(context: CallContext, *, started: bool) -> CallCancelled:
    """Return the error for a job that its caller has cancelled."""
    delivery: Delivery = "unknown" if started else "not_sent"
    facts = {"request_id": context.request_id}
    return CallCancelled("the caller cancelled the call", delivery=delivery, context=facts)
