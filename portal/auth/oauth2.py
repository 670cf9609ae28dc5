"""OAuth2ClientCredentials: a bearer token from a token endpoint (RFC 6749 section 4.4)."""

from __future__ import annotations

import base64
import json
import math
import re
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from time import monotonic
from urllib.parse import quote_plus, urlencode

from .._internal.at_fork import new_lock
from .._internal.json_text import JSONObject, JSONValue
from .._internal.log import get_logger
from .._internal.settings import callback, instance, positive_seconds, require, seconds
from ..address import Address
from ..calls.singleflight import SingleFlight
from ..context import CallContext
from ..errors import AuthenticationError, CallTimeout, ProtocolError, TransportError
from .fetch import Fetched, fetch, require_url

__all__ = ["OAuth2ClientCredentials"]

_log = get_logger("portal.auth")
_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")
_ERROR = re.compile(r"[a-z_]{1,40}")
_SECONDS = re.compile(r"[0-9]{1,15}")
_MIN_LIFETIME = 0.1  # seconds; with a shorter one every call would fetch a token
_DEFAULT_LIFETIME = 300.0  # seconds, of a token without expires_in
_RETRY_INTERVAL = 1.0  # seconds between two failed refreshes, and between two rejected tokens


@dataclass(frozen=True, slots=True)
class _Token:
    number: int  # counts the responses of the endpoint, which may return the same text again
    text: str
    refresh_at: float
    expires_at: float


class OAuth2ClientCredentials:
    """Authenticates calls with a bearer token, which is cached until shortly before it expires.

    Args:
        token_url: the token endpoint. Use https except on this machine or a trusted network.
        client_id, client_secret: sent with Basic authentication (RFC 6749 section 2.3.1).
        scope: scopes separated by spaces, or None.
        audience: sent as `audience`, which some servers require, or None.
        refresh_before: seconds before its expiry at which a token is refreshed; at most half of its lifetime.
        timeout: seconds for a request to the endpoint.
        tls: context for https; None trusts the system's certificate authorities.
        clock: seconds, as `time.monotonic`.

    Raises: ConfigError for a wrong setting. `headers` raises AuthenticationError if the endpoint rejects the request or
        returns no bearer token, TransportError if it does not respond, and CallTimeout if the caller's deadline passes
        first.

    Threads: any; threads that need a token at the same time share one request.
    """

    def __init__(
        self,
        token_url: str,
        client_id: str,
        client_secret: str,
        *,
        scope: str | None = None,
        audience: str | None = None,
        refresh_before: float = 30.0,
        timeout: float = 10.0,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._url = require_url("oauth2.token_url", token_url)
        texts = {"client_id": client_id, "client_secret": client_secret, "scope": scope, "audience": audience}
        for name, text in texts.items():
            optional = name in ("scope", "audience")
            ok = _is_text(text) or (optional and text is None)
            require(ok, f"oauth2.{name}", text, "a printable string that is not empty", optional=optional, secret=True)
        self._refresh_before = seconds("oauth2.refresh_before", refresh_before)
        self._timeout = positive_seconds("oauth2.timeout", timeout)
        self._tls = instance("oauth2.tls", tls, ssl.SSLContext, optional=True)
        self._clock = callback("oauth2.clock", clock)
        pair = base64.b64encode(f"{quote_plus(client_id)}:{quote_plus(client_secret)}".encode("ascii"))
        self._headers = {
            "Authorization": f"Basic {pair.decode('ascii')}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        form = {"grant_type": "client_credentials", "scope": scope, "audience": audience}
        self._form = urlencode({name: text for name, text in form.items() if text is not None}).encode("ascii")
        self._single_flight: SingleFlight[str] = SingleFlight()
        self._lock = new_lock()  # guards replacing the four attributes below; readers take no lock
        self._token: _Token | None = None
        self._fetched = 0  # the number of the last token
        self._discarded = 0  # the number of the last token that the server rejected
        self._discarded_at = -math.inf
        self._sent = threading.local()

    def __repr__(self) -> str:
        return f"OAuth2ClientCredentials({self._url!r}, ***)"

    def headers(self, address: Address, deadline: float | None) -> Mapping[str, str]:
        token = self._usable() or self._obtain(deadline)
        self._sent.token = token
        return {"Authorization": f"Bearer {token}"}

    def _usable(self) -> str | None:
        """Return the cached token unless it needs a refresh; while another thread refreshes it, until it expires."""
        token, now = self._token, self._clock()
        if token is None or now >= (token.expires_at if self._single_flight.busy else token.refresh_at):
            return None
        return token.text

    def rejected(self, address: Address) -> bool:
        """Discard the token that this thread sent, unless another thread has fetched a newer one.

        Returns: False if the server just rejected a new token, too, so that another one would not help.
        """
        now, sent = self._clock(), getattr(self._sent, "token", None)
        with self._lock:
            token = self._token
            if token is None or token.text != sent:
                return True
            if now - self._discarded_at < _RETRY_INTERVAL:
                return False
            self._discarded_at = now
            self._token = None
            self._discarded = token.number
            return True

    def _obtain(self, deadline: float | None) -> str:
        now, discarded = monotonic(), self._discarded
        own = until = now + self._timeout
        if deadline is not None:
            # While the cached token is valid, half of the caller's time is left for the call itself.
            until = min(own, deadline if self._expired() else now + (deadline - now) / 2)
        try:
            context = CallContext(deadline=until)
            number = 0
            while number <= discarded:  # the token of another thread's request may have been rejected since
                number, text = self._single_flight.run(
                    "the token endpoint",
                    context,
                    "the token endpoint",
                    lambda: self._renewed() or self._fetch(until, own),
                )
        except (AuthenticationError, TransportError, CallTimeout) as error:
            token, now = self._token, self._clock()
            if token is None or now >= token.expires_at:
                if isinstance(error, CallTimeout) and until == own:
                    raise TransportError("the token endpoint did not respond", delivery="not_sent") from error
                raise
            _log.warning("the token was not refreshed before its expiry: %s", error)
            with self._lock:
                if self._token is token:  # otherwise another thread has replaced or discarded it
                    self._token = replace(token, refresh_at=now + _RETRY_INTERVAL)
            return token.text
        return str(text)

    def _expired(self) -> bool:
        token = self._token
        return token is None or self._clock() >= token.expires_at

    def _renewed(self) -> tuple[int, str] | None:
        """Return the number and the text of the token if another thread refreshed it in the meantime."""
        token = self._token
        return (token.number, token.text) if token is not None and self._clock() < token.refresh_at else None

    def _fetch(self, deadline: float, own: float) -> tuple[int, str]:
        """Fetch a token, store it, and return its number and its text."""
        requested_at = self._clock()
        try:
            response = fetch(
                self._url, method="POST", headers=self._headers, body=self._form, deadline=deadline, tls=self._tls
            )
        except (ProtocolError, TransportError) as error:
            late = isinstance(error, TransportError) and deadline < own and monotonic() >= deadline
            if late:  # other waiters may have more time
                raise CallTimeout("the token endpoint did not respond in time") from error
            raise TransportError(f"the token endpoint at {error}", delivery="not_sent") from error
        text, lifetime = _token_of(_members(response))
        refresh_at = requested_at + max(lifetime - self._refresh_before, lifetime / 2)
        with self._lock:
            self._fetched += 1
            self._token = _Token(self._fetched, text, refresh_at, requested_at + lifetime)
            return self._fetched, text


def _members(response: Fetched) -> JSONObject:
    """Return the members of a successful response.

    Raises: TransportError or AuthenticationError for any other, with nothing but its error code (RFC 6749 section 5.2).
    """
    try:
        members = json.loads(response.body)
    except (ValueError, RecursionError):
        members = None
    members = members if isinstance(members, dict) else {}
    if response.status == 200:
        return members
    if response.status >= 500 or response.status in (408, 429):
        raise TransportError(f"the token endpoint responded with {response.status}", delivery="not_sent")
    code = members.get("error")
    known = code if isinstance(code, str) and _ERROR.fullmatch(code) else f"status {response.status}"
    raise AuthenticationError(f"the token endpoint rejected the request: {known}")


def _token_of(members: JSONObject) -> tuple[str, float]:
    """Return the token of a response and its lifetime in seconds."""
    text, kind = members.get("access_token"), members.get("token_type")
    if not isinstance(text, str) or not _TOKEN.fullmatch(text) or str(kind).lower() != "bearer":
        raise AuthenticationError("the token endpoint returned no bearer token")
    return text, _lifetime(members.get("expires_in"))


def _lifetime(value: JSONValue) -> float:
    if value is None:
        return _DEFAULT_LIFETIME
    if isinstance(value, str):  # some servers send a number as text; float() also takes "1_0", "1e3" and " 10"
        value = int(value) if _SECONDS.fullmatch(value) else None
    try:
        lifetime = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        lifetime = math.nan
    if not _MIN_LIFETIME <= lifetime < math.inf:
        raise AuthenticationError("the token endpoint returned a token without a valid expires_in")
    return lifetime


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != "" and value.isprintable()
