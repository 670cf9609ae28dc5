"""Idempotency: a call under a key runs once; whoever sends it again gets the first answer.

draft-ietf-httpapi-idempotency-key-header: section 2.6 has the answers for a bad key (400), a key that was used for
another payload (422) and a first call that still runs (409).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, Literal

from .._internal.redis_client import StoreLost
from ..calls.deadlines import timeout_error
from ..calls.middleware import Call, CallNext
from ..errors import (
    AuthenticationError,
    AuthorizationError,
    CallCancelled,
    CallTimeout,
    CircuitOpenError,
    ConfigError,
    FunctionError,
    OverloadedError,
    PortalError,
    ProtocolError,
    RateLimitError,
    SerializationError,
    TransportError,
)
from ..http11.fields import MAX_IDEMPOTENCY_KEY, is_idempotency_key
from ..schema.jsondata import is_json
from .store import Claim, OutcomeStore, store_of

__all__ = ["Idempotency"]

_FIRST_POLL = 0.005  # seconds
_LAST_POLL = 0.25
_PASSING = (AuthenticationError, AuthorizationError, CircuitOpenError, OverloadedError, RateLimitError)
_canonical = json.JSONEncoder(allow_nan=False, sort_keys=True, separators=(",", ":")).encode
_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
_encode_error = json.JSONEncoder(allow_nan=False, separators=(",", ":"), default=str).encode


class Idempotency:
    """Call middleware: of the calls with the same `context.idempotency_key`, the first runs and all get its answer.

    Keys of different callers (by identity), services, functions and versions have nothing to do with one another. A
    call that comes while the first still runs waits for it. What the first answered is kept for `window` seconds: its
    result, or its error where the function ran or may have run, and a ValidationError. Errors that say "not now"
    before the function ran (RateLimitError, OverloadedError, CircuitOpenError, a deadline that passed before, 401,
    403) are not kept: the next call runs. An answer given again has `idempotent-replayed: true` in its reply. Calls
    without a key pass.

    Put it inside authentication and rate limits and around everything that may change between two calls.

    Args:
        window: seconds for which an answer is kept.
        store: None keeps in this process; a Redis or Valkey URL or client is shared by all processes that use it.
        max_keys: answers kept in this process; of more, the oldest are forgotten.
        max_result: bytes of JSON of an answer; of a larger one only that it was given is kept.
        max_bytes: of all answers kept in this process.
        wait: seconds that a call waits for the first at most, whatever its deadline.
        lease: seconds after which a process that died no longer holds its keys in the shared store.
        on_lost_store: "closed" refuses calls with a key (OverloadedError) while the store does not answer; "open" runs
            them, perhaps twice.
        key_prefix: of what is kept in the store.
        clock: seconds, as `time.monotonic`; for the window.

    Raises: ConfigError for a wrong setting. Threads: any. `close` ends its thread and connections.
    """

    around = "call"  # its place in a portal; see `resolve_middleware`

    def __init__(
        self,
        window: float = 86_400.0,
        *,
        store: Any = None,
        max_keys: int = 100_000,
        max_result: int = 1024 * 1024,
        max_bytes: int = 64 * 1024 * 1024,
        wait: float = 30.0,
        lease: float = 30.0,
        on_lost_store: Literal["open", "closed"] = "closed",
        key_prefix: str = "portal:idempotency",
        clock: Callable[[], float] = monotonic,
    ) -> None:
        for name, seconds, least in (("window", window, 0.001), ("wait", wait, 0.0), ("lease", lease, 0.1)):
            number = not isinstance(seconds, bool) and isinstance(seconds, int | float)
            _check(name, seconds, number and least <= seconds < math.inf, f"seconds, {least} at least")
        for name, count in (("max_keys", max_keys), ("max_result", max_result), ("max_bytes", max_bytes)):
            _check(name, count, type(count) is int and count > 0, "a whole number above 0")
        _check("max_bytes", max_bytes, max_bytes >= max_result, "`max_result` at least")
        _check("on_lost_store", on_lost_store, on_lost_store in ("open", "closed"), "open, closed")
        _check("key_prefix", key_prefix, isinstance(key_prefix, str) and key_prefix != "", "text")
        self._max_result = max_result
        self._wait = wait
        self._open = on_lost_store == "open"
        self._store: OutcomeStore = store_of(store, window, lease, key_prefix, max_keys, max_bytes, clock)

    def __call__(self, call: Call, call_next: CallNext) -> Any:
        """The answer to the call, or the first answer once more.

        Raises: ProtocolError: status 400 for a bad key or a stream, 409 while the first call still runs after `wait`
            seconds or when its answer was too large to keep, 422 for a key used with other parameters. CallTimeout
            when the deadline passes while it waits. OverloadedError without the store.
        """
        key = call.context.idempotency_key
        if key is None:
            return call_next(call)
        claim = _claim_of(call, key)
        try:
            kept = self._find(call, claim)
        except StoreLost:
            if self._open:
                return call_next(call)
            call.reply["retry-after"] = "1"
            message = "it cannot be told now whether this call was made before: the store of idempotency keys is gone"
            raise OverloadedError(message, retry_after=1.0) from None
        return self._first(call, call_next, claim) if kept is None else _replay(call, kept)

    def _find(self, call: Call, claim: Claim) -> str | None:
        """The outcome that is kept, waited for where the call still runs; None where it is ours to run."""
        waiting = None
        while True:
            found = self._store.claim(claim)
            if found is None:
                return None
            if found.digest != claim.digest:
                raise ProtocolError("this idempotency key was used for a call with other parameters", status=422)
            if found.text is not None:
                return found.text
            waiting = waiting or _Waiting(call, self._wait)
            waiting.woken.clear()
            self._store.watch(claim.key, waiting.woken)
            waiting.pause(self._store.tells)

    def _first(self, call: Call, call_next: CallNext, claim: Claim) -> Any:
        try:
            result = call_next(call)
        except Exception as error:
            self._settle(claim, _text_of_error(error) if _is_kept(error, call) else None)
            raise
        except BaseException:
            self._settle(claim, None)  # the process is told to end; who waits for this call must not wait on
            raise
        self._settle(claim, _text_of_result(result))
        return result

    def _settle(self, claim: Claim, text: str | None) -> None:
        try:
            if text is None:
                self._store.drop(claim)
            else:
                self._store.record(claim, self._shorten(text))
        except StoreLost:
            pass  # the lease ends by itself

    def _shorten(self, text: str) -> str:
        return text if len(text) <= self._max_result else _lost(f"was larger than {self._max_result} bytes")

    def close(self) -> None:
        """End the thread and the connections to the store, if there are any."""
        self._store.close()


class _Waiting:
    """One call that waits for another under the same key; one thread."""

    def __init__(self, call: Call, most: float) -> None:
        self.woken = threading.Event()
        self._call = call
        self._until = monotonic() + most
        self._timeout = call.context.remaining()
        self._poll = _FIRST_POLL
        call.context.on_cancel(self.woken.set)

    def pause(self, told: bool) -> None:
        """Wait for a change, a moment only where nobody tells of it.

        Raises: CallTimeout, CallCancelled, ProtocolError (409).
        """
        context = self._call.context
        limits = [self._until - monotonic(), context.remaining(), None if told else self._poll]
        if not context.cancelled:  # that it is may have been said before `woken` was cleared
            self.woken.wait(max(0.0, min(limit for limit in limits if limit is not None)))
        self._poll = min(_LAST_POLL, self._poll * 1.5)
        if context.cancelled:
            raise CallCancelled("the caller gave the call up", context={"request_id": context.request_id})
        if context.expired:
            raise timeout_error(context, self._call.function.name, self._timeout)
        if monotonic() >= self._until and not self.woken.is_set():
            self._call.reply["retry-after"] = "1"
            message = "the first call under this idempotency key still runs"
            raise ProtocolError(message, status=409, retryable=True)


def _claim_of(call: Call, key: object) -> Claim:
    if not isinstance(key, str) or not is_idempotency_key(key):
        raise ProtocolError(f"an idempotency key has 1 to {MAX_IDEMPOTENCY_KEY} visible ASCII characters", status=400)
    if call.streaming:
        raise ProtocolError(f"{call.function.name} is a stream: it takes no idempotency key", status=400)
    params = dict(call.params)
    if not is_json(params):
        raise SerializationError("the parameters are no JSON data")
    identity, schema = call.context.identity, call.function.schema
    scope = [None if identity is None else identity.name, call.group, schema.name, schema.version, key]
    # json escapes what is no ASCII, lone surrogates too
    return Claim(_digest(json.dumps(scope)), _digest(_canonical(params)), os.urandom(12).hex())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _is_kept(error: Exception, call: Call) -> bool:
    """Whether a call that failed so must not run again: the function ran, or may have, or never will."""
    if not isinstance(error, PortalError) or error.executed:
        return True
    if isinstance(error, TransportError):
        return error.may_have_executed
    if isinstance(error, CallTimeout | CallCancelled):
        return call.function.address is not None  # one that runs elsewhere may run still
    return not isinstance(error, _PASSING) and not error.retryable


def _text_of_result(result: Any) -> str:
    try:
        return _encode({"result": result})
    except (TypeError, ValueError, RecursionError):
        return _lost("was no JSON data")


def _text_of_error(error: Exception) -> str:
    # What is no portal error is a defect in a middleware: the dispatcher's words for it, and no more, go to a client.
    known = error if isinstance(error, PortalError) else PortalError("middleware around the call failed")
    if known.sendable() is not known:
        return _lost("was an error that is no JSON data")
    try:
        # `private` keeps a foreign exception's words on this side; it does not travel in to_dict
        return _encode_error({"error": known.to_dict(), "private": isinstance(known, FunctionError) and known.private})
    except (TypeError, ValueError, RecursionError):
        return _lost("was an error that is no JSON data")


def _lost(why: str) -> str:
    return _encode({"lost": why})


def _replay(call: Call, text: str) -> Any:
    call.reply["idempotent-replayed"] = "true"
    kept = json.loads(text)
    if "result" in kept:
        return kept["result"]
    if "error" not in kept:
        error: PortalError = ProtocolError(f"this call was made before; its answer {kept['lost']}", status=409)
        error.delivery = "executed"
        raise error
    error = PortalError.from_dict(kept["error"])
    error.context["request_id"] = call.context.request_id
    if isinstance(error, FunctionError):
        error.private = kept["private"] is True
    raise error


def _check(setting: str, value: object, right: bool, allowed: str) -> None:
    if not right:
        path = f"idempotency.{setting}"
        raise ConfigError(f"{path} is {value!r:.80}; expected: {allowed}", path=path, expected=allowed)
