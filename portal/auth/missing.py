"""The message to a client whose request has no credential that counts: none at all, or one that was ignored.

The client's own values appear in it only if they are not secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

from .authenticators import CredentialSource

__all__ = ["ReportsIgnored", "missing_credential"]

_REQUIRED = "a credential is required"
_AUTHORIZATION = "Authorization: "
#: The schemes that a message may repeat. A header without a scheme begins with the secret itself.
_KNOWN_SCHEMES = re.compile(r"[ \t]*(Basic|Bearer|Digest|Negotiate|DPoP|Token|ApiKey)[ \t]", re.IGNORECASE)


@runtime_checkable
class ReportsIgnored(Protocol):
    """An authenticator that may ignore a credential of its kind."""

    def ignored(self, request: CredentialSource) -> str | None:
        """Return what was ignored and why, without secrets, or None. Called after `authenticate` returned None."""


def missing_credential(authenticators: Iterable[Any], request: CredentialSource) -> str:
    """Return the message for a request without a credential that counts. It names headers that only this server knows.

    Args:
        authenticators: all of the portal; each has returned None for the request.
        request: the request.
    """
    asked = tuple(authenticators)
    reasons = [reason for one in asked if isinstance(one, ReportsIgnored) and (reason := one.ignored(request))]
    if (unread := _unread_scheme(asked, request)) is not None:
        reasons.append(unread)
    if reasons:
        return f"{_REQUIRED}; {'; '.join(reasons)}"
    wanted = [words for one in asked if isinstance(words := getattr(one, "wanted", None), str)]
    place = f" in {' or '.join(wanted)}" if wanted and len(wanted) == len(asked) else ""
    return f"{_REQUIRED} and none was sent{place}"


def _unread_scheme(asked: tuple[Any, ...], request: CredentialSource) -> str | None:
    """Return why the Authorization header was ignored, if authenticators read it with other schemes."""
    header = request.headers.get("authorization")
    found = [getattr(one, "finds", None) for one in asked]
    schemes = [one.removeprefix(_AUTHORIZATION) for one in found if isinstance(one, str) and _AUTHORIZATION in one]
    if not header or not schemes:
        return None
    known = _KNOWN_SCHEMES.match(header)
    sent = f"has the scheme {known[1]}" if known else "has another scheme or none"
    return f"the Authorization header was ignored, because it {sent}; send Authorization: {' or '.join(schemes)}"
