"""What authentication and credentials share about secret text: comparing it, sending it, and not telling it."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

from ..errors import ConfigError
from ..http11.fields import is_field_content, is_token

__all__ = [
    "KeyTable",
    "digest_of",
    "failure_origin",
    "matches",
    "require_header_name",
    "require_header_value",
    "require_quotable",
]

ValueT = TypeVar("ValueT")

_QUOTABLE = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]+")
#: Fields that say how a message is read and where it goes; a credential is none of them.
_FRAMING = frozenset({"connection", "content-length", "content-type", "expect", "host", "te", "trailer",
                      "transfer-encoding", "upgrade"})  # fmt: skip


_of_this_process = os.urandom(32)


def digest_of(secret: str) -> bytes:
    """What may be kept, looked up and compared in the place of a secret; of use in this process only.

    BLAKE2b (RFC 7693, no way to extend it, so a prefix keys it) is a few instructions of Python's own. SHA-256 goes
    through OpenSSL, whose objects have left the caches between two requests: that costs 3 us more.
    """
    return hashlib.blake2b(_of_this_process + secret.encode("utf-8", "surrogatepass")).digest()


def matches(secret: str, given: str) -> bool:
    """Whether two texts are equal, in a time that tells nothing of either but their lengths."""
    return hmac.compare_digest(digest_of(secret), digest_of(given))


class KeyTable(Generic[ValueT]):
    """Values by secret key. Only digests of the keys are kept.

    A look-up compares with every key, without an early end; from some thousand keys on that is felt.

    Threads: any.
    """

    __slots__ = ("_rows",)

    def __init__(self, rows: Iterable[tuple[str, ValueT]]) -> None:
        self._rows = tuple((digest_of(key), value) for key, value in rows)

    def __repr__(self) -> str:
        return f"KeyTable({len(self._rows)} keys)"

    def find(self, given: str) -> ValueT | None:
        """The value of a key, or None."""
        digest = digest_of(given)
        found: ValueT | None = None
        for known, value in self._rows:
            if hmac.compare_digest(known, digest):
                found = value
        return found


def failure_origin(error: BaseException) -> str:
    """The class of an exception and the place that raised it, without its words.

    The words of a KeyError from a table of tokens are the token.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    name = type(error).__name__
    return name if trace is None else f"{name} in {trace.tb_frame.f_code.co_name}, line {trace.tb_lineno}"


def require_header_name(path: str, name: Any) -> str:
    """A header's name that may carry a credential (RFC 9110 section 5.1). Raises ConfigError."""
    if isinstance(name, str) and is_token(name) and name.lower() not in _FRAMING:
        return name
    allowed = "the name of a header that a credential may stand in"
    raise ConfigError(f"{path} is {str(name)[:80]!r}; expected: {allowed}", path=path, expected=allowed)


def require_header_value(path: str, value: Any) -> str:
    """A value that a header can carry (RFC 9110 section 5.5). Raises ConfigError, which does not tell the value."""
    if isinstance(value, str) and is_field_content(value):
        return value
    allowed = "Latin-1 text without line breaks or other control characters, and no space at its ends"
    raise ConfigError(f"{path} cannot stand in a header; expected: {allowed}", path=path, expected=allowed)


def require_quotable(path: str, text: Any) -> str:
    """Text that can stand between quotation marks in a challenge, such as a realm. Raises ConfigError."""
    if isinstance(text, str) and _QUOTABLE.fullmatch(text):
        return text
    allowed = "printable ASCII without quotation marks and backslashes"
    raise ConfigError(f"{path} is {str(text)[:80]!r}; expected: {allowed}", path=path, expected=allowed)
