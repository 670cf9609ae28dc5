"""SignatureAuth: authenticate the sender of a webhook by the signature of the body.

`verify_signature` makes one for GitHub, for Stripe, and for senders that follow Standard Webhooks:

    github      X-Hub-Signature-256: sha256=HEX                      of the body
    stripe      Stripe-Signature: t=SECONDS,v1=HEX                   of "SECONDS.body"
    standard    webhook-id, webhook-timestamp, webhook-signature     of "id.SECONDS.body"; the signature is v1,BASE64

All are HMAC with SHA-256. A signature is compared in constant time, and with each secret.

Sources: GitHub Docs, "Validating webhook deliveries"; Stripe Docs, "Verify webhook signatures manually"; the Standard
Webhooks specification 1.0.0.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Iterable, Mapping
from time import time
from typing import Literal, NamedTuple, Protocol

from .._internal.settings import instance, positive_seconds, require
from ..context import Identity
from ..errors import AuthenticationError, ConfigError
from .authenticators import CredentialSource

__all__ = ["SignatureAuth", "SignatureScheme", "verify_signature"]

SignatureScheme = Literal["github", "stripe", "standard"]

_MAX_SIGNATURES = 16  # that are looked at in one request
_MAX_HEADER = 4096  # characters
_MIN_SECRET = 8  # bytes


class _Signed(NamedTuple):
    """The signature headers of a request.

    Attributes:
        prefix: what is signed before the body.
        signatures: the raw signatures.
        seconds: when it was signed, since 1970; None where the scheme has no time.
    """

    prefix: bytes
    signatures: list[bytes]
    seconds: int | None


class _BodySource(CredentialSource, Protocol):
    """A request whose body has been read."""

    body: bytes


class SignatureAuth:
    """Authenticate the sender of a webhook by the signature of the body. Made by `verify_signature`.

    Attributes:
        needs_body: True: the credential is checked when the body has arrived.
        wanted: the header that has the signature, for the message to a sender without one.

    Threads: any.
    """

    challenge = 'Signature realm="webhook"'
    needs_body = True

    def __init__(
        self,
        secrets: Iterable[bytes],
        read: Callable[[Mapping[str, str]], _Signed | None],
        identity: Identity,
        *,
        header: str,
        tolerance: float | None,
        clock: Callable[[], float],
    ) -> None:
        self.wanted = f"the header {header}"
        self._secrets = tuple(secrets)
        self._read = read
        self._identity = identity
        self._tolerance = tolerance
        self._clock = clock

    def __repr__(self) -> str:
        return f"<SignatureAuth of {self._identity.name}>"

    def authenticate(self, request: CredentialSource) -> Identity | None:
        """Return the identity of the sender; None for a request without a signature.

        Raises: AuthenticationError for a wrong signature, and for a timestamp too far in the past or the future.
        """
        signed = self._read(request.headers)
        if signed is None:
            return None
        body: bytes = request.body  # type: ignore[attr-defined]
        # Before the time is looked at: only a request with a valid signature learns that it is too old.
        if not self._is_valid(signed, body):
            raise AuthenticationError("the signature is not valid")
        if signed.seconds is not None and self._tolerance is not None:
            age = self._clock() - signed.seconds
            if not -self._tolerance <= age <= self._tolerance:
                raise AuthenticationError("the signature is too old or from the future; check the clocks", guess=False)
        return self._identity

    def _is_valid(self, signed: _Signed, body: bytes) -> bool:
        valid = False
        for secret in self._secrets:
            digest = hmac.new(secret, signed.prefix, "sha256")
            digest.update(body)
            expected = digest.digest()
            for given in signed.signatures:  # all of them, so that the time does not tell which one is right
                valid |= hmac.compare_digest(expected, given)
        return valid


def verify_signature(
    secret: str | bytes | Iterable[str | bytes],
    scheme: SignatureScheme,
    *,
    tolerance: float | None = 300.0,
    identity: Identity | str | None = None,
    clock: Callable[[], float] = time,
) -> SignatureAuth:
    """Return an authenticator of webhooks, for `auth=` of a portal.

    Args:
        secret: the secret that is shared with the sender, or several while it is changed. One of "standard" may have
            the prefix "whsec_", and is base64 then.
        scheme: "github", "stripe" or "standard" (Standard Webhooks).
        tolerance: seconds that the clock of the sender may differ and that a delivery may take; None for any. A scheme
            without a time ("github") has no such limit: an old request can be sent again.
        identity: of the sender; by default its name is the scheme.
        clock: seconds since 1970.

    Raises: ConfigError for a wrong setting.

    Threads: any.
    """
    known = isinstance(scheme, str) and scheme in _READERS
    # The value is not shown: who swaps the arguments has the secret here.
    require(known, "signature.scheme", scheme, "'github', 'stripe' or 'standard', after the secret", secret=True)
    positive_seconds("signature.tolerance", tolerance, optional=True)
    given = list(secret) if isinstance(secret, Iterable) and not isinstance(secret, str | bytes) else [secret]
    secrets = [_key(one, scheme) for one in given]
    require(secrets, "signature.secret", secret, "at least one secret", secret=True)
    instance("signature.identity", identity, (Identity, str), optional=True)
    sender = identity if isinstance(identity, Identity) else Identity(identity or scheme)
    header, read = _READERS[scheme]
    return SignatureAuth(secrets, read, sender, header=header, tolerance=tolerance, clock=clock)


def _key(secret: str | bytes, scheme: SignatureScheme) -> bytes:
    expected = f"a secret of at least {_MIN_SECRET} bytes"
    require(isinstance(secret, str | bytes), "signature.secret", secret, expected, secret=secret is not None)
    text = secret.encode() if isinstance(secret, str) else secret
    if scheme == "standard" and text.startswith(b"whsec_"):
        try:
            text = base64.b64decode(text.removeprefix(b"whsec_"), validate=True)
        except binascii.Error as error:
            message = 'base64 after the prefix "whsec_"'
            raise ConfigError.invalid("signature.secret", secret, message, secret=True) from error
    require(len(text) >= _MIN_SECRET, "signature.secret", secret, expected, secret=True)
    return text


def _read_github(headers: Mapping[str, str]) -> _Signed | None:
    value = headers.get("x-hub-signature-256")
    if value is None:
        return None
    algorithm, _, digits = value.partition("=")
    return _Signed(b"", [_from_hex(digits)] if algorithm == "sha256" else [], None)


def _read_stripe(headers: Mapping[str, str]) -> _Signed | None:
    value = headers.get("stripe-signature")
    if value is None:
        return None
    rows = [part.strip().partition("=") for part in value[:_MAX_HEADER].split(",")]
    times = [text for name, _, text in rows if name == "t"]
    signatures = [_from_hex(text) for name, _, text in rows if name == "v1"]
    seconds = _seconds(times[0] if len(times) == 1 else "", "the time t= of the header Stripe-Signature")
    return _Signed(f"{seconds}.".encode(), signatures[:_MAX_SIGNATURES], seconds)


def _read_standard(headers: Mapping[str, str]) -> _Signed | None:
    value = headers.get("webhook-signature")
    if value is None:
        return None
    identifier = headers.get("webhook-id", "")
    seconds = _seconds(headers.get("webhook-timestamp", ""), "the header webhook-timestamp")
    if not identifier:
        raise AuthenticationError("a signed request must have the header webhook-id")
    if identifier.rpartition(".")[2].isdecimal() and "." in identifier:
        # "id.1.2." may also be the id "id", the time 1 and a body that begins with "2.": an old message with a new time
        raise AuthenticationError("a webhook-id must not end in a full stop and digits")
    rows = [part.partition(",") for part in value[:_MAX_HEADER].split(" ")]
    signatures = [_from_base64(text) for version, _, text in rows if version == "v1"]
    prefix = f"{identifier}.{seconds}.".encode("latin-1", "replace")
    return _Signed(prefix, signatures[:_MAX_SIGNATURES], seconds)


#: Scheme -> the header of the signature, and what reads it.
_READERS: dict[str, tuple[str, Callable[[Mapping[str, str]], _Signed | None]]] = {
    "github": ("X-Hub-Signature-256", _read_github),
    "stripe": ("Stripe-Signature", _read_stripe),
    "standard": ("webhook-signature", _read_standard),
}


def _seconds(text: str, place: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 12 and str(int(text)) == text):
        raise AuthenticationError(f"{place} must be a whole number of seconds since 1970")
    return int(text)


def _from_hex(text: str) -> bytes:
    try:
        return binascii.unhexlify(text) if len(text) <= 128 else b""
    except ValueError:  # also for text that is not ASCII
        return b""


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True) if len(text) <= 128 else b""
    except ValueError:
        return b""
