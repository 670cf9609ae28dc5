"""Idempotency: run a call with an idempotency key once, and give a repeated call the first response.

Source: draft-ietf-httpapi-idempotency-key-header, section 2.6. A malformed key is 400. A key that was used with other
parameters is 422. A repeated call is 409 while the first one is still running.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from copy import copy
from functools import partial
from time import monotonic
from typing import Any, Literal

from .._internal.conditions import Event
from .._internal.counter import Counter
from .._internal.redis_client import RedisClient, StoreClient, StoreUnavailable, namespaced_prefix, require_namespace
from .._internal.settings import choice, count, positive_seconds, seconds, size, text
from .._internal.settings import namespace as check_namespace
from ..calls.client import client_of
from ..calls.deadlines import timeout_error
from ..calls.item_key import ItemKey
from ..calls.middleware import Call, CallNext
from ..errors import (
    AuthenticationError,
    AuthorizationError,
    CallCancelled,
    CallTimeout,
    CircuitOpenError,
    OverloadedError,
    PortalError,
    ProtocolError,
    RateLimitError,
    SerializationError,
    TransportError,
)
from ..http11.dates import format_retry_after
from ..http11.fields import MAX_IDEMPOTENCY_KEY, is_idempotency_key
from ..schema.codecs.files import current_table
from ..schema.jsondata import is_json
from .claims import end_left, settle
from .memory import MemoryOutcomes
from .outcomes import not_kept, replay, text_of_error, text_of_result
from .shared import SharedOutcomes, UnnamedOutcomes
from .store import MARKER_SIZE, Bounds, Claim, OutcomeStore, StoreFull

__all__ = ["Idempotency"]

_FIRST_POLL = 0.005  # seconds
_MAX_POLL = 0.25  # seconds
#: Errors that are raised before the function runs and may not recur at the next call.
_TEMPORARY = (AuthenticationError, AuthorizationError, CircuitOpenError, OverloadedError, RateLimitError)
_canonical = json.JSONEncoder(allow_nan=False, sort_keys=True, separators=(",", ":")).encode


class Idempotency:
    """Call middleware that runs only the first call with an idempotency key. Every call with the key gets its response.

    Keys are scoped to namespace, client, service, function and version. A client is its identity, or without one its
    network: an IPv4 address, or the /64 of an IPv6 address. A call that arrives while the first one is running waits
    for it. A call without a key passes through.

    The first response is kept for `window` seconds: a result, a ValidationError, or the error of a function that ran or
    may have run. Temporary errors from before the function ran are not kept, so the next call runs. These are
    RateLimitError, OverloadedError, CircuitOpenError, a passed deadline, 401 and 403. A replayed response has the
    header `Idempotent-Replayed: true`.

    No response is removed before its window ends, so no client can erase the keys of another, or run a call of its own
    twice, by filling the store. A client that has used up its share gets RateLimitError for a new key. If the responses
    to all clients fill the store, new keys get OverloadedError. Both tell when there is room again. Keys that are kept,
    and calls without a key, are not affected.

    Put Idempotency inside authentication and rate limits, and around middleware whose effect may differ between calls.

    Args:
        window: seconds for which a response is kept.
        store: None keeps responses in this process. A Redis or Valkey URL or client shares them between processes.
        max_entries: the largest number of responses in this process. Beyond it new keys are rejected.
        max_response_size: the largest response in bytes of JSON. A larger one is not kept, and a repeated call gets a
            409 instead.
        max_bytes: the largest size of all responses in this process together. Beyond it new keys are rejected.
        max_entries_per_client, max_bytes_per_client: the same for the responses to one client, also in a shared store;
            None for a quarter.
        wait: the longest time in seconds that a call waits for the first one. Its deadline may end the wait earlier.
        lease: seconds after which the shared store frees the keys of a process that died.
        on_lost_store: "closed" rejects calls with a key (OverloadedError) while the store does not respond. "open" runs
            them, possibly twice.
        key_prefix: the prefix of the keys in the store.
        namespace: the portals that share responses; None for the `name=` of the portal. A shared store requires one of
            the two. Without both, each portal has responses of its own in this process.
        clock: seconds, as `time.monotonic`; used for the window.

    Raises: ConfigError for a wrong setting.

    Threads: any. `close` ends the middleware's thread and connections.
    """

    around = "call"  # the kind of middleware; see `resolve_middleware`

    def __init__(
        self,
        window: float = 86_400.0,
        *,
        store: str | RedisClient | None = None,
        max_entries: int = 100_000,
        max_response_size: int = 1024 * 1024,
        max_bytes: int = 64 * 1024 * 1024,
        max_entries_per_client: int | None = None,
        max_bytes_per_client: int | None = None,
        wait: float = 30.0,
        lease: float = 30.0,
        on_lost_store: Literal["open", "closed"] = "closed",
        key_prefix: str = "portal:idempotency",
        namespace: str | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._max_response_size = size("idempotency.max_response_size", max_response_size)
        self._wait = seconds("idempotency.wait", wait)
        self._open = choice("idempotency.on_lost_store", on_lost_store, ("open", "closed")) == "open"
        self._namespace = check_namespace("idempotency.namespace", namespace)
        self._open_store: Callable[[str | None], OutcomeStore] = partial(
            _store_of,
            store,
            positive_seconds("idempotency.window", window),
            seconds("idempotency.lease", lease, minimum=0.1),
            text("idempotency.key_prefix", key_prefix),
            _bounds(max_entries, max_bytes, max_entries_per_client, max_bytes_per_client, max_response_size),
            clock,
        )
        self._is_shared = store is not None
        self._rejected, self._rejected_clients = Counter(), Counter()
        self._scope = _scope_of(namespace)
        self._store = self._open_store(namespace)

    def bind_namespace(self, name: str | None) -> Idempotency:
        """Return the middleware for a portal with this name; see `NamespacedMiddleware`.

        Raises: ConfigError for a shared store without a name and without `namespace`.
        """
        namespace = self._namespace or name
        if self._is_shared:
            require_namespace(namespace, path="idempotency.namespace")
        bound = copy(self)
        bound._scope = _scope_of(namespace)
        bound._rejected, bound._rejected_clients = Counter(), Counter()
        if self._is_shared:  # a store in this process is common, so that its bounds hold for all portals together
            bound._store = self._open_store(namespace)
        return bound

    def __call__(self, call: Call, call_next: CallNext) -> Any:
        """Run the call, or return the response of the first call with its key.

        Raises: ProtocolError: 400 for a malformed key or a stream; 409 if the first call is still running after `wait`
            seconds or its response was not kept; 422 for a key that was used with other parameters. CallTimeout if the
            deadline passes while the call waits. RateLimitError if the client has used up its share of the store.
            OverloadedError if the store is full or does not respond.
        """
        key = call.context.idempotency_key
        if key is None:
            return call_next(call)
        claim = _claim_of(call, key, self._scope)
        runs = False
        try:
            try:
                kept = self._find(call, claim)
            except StoreFull as full:
                raise self._rejection(call, full) from None
            except StoreUnavailable:
                if self._open:
                    return call_next(call)
                call.reply["retry-after"] = "1"
                message = "the store of idempotency keys does not respond; without it this call could run twice"
                raise OverloadedError(message, retry_after=1.0) from None
            if kept is not None:
                return replay(call, kept)
            runs = True
            return self._run(call, call_next, claim)
        except BaseException:
            # The handler of a signal may have raised where the claim was made, or where it was to end.
            end_left(self._store, claim, runs=runs)
            raise

    def _run(self, call: Call, call_next: CallNext, claim: Claim) -> Any:
        try:
            result = call_next(call)
        except Exception as error:
            settle(self._store, claim, partial(self._text_of_error, error, call))
            raise
        except BaseException:
            settle(self._store, claim, lambda: None)  # the process ends; calls that wait for this one go on
            raise
        settle(self._store, claim, lambda: self._text_of(result))
        return result

    def _find(self, call: Call, claim: Claim) -> str | None:
        """Return the recorded outcome, after a wait if the first call is running; None if this call is the first."""
        waiting = None
        while True:
            found = self._store.claim(claim)
            if found is None:
                return None
            if found.digest != claim.digest:
                message = "this idempotency key was used for a call with other parameters; use another key"
                raise ProtocolError(message, status=422)
            if found.text is not None:
                return found.text
            waiting = waiting or _Waiting(call, self._wait)
            waiting.woken.clear()
            self._store.watch(claim.key, waiting.woken)
            waiting.pause(self._store.notifies)

    def _rejection(self, call: Call, full: StoreFull) -> PortalError:
        wait = full.retry_after
        call.reply["retry-after"] = format_retry_after(wait) or "1"
        if full.own:
            self._rejected_clients.add()
            message = f"too many idempotency keys of this client are kept; a new one is accepted in {wait:.3g} s"
            return RateLimitError(message, retry_after=wait)
        self._rejected.add()
        message = f"too many idempotency keys are kept; a new one is accepted in {wait:.3g} s"
        return OverloadedError(message, retry_after=wait)

    def counters(self) -> dict[str, int]:
        """Return the numbers of keys and bytes in this process, and of new keys that were rejected.

        Keys and bytes in this process are those of all portals that use one object. With a shared store they are the
        running calls, and the responses that wait to be recorded.
        """
        return {
            "idempotency_keys": len(self._store),
            "idempotency_bytes": self._store.size,
            "idempotency_rejected": self._rejected.value,
            "idempotency_rejected_per_client": self._rejected_clients.value,
        }

    def _text_of(self, result: Any) -> str | None:
        table = current_table()
        if table is not None:
            if table.size_in(result) > self._max_response_size:
                return self._too_large()
            result = table.inlined(result)
        return self._shorten(text_of_result(result))

    def _text_of_error(self, error: Exception, call: Call) -> str | None:
        return self._shorten(_text_of_failure(error, call))

    def _too_large(self) -> str:
        return not_kept(f"was larger than {self._max_response_size} bytes")

    def _shorten(self, text: str | None) -> str | None:
        if text is None or len(text) <= self._max_response_size:
            return text
        return self._too_large()

    def close(self) -> None:
        """End the thread, and close the connections that were opened for a store URL."""
        self._store.close()


class _Waiting:
    """A call that waits for the first call with the same key.

    Threads: one.
    """

    def __init__(self, call: Call, max_wait: float) -> None:
        self.woken = Event()
        self._call = call
        self._until = monotonic() + max_wait
        self._timeout = call.context.remaining()
        self._poll = _FIRST_POLL
        call.context.on_cancel(self.woken.set)

    def pause(self, notified: bool) -> None:
        """Wait until the first call may have ended.

        Args:
            notified: whether the store sets `woken`. If not, this returns after a polling interval.

        Raises: CallTimeout, CallCancelled, ProtocolError (409).
        """
        context = self._call.context
        limits = [self._until - monotonic(), context.remaining(), None if notified else self._poll]
        if not context.cancelled:  # the cancellation may have come before `woken` was cleared
            self.woken.wait(max(0.0, min(limit for limit in limits if limit is not None)))
        self._poll = min(_MAX_POLL, self._poll * 1.5)
        if context.cancelled:
            raise CallCancelled("the caller cancelled the call", context={"request_id": context.request_id})
        if context.expired:
            raise timeout_error(context, self._call.function.name, self._timeout)
        if monotonic() >= self._until and not self.woken.is_set():
            self._call.reply["retry-after"] = "1"
            message = "the first call with this idempotency key is still running"
            raise ProtocolError(message, status=409, retryable=True)


def _store_of(
    source: str | RedisClient | None,
    window: float,
    lease: float,
    prefix: str,
    bounds: Bounds,
    clock: Callable[[], float],
    namespace: str | None,
) -> OutcomeStore:
    """Return the store for the setting `store`.

    Args:
        source: a URL or a client of a shared store; None keeps outcomes in this process.
        window, lease, prefix, bounds, clock: the settings of the store.
        namespace: the namespace in a shared store. None makes a store that rejects calls.

    Raises: ConfigError for a wrong source.
    """
    if source is None:
        return MemoryOutcomes(window, bounds, clock)
    link = StoreClient(source, path="idempotency.store", clock=clock)
    if namespace is None:
        return UnnamedOutcomes()
    return SharedOutcomes(link, window, lease, namespaced_prefix(prefix, namespace), bounds, clock)


def _bounds(entries: int, size_: int, client_entries: int | None, client_size: int | None, response: int) -> Bounds:
    """Return the checked bounds; the share of a client is by default a quarter.

    Args:
        response: the largest response, for which a share must have room.
    """
    least = max(MARKER_SIZE, response)
    count("idempotency.max_entries", entries)
    size("idempotency.max_bytes", size_, minimum=least)
    count("idempotency.max_entries_per_client", client_entries, optional=True)
    size("idempotency.max_bytes_per_client", client_size, minimum=least, optional=True)
    return Bounds(
        entries,
        size_,
        max(1, entries // 4) if client_entries is None else client_entries,
        max(least, size_ // 4) if client_size is None else client_size,
    )


def _scope_of(namespace: str | None) -> str:
    """Return what keeps the keys of a namespace apart; without a namespace no other portal has the same."""
    return f"own {os.urandom(16).hex()}" if namespace is None else f"name {namespace}"


def _claim_of(call: Call, key: object, namespace: str) -> Claim:
    if not isinstance(key, str) or not is_idempotency_key(key):
        words = f"the idempotency key must have 1 to {MAX_IDEMPOTENCY_KEY} visible ASCII characters"
        raise ProtocolError(words, status=400)
    if call.streaming:
        words = f"{call.function.name} is a stream and cannot have an idempotency key; call it without one"
        raise ProtocolError(words, status=400)
    params = dict(call.params)
    if not is_json(params):
        raise SerializationError("the parameters of a call with an idempotency key must be JSON data")
    schema, kind = call.function.schema, "item" if isinstance(key, ItemKey) else "single"
    address = call.function.address  # of a function elsewhere; two servers may have functions of one name
    client = [namespace, client_of(call)]
    scope = [*client, str(address or ""), call.group, schema.name, schema.version, kind, key]
    # json escapes every character beyond ASCII, including lone surrogates
    digests = (_digest(text) for text in (json.dumps(scope), _canonical(params), json.dumps(client)))
    key_digest, params_digest, client_digest = digests
    return Claim(key_digest, params_digest, os.urandom(12).hex(), client_digest[:32])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _text_of_failure(error: Exception, call: Call) -> str | None:
    """Return the text that keeps an error, or None if the next call may run."""
    return text_of_error(error) if _is_kept(error, call) else None


def _is_kept(error: Exception, call: Call) -> bool:
    """Return whether a failed call must not run again: the function ran, may have run, or would fail again."""
    if not isinstance(error, PortalError) or error.executed:
        return True
    if isinstance(error, TransportError):
        return error.may_have_executed
    if isinstance(error, CallTimeout | CallCancelled):
        return call.function.address is not None  # at another address it may still be running
    return not isinstance(error, _TEMPORARY) and not error.retryable
