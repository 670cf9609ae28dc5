"""InterpreterPool: interpreters of this process, from CPython 3.14."""

from __future__ import annotations

import sys
import threading
from time import monotonic

import pytest

from portal import CallContext, CallTimeout, ConfigError, Consumer, LocalPortal, ValidationError, function
from portal.processes import InterpreterPool
from portal.processes.jobs import Job

needs_interpreters = pytest.mark.skipif(sys.version_info < (3, 14), reason="needs CPython 3.14")


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="CPython 3.14 has interpreters")
def test_an_earlier_cpython_is_rejected() -> None:
    with pytest.raises(ConfigError, match=r'executor="interpreters" needs CPython 3.14 or later'):
        InterpreterPool()


@needs_interpreters
def test_jobs_run_in_interpreters() -> None:
    pool = InterpreterPool(1)
    assert pool.run(Job("max", max, (1, 2)), CallContext()) == 2
    assert pool.stats() == {"interpreters": 1, "idle": 1, "waiting": 0}
    pool.close()


@needs_interpreters
def test_a_function_is_called_as_elsewhere() -> None:
    from tests.support import interpreted

    portal = LocalPortal()
    address = portal.apply(interpreted.fib)
    consumer = Consumer([portal])
    assert consumer.call_at(address, {"n": 10}, timeout=60) == 55
    with pytest.raises(ValidationError):
        consumer.call_at(address, {"n": "x"})
    assert consumer.call_at(portal.apply(interpreted.request_id), context=CallContext(request_id="r7")) == "r7"
    interpreted.POOL.close()


@needs_interpreters
def test_a_late_call_ends_for_its_caller() -> None:
    pool = InterpreterPool(1)
    pool.run(Job("abs", abs, (1,)), CallContext())
    from tests.support import interpreted

    with pytest.raises(CallTimeout, match="runs on in its interpreter"):
        pool.run(Job("count", interpreted.count_for, (0.5,)), CallContext(deadline=monotonic() + 0.2))
    assert pool.run(Job("abs", abs, (-1,)), CallContext()) == 1  # when the interpreter is free again
    pool.close()


def test_the_option_is_checked_when_the_function_is_made() -> None:
    with pytest.raises(ConfigError, match=r"function\.executor must be"):
        function(executor="threads")(threading.active_count)  # type: ignore[call-overload]
