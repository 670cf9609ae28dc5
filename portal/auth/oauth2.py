"""OAuth2ClientCredentials: a bearer token asked for at a token endpoint (RFC 6749 section 4.4)."""

from __future__ import annotations

import base64
import json
import logging
import math
import re
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any
from urllib.parse import quote_plus, urlencode

from ..address import Address
from ..calls.singleflight import SingleFlight
from ..errors import AuthenticationError, CallTimeout, ConfigError, ProtocolError, TransportError
from .fetch import Fetched, fetch, require_url

__all__ = ["OAuth2ClientCredentials"]

_log = logging.getLogger("portal.auth")
_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")
_ERROR = re.compile(r"[a-z_]{1,40}")
_NO_LIFETIME = 300.0  # seconds a token is used whose answer does not say how long it is good
_PAUSE = 1.0  # seconds between two early refreshes that fail, and between two tokens that are refused


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    refresh_at: float
    expires_at: float


class OAuth2ClientCredentials:
    """A client's own bearer token, kept until shortly before it expires.

    Args:
        token_url: the token endpoint; https, unless it is this machine or a network that is trusted.
        client_id, client_secret: sent as Basic authentication (RFC 6749 section 2.3.1).
        scope: scopes with spaces between, or None.
        audience: sent as `audience`, which some servers want, or None.
        early: seconds before its end at which a token is asked for anew; half its life if that is less.
        timeout: seconds for asking.
        tls: what is trusted over https; the system's authorities when None.
        clock: seconds, as `time.monotonic`.

    Raises: from `headers`, AuthenticationError when the endpoint refuses or gives no bearer token, TransportError when
        it does not answer, CallTimeout when the caller's deadline passes first.

    Threads: any; many that need a token at the same time have it fetched once.
    """

    def __init__(
        self,
        token_url: str,
        client_id: str,
        client_secret: str,
        *,
        scope: str | None = None,
        audience: str | None = None,
        early: float = 30.0,
        timeout: float = 10.0,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._url = require_url("oauth2.token_url", token_url)
        texts = {"client_id": client_id, "client_secret": client_secret, "scope": scope, "audience": audience}
        for name, text in texts.items():
            if not _is_text(text) and not (text is None and name in ("scope", "audience")):
                raise _wrong(name, "text, not empty")
        for name, seconds, least in (("early", early, 0.0), ("timeout", timeout, 0.001)):
            if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not least <= seconds < math.inf:
                raise _wrong(name, f"seconds, {least:g} or more")
        self._early = early
        self._timeout = timeout
        self._tls = tls
        self._clock = clock
        pair = base64.b64encode(f"{quote_plus(client_id)}:{quote_plus(client_secret)}".encode("ascii"))
        self._headers = {
            "Authorization": f"Basic {pair.decode('ascii')}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        form = {"grant_type": "client_credentials", "scope": scope, "audience": audience}
        self._form = urlencode({name: text for name, text in form.items() if text is not None}).encode("ascii")
        self._once: SingleFlight[str] = SingleFlight()
        # Each is replaced as a whole: a race costs one more fetch.
        self._token: _Token | None = None
        self._dropped_at = -math.inf
        self._given = threading.local()

    def __repr__(self) -> str:
        return f"OAuth2ClientCredentials({self._url!r}, ***)"

    def headers(self, address: Address, deadline: float | None) -> Mapping[str, str]:
        token = self._usable() or self._obtain(deadline)
        self._given.token = token
        return {"Authorization": f"Bearer {token}"}

    def _usable(self) -> str | None:
        """A token that is not due for renewal, or is being renewed by another thread and good until then."""
        token, now = self._token, self._clock()
        if token is None or now >= (token.expires_at if self._once.busy else token.refresh_at):
            return None
        return token.text

    def refused(self, address: Address) -> bool:
        """Drop the token that this thread was given, unless another thread has a newer one already.

        False when a new token was refused as well just now: another one would be no better.
        """
        token = self._token
        if token is None or token.text != getattr(self._given, "token", None):
            return True
        now = self._clock()
        if now - self._dropped_at < _PAUSE:
            return False
        self._dropped_at = now
        self._token = None
        return True

    def _obtain(self, deadline: float | None) -> str:
        now = monotonic()
        own = until = now + self._timeout
        if deadline is not None:
            # While the old token is still good, half of the caller's time is left for the call itself.
            until = min(own, deadline if self._expired() else now + (deadline - now) / 2)
        try:
            found = self._once.fetch(
                "the token endpoint", "the token endpoint", until, lambda: self._renewed() or self._fetch(until, own)
            )
        except (AuthenticationError, TransportError, CallTimeout) as error:
            token = self._token
            if token is None or self._expired():
                if isinstance(error, CallTimeout) and until == own:
                    raise TransportError("the token endpoint did not answer", delivery="not_sent") from error
                raise
            _log.warning("a token could not be renewed early: %s", error)
            self._token = _Token(token.text, self._clock() + _PAUSE, token.expires_at)
            return token.text
        return str(found)

    def _expired(self) -> bool:
        token = self._token
        return token is None or self._clock() >= token.expires_at

    def _renewed(self) -> str | None:
        """The token that another thread fetched between this one's look and its turn."""
        token = self._token
        return token.text if token is not None and self._clock() < token.refresh_at else None

    def _fetch(self, deadline: float, own: float) -> str:
        asked_at = self._clock()
        try:
            answer = fetch(
                self._url, method="POST", headers=self._headers, body=self._form, deadline=deadline, tls=self._tls
            )
        except (ProtocolError, TransportError) as error:
            late = isinstance(error, TransportError) and deadline < own and monotonic() >= deadline
            if late:  # says nothing to others, who may have more time
                raise CallTimeout("the token endpoint did not answer in time") from error
            raise TransportError(f"the token endpoint at {error}", delivery="not_sent") from error
        self._token = self._token_of(_members(answer), asked_at)
        return self._token.text

    def _token_of(self, members: Mapping[str, Any], now: float) -> _Token:
        text, kind = members.get("access_token"), members.get("token_type")
        if not isinstance(text, str) or not _TOKEN.fullmatch(text) or str(kind).lower() != "bearer":
            raise AuthenticationError("the token endpoint gave no bearer token")
        life = _lifetime(members.get("expires_in"))
        return _Token(text, now + max(life - self._early, life / 2), now + life)


def _members(answer: Fetched) -> Mapping[str, Any]:
    """The members of a good answer; what others mean is told without their words (RFC 6749 section 5.2)."""
    try:
        members = json.loads(answer.body)
    except (ValueError, RecursionError):
        members = None
    members = members if isinstance(members, Mapping) else {}
    if answer.status == 200:
        return members
    if answer.status >= 500 or answer.status in (408, 429):
        raise TransportError(f"the token endpoint answered {answer.status}", delivery="not_sent")
    code = members.get("error")
    known = code if isinstance(code, str) and _ERROR.fullmatch(code) else f"status {answer.status}"
    raise AuthenticationError(f"the token endpoint refused: {known}")


def _lifetime(value: Any) -> float:
    if value is None:
        return _NO_LIFETIME
    try:
        life = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        life = math.nan
    if not 0 < life < math.inf:
        raise AuthenticationError("the token endpoint gave a token without a life")
    return life


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != "" and value.isprintable()


def _wrong(name: str, allowed: str) -> ConfigError:
    """The value is not told: it may be a secret."""
    path = f"oauth2.{name}"
    return ConfigError(f"{path} is not right; expected: {allowed}", path=path, expected=allowed)
