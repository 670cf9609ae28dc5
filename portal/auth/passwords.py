"""Password hashes: `scrypt:N:r:p$salt$hex` and `pbkdf2:sha256:rounds$salt$hex`, the formats of Werkzeug.

Sources: RFC 7914 (scrypt), RFC 8018 section 5.2 (PBKDF2).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets

from ..errors import ConfigError
from .secrets import matches

__all__ = ["Password", "hash_password"]

_SCRYPT = re.compile(r"scrypt:([0-9]{1,8}):([0-9]{1,4}):([0-9]{1,4})\$([^$]+)\$((?:[0-9a-f]{2}){32,64})")
_PBKDF2 = re.compile(r"pbkdf2:(sha256|sha512):([0-9]{1,8})\$([^$]+)\$((?:[0-9a-f]{2}){32,64})")
_MAX_MEMORY = 256 * 1024 * 1024
_COST = (32768, 8, 1)


def hash_password(password: str) -> str:
    """Return a salted scrypt hash of a password, for `BasicAuth`."""
    cost, block, lanes = _COST
    salt = secrets.token_urlsafe(12)
    digest = _scrypt(password.encode(), salt.encode(), cost, block, lanes, 64)
    return f"scrypt:{cost}:{block}:{lanes}${salt}${digest.hex()}"


class Password:
    """The password of a user, given as plain text or as a hash; it is never shown.

    To check a hash is slow on purpose. The password keeps a keyed digest of the last match, so that a client that sends
    it with every call pays once.

    Args:
        stored: the password or its hash.
        path: dotted path of the setting, for errors.

    Raises: ConfigError for a malformed hash.

    Threads: any.
    """

    __slots__ = ("_clear", "_hash", "_key", "_last", "_never")

    def __init__(self, stored: str, path: str = "password") -> None:
        self._key = os.urandom(32)
        self._last: bytes | None = None
        self._clear: str | None = None
        self._hash: re.Match[str] | None = None
        self._never = False  # a decoy: nothing matches it
        if not stored.startswith(("scrypt:", "pbkdf2:")):
            self._clear = stored
            return
        self._hash = _SCRYPT.fullmatch(stored) or _PBKDF2.fullmatch(stored)
        try:
            if self._hash is None:
                raise ValueError("malformed")
            self._compute(b"")
        except (ValueError, OverflowError, MemoryError) as error:
            expected = "a password, or a hash scrypt:N:r:p$salt$hex or pbkdf2:sha256:rounds$salt$hex"
            raise ConfigError.invalid(path, None, expected, secret=True, cause=error) from error

    def __repr__(self) -> str:
        return "Password(***)"

    @property
    def hashed(self) -> bool:
        """Whether the password was given as a hash."""
        return self._hash is not None

    def decoy(self) -> Password:
        """Return a password that takes as long to check and that nothing matches."""
        other = Password(secrets.token_hex(32))
        if self._hash is not None:
            other._clear, other._hash = None, self._hash
            other._never = True
        return other

    def matches(self, given: str) -> bool:
        """Return whether this is the password."""
        if self._clear is not None:
            return matches(self._clear, given)
        assert self._hash is not None
        digest = hmac.digest(self._key, given.encode(), "sha256")
        last = self._last
        if last is not None and hmac.compare_digest(last, digest):
            return True
        wanted = bytes.fromhex(self._hash[self._hash.re.groups])
        if not hmac.compare_digest(self._compute(given.encode()), wanted) or self._never:
            return False
        self._last = digest
        return True

    def _compute(self, given: bytes) -> bytes:
        assert self._hash is not None
        groups = self._hash.groups()
        salt, length = groups[-2].encode(), len(groups[-1]) // 2
        if self._hash.re is _SCRYPT:
            return _scrypt(given, salt, int(groups[0]), int(groups[1]), int(groups[2]), length)
        return hashlib.pbkdf2_hmac(groups[0], given, salt, int(groups[1]), length)


def _scrypt(given: bytes, salt: bytes, cost: int, block: int, lanes: int, length: int) -> bytes:
    return hashlib.scrypt(given, salt=salt, n=cost, r=block, p=lanes, maxmem=_MAX_MEMORY, dklen=length)
