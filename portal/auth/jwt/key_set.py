"""KeySet: the public keys of an issuer, fetched from its address and kept for a while (RFC 7517 section 5)."""

from __future__ import annotations

import json
import logging
import math
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

from ...calls.singleflight import SingleFlight
from ...errors import CallTimeout, ConfigError, OverloadedError, ProtocolError
from ..fetch import fetch, require_url
from ..secrets import failure_origin
from .keys import VerifyingKey, fits, key_of_jwk

__all__ = ["KeySet"]

_log = logging.getLogger("portal.auth")
_MAX_KEYS = 100


@dataclass(frozen=True, slots=True)
class _Held:
    keys: tuple[VerifyingKey, ...]
    at: float  # when it was asked for


class KeySet:
    """The keys at an address. What an answer no longer holds is no longer accepted.

    A set is kept for `seconds`; a token that names an unknown key has it fetched again, at most every `min_interval`
    seconds. When a fetch fails, and for other threads while it lasts, the last good set serves for `keep` seconds.

    Args:
        url: http or https; nothing else is fetched, and no redirect followed.
        timeout: seconds for one fetch, and for waiting for one.
        tls: what is trusted over https; the system's authorities when None.
        clock: seconds, as `time.monotonic`.

    Threads: any; many that need it fetched at the same time have it fetched once.
    """

    def __init__(
        self,
        url: str,
        *,
        seconds: float = 300.0,
        min_interval: float = 10.0,
        keep: float = 86_400.0,
        timeout: float = 5.0,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._url = require_url("jwt.jwks_url", url)
        for name, value in (
            ("jwks_seconds", seconds),
            ("jwks_min_interval", min_interval),
            ("jwks_keep", keep),
            ("jwks_timeout", timeout),
        ):
            _require_seconds(name, value)
        self._seconds = seconds
        self._min_interval = min_interval
        self._keep = max(keep, seconds)
        self._timeout = timeout
        self._tls = tls
        self._clock = clock
        self._once: SingleFlight[str] = SingleFlight()
        # Each is replaced as a whole, by the one thread that fetches.
        self._held: _Held | None = None
        self._tried = -math.inf

    @property
    def current(self) -> object:
        """Stands for the set that is in use while it is neither replaced nor too old; None when there is none such."""
        held = self._held
        return held if held is not None and self._clock() - held.at < self._seconds else None

    def find(self, kid: str | None, algorithm: str) -> Any:
        """The public key that a token names, or None. Without a name it is the only one for the algorithm.

        Raises: OverloadedError when there is no set and none to be had.
        """
        held, now = self._held, self._clock()
        if held is not None and now - held.at < self._seconds:
            key = _pick(held.keys, kid, algorithm)
            if key is not None or now - self._tried < self._min_interval:
                return key
        elif held is not None and now - held.at < self._keep and self._once.busy:
            key = _pick(held.keys, kid, algorithm)
            if key is not None:
                return key  # another thread renews the set: a slow issuer keeps one call waiting, not all
        if now - self._tried >= self._min_interval:
            self._refresh()
        held = self._held
        if held is None or self._clock() - held.at >= self._keep:
            raise OverloadedError("tokens cannot be checked at the moment", retry_after=self._min_interval)
        return _pick(held.keys, kid, algorithm)

    def _refresh(self) -> None:
        try:
            self._once.fetch("the key set", "the key set", monotonic() + self._timeout, self._fetch)
        except CallTimeout:
            _log.warning("the key set at %s was not there in %.3g s", self._url, self._timeout)

    def _fetch(self) -> None:
        now = self._clock()
        if now - self._tried < self._min_interval:
            return  # another thread did, between this one's look and its turn
        try:
            answer = fetch(self._url, deadline=monotonic() + self._timeout, tls=self._tls)
            if answer.status != 200:
                raise ProtocolError(f"the status is {answer.status}")
            self._held = _Held(_keys(answer.body), now)
        except Exception as error:  # whatever the answer did to its reader, the last good set stays
            _log.warning("the key set at %s cannot be had: %s", self._url, failure_origin(error))
        finally:
            self._tried = now


def _keys(body: bytes) -> tuple[VerifyingKey, ...]:
    document = json.loads(body)
    rows = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(rows, list) or len(rows) > _MAX_KEYS:
        raise ValueError(f"a key set is an object with a list of at most {_MAX_KEYS} keys")
    return tuple(key for row in rows if (key := _key(row)) is not None)


def _key(row: Any) -> VerifyingKey | None:
    try:
        return key_of_jwk(row)
    except Exception as error:  # RFC 7517 section 5: a key that is not understood is left out
        _log.info("a key of a key set is of no use: %s", failure_origin(error))
        return None


def _pick(keys: tuple[VerifyingKey, ...], kid: str | None, algorithm: str) -> Any:
    usable = [one for one in keys if one.alg in (None, algorithm) and fits(one.key, algorithm)]
    if kid is None:
        return usable[0].key if len(usable) == 1 else None
    return next((one.key for one in usable if one.kid == kid), None)


def _require_seconds(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        path = f"jwt.{name}"
        raise ConfigError(f"{path} is {value!r}; expected: seconds above 0", path=path, expected="seconds above 0")
