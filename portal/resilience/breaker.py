"""Breaker: stop calling a peer that keeps failing, and try it again with a few counted probes.

There is one circuit a key, by default one an authority (`host:port`); `circuit.py` has its states.
"""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import islice
from time import monotonic
from typing import Any

from .._internal.at_fork import new_lock
from ..calls.middleware import Call, CallNext
from ..errors import (
    AuthenticationError,
    AuthorizationError,
    CallTimeout,
    CircuitOpenError,
    ConfigError,
    FunctionError,
    JavaScriptError,
    OverloadedError,
    PortalError,
    ProtocolError,
    RateLimitError,
    TransportError,
)
from .circuit import Circuit, CircuitSnapshot, CircuitState, Permit, Thresholds

__all__ = ["Breaker", "CircuitSnapshot", "CircuitState", "authority_of", "counts_as_failure"]

_Entry = tuple[str, Circuit, Permit]  # a call that was let through, and by which circuit
OnChange = Callable[[str, CircuitState, CircuitState], object]

_log = logging.getLogger("portal.calls")
_ALIVE = (FunctionError, JavaScriptError, AuthenticationError, AuthorizationError, RateLimitError)
_MAX_KEYS = 10_000
_MOST = {"failures": 10_000, "minimum_calls": 1_000_000, "probes": 1_000, "max_keys": 1_000_000}
_SEARCHED = 16  # of the circuits not used for longest, how many are looked at for a closed one to forget


def authority_of(call: Call) -> str:
    """`host:port` that the call goes to; the function's name where its address has no host."""
    address = call.address
    return (address.authority if address is not None else "") or call.function.name


def counts_as_failure(error: PortalError) -> bool:
    """Whether an error says that the peer is in trouble: gone, silent, overloaded, or answering with a 5xx."""
    if isinstance(error, ProtocolError):
        return error.status >= 500
    return isinstance(error, TransportError | CallTimeout | OverloadedError)


class Breaker:
    """Middleware of the client: refuses calls to a peer that keeps failing.

    A circuit opens after `failures` failures within `window` seconds with no success between them, and where `rate` is
    given also when that share of at least `minimum_calls` calls within `window` failed. It refuses for `open_for`
    seconds and then lets `probes` calls through: as many successes close it, one failure opens it again. An error that
    is no failure is a success where it shows that the peer answered (FunctionError, RateLimitError and the like), and
    neither where it may have been raised on this side. A stream is a success at its first item.

    Args:
        failures: how many open a circuit, at most 10,000; None looks at `rate` alone.
        window: seconds for which a failure or a call is remembered.
        consecutive: whether a success forgets the failures before it; if not, all within `window` count.
        rate: share of failed calls that opens a circuit, above 0 to 1; None looks at `failures` alone. It is counted
            in tenths of `window`.
        minimum_calls: how many calls `rate` needs before it says anything.
        open_for: seconds.
        probes: calls let through when half open. One that has not returned after `open_for` seconds, or at its own
            deadline if that comes first, gives its place to another.
        key: names the circuit of a call; `authority_of` by default.
        counts: which errors are failures; `counts_as_failure` by default.
        on_change: called as (key, before, after) after each change, in the thread that made it and without a lock;
            under threads two changes may be told out of order. What it raises is logged.
        max_keys: circuits kept; past it those not used for longest are forgotten, closed ones first.
        clock: seconds, as `time.monotonic`.

    Threads: any. A lock guards the state for a moment before and after a call and is never held during one.
    """

    around = "call"  # its place in a portal; see `resolve_middleware`

    def __init__(
        self,
        failures: int | None = 5,
        *,
        window: float = 10.0,
        consecutive: bool = True,
        rate: float | None = None,
        minimum_calls: int = 20,
        open_for: float = 30.0,
        probes: int = 1,
        key: Callable[[Call], str] = authority_of,
        counts: Callable[[PortalError], bool] = counts_as_failure,
        on_change: OnChange | None = None,
        max_keys: int = _MAX_KEYS,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        whole = {"minimum_calls": minimum_calls, "probes": probes, "max_keys": max_keys}
        for name, number in (whole if failures is None else whole | {"failures": failures}).items():
            if type(number) is not int or not 0 < number <= _MOST[name]:
                raise _wrong(name, number, f"a whole number from 1 to {_MOST[name]}")
        _require_seconds("window", window)
        _require_seconds("open_for", open_for)
        if rate is not None and (not _is_number(rate) or not 0 < rate <= 1):
            raise _wrong("rate", rate, "a number above 0 and at most 1, or None")
        if rate is None and failures is None:
            raise _wrong("failures", failures, "a whole number, unless `rate` is given")
        for name, hook in (("key", key), ("counts", counts), ("on_change", on_change or authority_of)):
            if not callable(hook):
                raise _wrong(name, hook, "a callable")
        self._rules = Thresholds(failures, window, consecutive, rate, minimum_calls, open_for, probes)
        self._key = key
        self._counts = counts
        self._on_change = on_change
        self._max_keys = max_keys
        self._clock = clock
        self._lock = new_lock()  # guards the circuits and all that is in them
        self._circuits: OrderedDict[str, Circuit] = OrderedDict()  # that used last is last

    def __call__(self, call: Call, call_next: CallNext) -> Any:
        """Call, or raise CircuitOpenError without calling."""
        entry = self._enter(call)
        try:
            result = call_next(call)
            if call.streaming:
                return _Stream(iter(result), lambda outcome: self._settle(entry, outcome))
        except BaseException as error:
            self._settle(entry, error)
            raise
        self._settle(entry, None)
        return result

    # the state

    def _enter(self, call: Call) -> _Entry:
        key = self._key(call)
        hold = self._rules.open_for
        left = call.context.remaining()
        if left is not None and left < hold:
            hold = left
        now = self._clock()
        retry_after: float | None = None
        with self._lock:
            circuit = self._circuit(key)
            before = circuit.state
            permit = circuit.admit(now, hold)
            after = circuit.state
            if permit is None:
                retry_after = circuit.retry_after(now)
        if before != after:
            self._tell(key, before, after)
        if permit is None:
            raise _refusal(call, key, retry_after)
        return key, circuit, permit

    def _circuit(self, key: str) -> Circuit:
        circuit = self._circuits.get(key)
        if circuit is None:
            if len(self._circuits) >= self._max_keys:
                self._forget_one()
            circuit = self._circuits[key] = Circuit(self._rules)
        else:
            self._circuits.move_to_end(key)
        return circuit

    def _forget_one(self) -> None:
        oldest = list(islice(self._circuits.items(), _SEARCHED))
        closed = [key for key, circuit in oldest if circuit.state == "closed"]
        del self._circuits[closed[0] if closed else oldest[0][0]]

    def _settle(self, entry: _Entry, error: BaseException | None) -> None:
        key, circuit, permit = entry
        failed = self._failed(error)
        now = self._clock()
        with self._lock:
            before = circuit.state
            circuit.settle(permit, failed, now)
            after = circuit.state
        if before != after:
            self._tell(key, before, after)

    def _failed(self, error: BaseException | None) -> bool | None:
        """True for a failure of the peer, False for a sign of life, None for neither."""
        if error is None:
            return False
        if isinstance(error, PortalError) and self._counts(error):
            return True
        return False if isinstance(error, _ALIVE) else None

    def _tell(self, key: str, before: CircuitState, after: CircuitState) -> None:
        _log.log(logging.WARNING if after == "open" else logging.INFO, "circuit %s: %s -> %s", key, before, after)
        if self._on_change is not None:
            try:
                self._on_change(key, before, after)
            except Exception:
                _log.exception("on_change of circuit %s failed", key)

    # from outside

    def states(self) -> dict[str, CircuitSnapshot]:
        """Every circuit by its key, as it is now."""
        now = self._clock()
        with self._lock:
            return {key: circuit.snapshot(now) for key, circuit in self._circuits.items()}

    def reset(self, key: str | None = None) -> None:
        """Close one circuit, or every one; calls that are under way count for nothing."""
        with self._lock:
            chosen = [(name, circuit) for name, circuit in self._circuits.items() if key is None or name == key]
            changed = [(name, circuit.state) for name, circuit in chosen if circuit.state != "closed"]
            for _, circuit in chosen:
                circuit.close()
        for name, before in changed:
            self._tell(name, before, "closed")

    def force_open(self, key: str, seconds: float | None = None) -> None:
        """Refuse the calls of one circuit for that long; until `reset` when None."""
        if seconds is not None:
            _require_seconds("force_open", seconds)
        now = self._clock()
        with self._lock:
            circuit = self._circuit(key)
            before = circuit.state
            circuit.open(now, math.inf if seconds is None else seconds)
        if before != "open":
            self._tell(key, before, "open")


class _Stream:
    """The items of a streaming call; its outcome is known at the first, or when it fails. One thread at a time."""

    __slots__ = ("_items", "_settle", "_settled")

    def __init__(self, items: Iterator[Any], settle: Callable[[BaseException | None], None]) -> None:
        self._items = items
        self._settle = settle
        self._settled = False

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            item = next(self._items)
        except StopIteration:
            self._settle_once(None)
            raise
        except BaseException as error:
            self._settled = True
            self._settle(error)  # counts after a good beginning too: the peer was lost on the way
            raise
        self._settle_once(None)
        return item

    def _settle_once(self, error: BaseException | None) -> None:
        if not self._settled:
            self._settled = True
            self._settle(error)

    def close(self) -> None:
        """End the call; the generator behind it is closed."""
        self._settle_once(GeneratorExit())
        close = getattr(self._items, "close", None)
        if close is not None:
            close()


def _refusal(call: Call, key: str, retry_after: float | None) -> CircuitOpenError:
    when = "until it is reset" if retry_after is None else f"for another {retry_after:.1f} s"
    return CircuitOpenError(
        f"{key} kept failing and is not called {when}; nothing was sent",
        retry_after=retry_after,
        scheme=None if call.address is None else call.address.scheme,
        address=call.address,
        context={"request_id": call.context.request_id},
        retryable=retry_after is not None,
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _require_seconds(name: str, value: float) -> None:
    if not _is_number(value) or not 0 < value < math.inf:
        raise _wrong(name, value, "seconds above 0")


def _wrong(name: str, value: object, allowed: str) -> ConfigError:
    return ConfigError(f"breaker.{name} is {value!r}; expected: {allowed}", path=f"breaker.{name}", expected=allowed)
