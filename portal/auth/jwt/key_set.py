"""KeySet: the public keys of an issuer, fetched from its URL and cached (RFC 7517 section 5)."""

from __future__ import annotations

import json
import math
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic

from ..._internal.counter import Counter
from ..._internal.json_text import JSONValue
from ..._internal.log import get_logger
from ..._internal.settings import callback, instance, positive_seconds
from ..._internal.settings import seconds as seconds_setting
from ...calls.singleflight import SingleFlight
from ...context import CallContext
from ...errors import CallTimeout, OverloadedError, ProtocolError
from ..fetch import fetch, require_url
from ..secrets import failure_origin
from .keys import PublicKey, VerifyingKey, is_usable, key_of_jwk

__all__ = ["KeySet"]

_log = get_logger("portal.auth")
_MAX_KEYS = 100
_RETRY_AFTER = 1.0  # seconds; most fetches have ended by then


@dataclass(frozen=True, slots=True)
class _Keys:
    keys: tuple[VerifyingKey, ...]
    fetched_at: float


class KeySet:
    """The public keys at a URL. A key that the latest response does not contain is not accepted any more.

    The keys are cached for `seconds`. For a token with an unknown key id they are fetched again, at most every
    `min_interval` seconds. If a fetch fails, and for other threads during a fetch, the last keys are used for up to
    `keep` seconds.

    Only the thread that fetches waits for a slow issuer. During a fetch a token with an unknown key id is rejected at
    once with OverloadedError. Without any keys, other threads wait until `wait` seconds after the start of the fetch.

    Args:
        url: http or https URL; redirects are not followed.
        seconds: for which the keys are used without a fetch.
        min_interval: seconds between two fetches at least.
        keep: seconds for which the last keys are used if no fetch succeeds.
        timeout: seconds for one fetch.
        wait: seconds from the start of a fetch for which other threads wait if there are no keys; 0 rejects at once.
        tls: context for https; None trusts the system's certificate authorities.
        clock: seconds, as `time.monotonic`.

    Raises: ConfigError for a wrong setting.

    Attributes:
        rejected: counts the look-ups that were rejected because another thread was fetching.

    Threads: any; threads that need the keys at the same time share one fetch.
    """

    def __init__(
        self,
        url: str,
        *,
        seconds: float = 300.0,
        min_interval: float = 10.0,
        keep: float = 86_400.0,
        timeout: float = 5.0,
        wait: float = 1.0,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._url = require_url("jwt.jwks_url", url)
        self._seconds = positive_seconds("jwt.jwks_seconds", seconds)
        self._min_interval = positive_seconds("jwt.jwks_min_interval", min_interval)
        self._keep = max(positive_seconds("jwt.jwks_keep", keep), seconds)
        self._timeout = positive_seconds("jwt.jwks_timeout", timeout)
        self._wait = seconds_setting("jwt.jwks_wait", wait)
        self._tls = instance("jwt.tls", tls, ssl.SSLContext, optional=True)
        self._clock = callback("jwt.clock", clock)
        self._single_flight: SingleFlight[str] = SingleFlight()
        # Each attribute is replaced as a whole, by the one thread that fetches.
        self._latest: _Keys | None = None
        self._tried_at = -math.inf
        self._started_at: float | None = None  # `time.monotonic()` at the start of a fetch in progress
        self.rejected = Counter()

    @property
    def current(self) -> object:
        """The identity of the current key set, or None."""
        latest = self._latest
        return latest if latest is not None and self._clock() - latest.fetched_at < self._seconds else None

    def find(self, kid: str | None, algorithm: str) -> PublicKey | None:
        """Return the public key with an id, or None; without an id, the only key for the algorithm.

        Raises: OverloadedError if there are no keys and none can be fetched, and for an unknown id during a fetch.
        """
        latest, now = self._latest, self._clock()
        age = math.inf if latest is None else now - latest.fetched_at
        has_keys = latest is not None and age < self._keep
        key = _pick(latest.keys, kid, algorithm) if latest is not None and has_keys else None
        if key is not None and (age < self._seconds or self._single_flight.busy):
            return key  # another thread fetches: a slow issuer delays one call, not all
        if now - self._tried_at >= self._min_interval:
            if not self._refresh(waits=not has_keys):
                return self._while_fetching(key)
            latest = self._latest
        if latest is None or self._clock() - latest.fetched_at >= self._keep:
            raise OverloadedError("tokens cannot be verified now; try again later", retry_after=self._min_interval)
        return _pick(latest.keys, kid, algorithm)

    def _while_fetching(self, key: PublicKey | None) -> PublicKey:
        """Return the cached key during the fetch of another thread. Raises: OverloadedError without one."""
        if key is not None:
            return key
        self.rejected.add()
        raise OverloadedError("the keys are being fetched; try again later", retry_after=_RETRY_AFTER)

    def _refresh(self, *, waits: bool) -> bool:
        """Fetch the keys, unless another thread fetches them.

        Args:
            waits: whether to wait for the other thread, until `wait` seconds after the start of its fetch.

        Returns: False if the fetch of another thread goes on.
        """
        now, started_at = monotonic(), self._started_at
        # The deadline is that of a thread that does not fetch. For a moment at its start a fetch has no `started_at`.
        deadline = (now if started_at is None else started_at) + self._wait if waits else now
        context = CallContext(deadline=deadline)
        try:
            self._single_flight.run("the key set", context, "the key set", self._fetch)
        except CallTimeout:
            if deadline > now:
                _log.warning("fetch of the key set timed out: url=%s waited_seconds=%.3g", self._url, deadline - now)
            return False
        return True

    def _fetch(self) -> None:
        now = self._clock()
        if now - self._tried_at < self._min_interval:
            return  # another thread has fetched in the meantime
        self._started_at = monotonic()
        try:
            response = fetch(self._url, deadline=monotonic() + self._timeout, tls=self._tls)
            if response.status != 200:
                raise ProtocolError(f"the server responded with {response.status}")
            self._latest = _Keys(_keys(response.body), now)
        except Exception as error:  # a malformed response may cause any exception; the last keys stay
            _log.warning("fetch of the key set failed: url=%s error=%s", self._url, failure_origin(error))
        finally:
            self._tried_at = self._clock()  # not `now`: after a slow fetch the next one would start at once
            self._started_at = None


def _keys(body: bytes) -> tuple[VerifyingKey, ...]:
    document = json.loads(body)
    rows = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(rows, list) or len(rows) > _MAX_KEYS:
        raise ValueError(f"a key set must be an object with a list of at most {_MAX_KEYS} keys")
    return tuple(key for row in rows if (key := _key(row)) is not None)


def _key(row: JSONValue) -> VerifyingKey | None:
    try:
        return key_of_jwk(row)
    except Exception as error:  # RFC 7517 section 5: an implementation ignores keys that it does not understand
        _log.info("a key of the key set is ignored: error=%s", failure_origin(error))
        return None


def _pick(keys: tuple[VerifyingKey, ...], kid: str | None, algorithm: str) -> PublicKey | None:
    usable = [one for one in keys if one.alg in (None, algorithm) and is_usable(one.key, algorithm)]
    if kid is None:
        return usable[0].key if len(usable) == 1 else None
    return next((one.key for one in usable if one.kid == kid), None)
