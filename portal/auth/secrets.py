"""Secret text: compare it in constant time, look it up by digest, and validate it for headers."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Iterable
from typing import Generic, TypeVar

from .._internal.settings import require, text
from ..http11.fields import is_field_content, is_token

__all__ = [
    "DIGEST_SIZE",
    "KeyTable",
    "digest_of",
    "failure_origin",
    "matches",
    "require_header_name",
    "require_header_value",
    "require_realm",
]

ValueT = TypeVar("ValueT")

_QUOTABLE = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]+")
#: Fields of framing and routing; a credential must not replace them.
_FRAMING = frozenset({"connection", "content-length", "content-type", "expect", "host", "te", "trailer",
                      "transfer-encoding", "upgrade"})  # fmt: skip

DIGEST_SIZE = 64  # bytes

_process_key = os.urandom(32)


def digest_of(secret: str) -> bytes:
    """Return a keyed digest to keep and compare in place of the secret. Another process has another key.

    BLAKE2b cannot be extended, so a prefix keys it (RFC 7693). It is 3 us faster than SHA-256, which goes through
    OpenSSL.
    """
    return hashlib.blake2b(_process_key + secret.encode("utf-8", "surrogatepass")).digest()


def matches(secret: str, given: str) -> bool:
    """Return whether two texts are equal; the time reveals nothing but their lengths."""
    return hmac.compare_digest(digest_of(secret), digest_of(given))


class KeyTable(Generic[ValueT]):
    """Values by secret key. It keeps only digests of the keys.

    A look-up compares all keys, so that its time reveals nothing. It is slow with more than some thousand keys.

    Threads: any.
    """

    __slots__ = ("_rows",)

    def __init__(self, rows: Iterable[tuple[str, ValueT]]) -> None:
        self._rows = tuple((digest_of(key), value) for key, value in rows)

    def __repr__(self) -> str:
        return f"KeyTable({len(self._rows)} keys)"

    def find(self, given: str) -> ValueT | None:
        """Return the value of a key, or None."""
        digest = digest_of(given)
        found: ValueT | None = None
        for known, value in self._rows:
            if hmac.compare_digest(known, digest):
                found = value
        return found


def failure_origin(error: BaseException) -> str:
    """Return the class of an exception and where it was raised, without its message.

    The message may be a secret: that of a KeyError of a dict of tokens is the token.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name = type(error).__name__
    return name if trace is None else f"{name} in {trace.tb_frame.f_code.co_name}, line {trace.tb_lineno}"


def require_header_name(path: str, name: str) -> str:
    """Require the name of a header that may contain a credential (RFC 9110 section 5.1). Raises: ConfigError."""
    ok = isinstance(name, str) and is_token(name) and name.lower() not in _FRAMING
    require(ok, path, name, "the name of a header that may contain a credential")
    return name


def require_header_value(path: str, value: str) -> str:
    """Require a value that a header can contain (RFC 9110 section 5.5). Raises: ConfigError without the value."""
    ok = isinstance(value, str) and is_field_content(value)
    expected = "Latin-1 text without control characters, and without spaces at its ends"
    require(ok, path, value, expected, secret=True)
    return value


def require_realm(path: str, realm: str) -> str:
    """Require text that may be quoted in a challenge. Raises: ConfigError."""
    expected = "printable ASCII characters without quotation marks and backslashes"
    return text(path, realm, pattern=_QUOTABLE, expected=expected)
