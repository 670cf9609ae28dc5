"""How a portal runs its functions by an executor of other processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import Any, TypeAlias

from ..context import CallContext
from ..errors import ConfigError
from ..function import Function
from ..processes.futures import remote_runner
from ..processes.jobs import Runner

__all__ = ["Invoke", "invoke_by"]

#: Runs one call of a function: JSON data in, JSON data out.
Invoke: TypeAlias = Callable[[Function, Mapping[str, Any], CallContext], Any]


def invoke_by(executor: Executor | None) -> Invoke | None:
    """Return how calls run in an executor of other processes; None for one of threads, and for None.

    Portal submits the calls of a Dask client itself, as its executor runs equal calls once, and some calls twice.
    """
    runner = remote_runner(executor)
    if runner is None:
        return None
    if type(executor).__module__ == "distributed.cfexecutor":
        with suppress(ConfigError):  # for a cluster inside of this process
            # by name, because few portals have such an executor, and the cluster room is above this one
            invoke: Invoke = import_module("portal.cluster.runner").ClusterRunner(executor).invoke
            return invoke
    return partial(_invoke_in_process, runner)


def _invoke_in_process(runner: Runner, function: Function, params: Mapping[str, Any], context: CallContext) -> Any:
    from ..function.placed import invoke_elsewhere  # likewise

    return invoke_elsewhere(function, runner, params, context)
