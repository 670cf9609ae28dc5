"""Breaker: stop calling a peer that keeps failing, and test it later with a few calls.

There is one circuit for each key, by default for each authority (`host:port`). `circuit.py` has the states.
"""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from copy import copy
from itertools import islice
from time import monotonic
from typing import Any

from .._internal.at_fork import new_lock
from .._internal.closing import ClosingIterator
from .._internal.log import get_logger
from .._internal.settings import callback, count, flag, instance, number, positive_seconds, require
from ..calls.middleware import Call, CallNext
from ..errors import (
    AuthenticationError,
    AuthorizationError,
    CallTimeout,
    CircuitOpenError,
    FunctionError,
    JavaScriptError,
    OverloadedError,
    PortalError,
    ProtocolError,
    RateLimitError,
    TransportError,
)
from .circuit import Circuit, CircuitSnapshot, CircuitState, Permit, Thresholds
from .keyed import authority_of
from .probes import ProbeLeases

__all__ = ["Breaker", "CircuitSnapshot", "CircuitState", "authority_of", "counts_as_failure"]

_Entry = tuple[str, Circuit, Permit]  # an admitted call: key, circuit, permit
OnChange = Callable[[str, CircuitState, CircuitState], object]

_log = get_logger("portal.calls")
#: Errors that only a running peer sends.
_RESPONSES = (FunctionError, JavaScriptError, AuthenticationError, AuthorizationError, RateLimitError)
_MAX_CAUSE = 300  # characters of the last failure that an open circuit tells
_EVICTION_SCAN = 16  # how many of the least recently used circuits are searched for a closed one to evict


def counts_as_failure(error: PortalError) -> bool:
    """Return whether an error shows that the peer fails: it is unreachable, too slow or overloaded, or sent a 5xx."""
    if isinstance(error, ProtocolError):
        return error.status >= 500
    return isinstance(error, TransportError | CallTimeout | OverloadedError)


class Breaker:
    """Middleware of the client: rejects calls to a peer that keeps failing.

    A circuit opens after `failures` failures within `window` seconds with no success between them. With `rate` it also
    opens when that share of at least `minimum_calls` calls within `window` failed. An open circuit rejects calls for
    `open_duration` seconds and then admits `half_open_calls` calls. That many successes close it; one failure opens it
    again.

    An error that only a running peer sends, such as FunctionError, counts as a success. An error that this side may
    have raised does not count. A stream is a success at its first item.

    Args:
        failures: the number of failures that opens a circuit, at most 10,000; None uses only `rate`.
        window: seconds for which failures and calls count.
        consecutive: whether a success clears the failures before it. If not, all failures within `window` count.
        rate: the share of failed calls that opens a circuit, above 0 and at most 1; None uses only `failures`. Calls
            are counted in tenths of `window`.
        minimum_calls: the number of calls within `window` before `rate` applies.
        open_duration: seconds for which an open circuit rejects calls.
        half_open_calls: the number of calls that a half-open circuit admits. A call no longer counts if it has not
            returned after `open_duration` seconds or at its own deadline.
        key: callable (call) -> str that returns the circuit of a call; `authority_of` by default.
        is_failure: callable (error) -> bool; `counts_as_failure` by default.
        on_change: callable (key, before, after) that is called after each change of state. It runs in the thread that
            made the change, without a lock. Two threads may report changes out of order. Its exceptions are logged.
        max_entries: the largest number of circuits. Beyond it the least recently used one is removed, if possible a
            closed one.
        probes: lets one of several processes at a time test a peer whose circuit is half open; None lets each one.
        clock: seconds, as `time.monotonic`.

    Raises: ConfigError for a wrong setting.

    Threads: any. A lock is held briefly before and after a call, never during one.
    """

    around = "call"  # the kind of middleware; see `resolve_middleware`

    def __init__(
        self,
        failures: int | None = 5,
        *,
        window: float = 10.0,
        consecutive: bool = True,
        rate: float | None = None,
        minimum_calls: int = 20,
        open_duration: float = 30.0,
        half_open_calls: int = 1,
        key: Callable[[Call], str] = authority_of,
        is_failure: Callable[[PortalError], bool] = counts_as_failure,
        on_change: OnChange | None = None,
        max_entries: int = 10_000,
        probes: ProbeLeases | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        require(rate is not None or failures is not None, "breaker.failures", failures, "given when rate is None")
        self._rules = Thresholds(
            failures=count("breaker.failures", failures, maximum=10_000, optional=True),
            window=positive_seconds("breaker.window", window),
            consecutive=flag("breaker.consecutive", consecutive),
            rate=number("breaker.rate", rate, above=0, maximum=1, optional=True),
            minimum_calls=count("breaker.minimum_calls", minimum_calls, maximum=1_000_000),
            open_duration=positive_seconds("breaker.open_duration", open_duration),
            half_open_calls=count("breaker.half_open_calls", half_open_calls, maximum=1_000),
        )
        self._key = callback("breaker.key", key)
        self._is_failure = callback("breaker.is_failure", is_failure)
        self._on_change = callback("breaker.on_change", on_change, optional=True)
        self._max_entries = count("breaker.max_entries", max_entries)
        self._probes = instance("breaker.probes", probes, ProbeLeases, optional=True)
        self._clock = clock
        self._lock = new_lock()  # guards the circuits and their contents
        self._circuits: OrderedDict[str, Circuit] = OrderedDict()  # the most recently used is last

    def for_consumer(self) -> Breaker:
        """Return a breaker with the same settings and no circuits."""
        made = copy(self)
        made._lock = new_lock()
        made._circuits = OrderedDict()
        return made

    def __call__(self, call: Call, call_next: CallNext) -> Any:
        """Make the call, or raise CircuitOpenError without a call."""
        entry = self._enter(call)
        try:
            result = call_next(call)
            if call.streaming:
                return _CountedStream(iter(result), lambda outcome: self._settle(entry, outcome))
        except BaseException as error:
            self._settle(entry, error)
            raise
        self._settle(entry, None)
        return result

    def _enter(self, call: Call) -> _Entry:
        key = self._key(call)
        hold = self._rules.open_duration
        remaining = call.context.remaining()
        if remaining is not None and remaining < hold:
            hold = remaining
        now = self._clock()
        retry_after: float | None = None
        with self._lock:
            circuit = self._circuit(key)
            before = circuit.state
            permit = circuit.admit(now, hold)
            after = circuit.state
            if permit is None:
                retry_after = circuit.retry_after(now)
            cause = circuit.last_failure
        if before != after:
            try:
                self._report(key, before, after)
            except BaseException:  # of `on_change`
                if permit is not None:
                    self._settle_as((key, circuit, permit), None)
                raise
        if permit is None:
            raise _open_error(call, key, retry_after, cause)
        if after == "half_open" and self._probes is not None and not self._probes.take(key, hold):
            self._settle_as((key, circuit, permit), None)
            raise _open_error(call, key, min(1.0, hold), cause)
        return key, circuit, permit

    def _circuit(self, key: str) -> Circuit:
        circuit = self._circuits.get(key)
        if circuit is None:
            if len(self._circuits) >= self._max_entries:
                self._evict()
            circuit = self._circuits[key] = Circuit(self._rules)
        else:
            self._circuits.move_to_end(key)
        return circuit

    def _evict(self) -> None:
        oldest = list(islice(self._circuits.items(), _EVICTION_SCAN))
        closed = [key for key, circuit in oldest if circuit.state == "closed"]
        del self._circuits[closed[0] if closed else oldest[0][0]]

    def _settle(self, entry: _Entry, error: BaseException | None) -> None:
        failed: bool | None = None
        try:
            failed = self._failed(error)
            if failed:
                entry[1].last_failure = _cause_of(error)  # without the lock: any of the newest will do
        finally:  # also if `is_failure` raises
            self._settle_as(entry, failed)

    def _settle_as(self, entry: _Entry, failed: bool | None) -> None:
        key, circuit, permit = entry
        now = self._clock()
        with self._lock:
            before = circuit.state
            circuit.settle(permit, failed, now)
            after = circuit.state
        if before == "half_open" and self._probes is not None:
            self._probes.release(key)
        if before != after:
            self._report(key, before, after)

    def _failed(self, error: BaseException | None) -> bool | None:
        """Return True for a failure of the peer, False for a response from it, None for neither."""
        if error is None:
            return False
        if isinstance(error, PortalError) and self._is_failure(error):
            return True
        return False if isinstance(error, _RESPONSES) else None

    def _report(self, key: str, before: CircuitState, after: CircuitState) -> None:
        _log.log(logging.WARNING if after == "open" else logging.INFO, "circuit %s: %s -> %s", key, before, after)
        if self._on_change is not None:
            try:
                self._on_change(key, before, after)
            except Exception:
                _log.exception("on_change of circuit %s failed", key)

    def states(self) -> dict[str, CircuitSnapshot]:
        """Return the current state of every circuit by its key."""
        now = self._clock()
        with self._lock:
            return {key: circuit.snapshot(now) for key, circuit in self._circuits.items()}

    def reset(self, key: str | None = None) -> None:
        """Close one circuit, or all. The calls in progress do not count."""
        with self._lock:
            chosen = [(name, circuit) for name, circuit in self._circuits.items() if key is None or name == key]
            changed = [(name, circuit.state) for name, circuit in chosen if circuit.state != "closed"]
            for _, circuit in chosen:
                circuit.close()
        for name, before in changed:
            self._report(name, before, "closed")

    def force_open(self, key: str, seconds: float | None = None) -> None:
        """Reject the calls of one circuit.

        Args:
            seconds: the time for which calls are rejected; None means until `reset`.
        """
        positive_seconds("breaker.force_open", seconds, optional=True)
        now = self._clock()
        with self._lock:
            circuit = self._circuit(key)
            before = circuit.state
            circuit.open(now, math.inf if seconds is None else seconds)
        if before != "open":
            self._report(key, before, "open")


class _CountedStream(ClosingIterator):
    """The items of a streaming call. The call counts at its first item, or when it fails.

    Threads: one at a time.
    """

    __slots__ = ("_settle", "_settled")

    def __init__(self, items: Iterator[Any], settle: Callable[[BaseException | None], None]) -> None:
        super().__init__(items)
        self._settle = settle
        self._settled = False

    def __next__(self) -> Any:
        try:
            item = super().__next__()
        except StopIteration:
            self._settle_once(None)
            raise
        except BaseException as error:
            self._settled = True
            self._settle(error)  # a failure after the first item counts as well
            raise
        self._settle_once(None)
        return item

    def _settle_once(self, error: BaseException | None) -> None:
        if not self._settled:
            self._settled = True
            self._settle(error)

    def close(self) -> None:
        """End the call and close the generator behind it."""
        try:
            self._settle_once(GeneratorExit())
        finally:
            super().close()


def _cause_of(error: BaseException | None) -> str | None:
    """Return what a failure says, for the callers that are rejected because of it. What user code says stays out."""
    if isinstance(error, TransportError | CallTimeout | OverloadedError):
        return error.message[:_MAX_CAUSE]
    return error.code if isinstance(error, PortalError) else None


def _open_error(call: Call, key: str, retry_after: float | None, cause: str | None) -> CircuitOpenError:
    until = "until it is reset" if retry_after is None else f"for another {retry_after:.1f} s"
    because = "" if cause is None else f"; its last failure: {cause}"
    return CircuitOpenError(
        f"the circuit of {key} is open {until}; nothing was sent{because}",
        retry_after=retry_after,
        scheme=None if call.address is None else call.address.scheme,
        address=call.address,
        context={"request_id": call.context.request_id},
        retryable=retry_after is not None,
    )
