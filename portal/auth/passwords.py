"""Password hashes: `scrypt:N:r:p$salt$hex` and `pbkdf2:sha256:rounds$salt$hex`, the formats of Werkzeug.

Sources: RFC 7914 (scrypt), RFC 8018 section 5.2 (PBKDF2).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from .._internal.at_fork import new_lock, renew_after_fork
from .._internal.counter import Counter
from ..errors import ConfigError, OverloadedError
from .hashing import compute_apart
from .secrets import DIGEST_SIZE, digest_of

__all__ = ["HashingLimit", "Password", "PasswordTable", "hash_password"]

_SCRYPT = re.compile(r"scrypt:([0-9]{1,8}):([0-9]{1,4}):([0-9]{1,4})\$([^$]+)\$((?:[0-9a-f]{2}){32,64})")
_PBKDF2 = re.compile(r"pbkdf2:(sha256|sha512):([0-9]{1,8})\$([^$]+)\$((?:[0-9a-f]{2}){32,64})")
_MAX_MEMORY = 256 * 1024 * 1024
_COST = (32768, 8, 1)
_RETRY_AFTER = 1.0  # seconds; a check takes about a tenth of that


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

    Attributes:
        cost: algorithm and parameters of the hash, which determine the time of a check; None for plain text.

    Raises: ConfigError for a malformed hash.

    Threads: any.
    """

    __slots__ = ("_digest", "_hash", "_never", "cost")

    def __init__(self, stored: str, path: str = "password") -> None:
        self._digest = os.urandom(DIGEST_SIZE)  # of the last match, or of plain text; at first that of no password
        self._hash: re.Match[str] | None = None
        self._never = False  # a decoy: nothing matches it
        self.cost: tuple[str, ...] | None = None
        if not stored.startswith(("scrypt:", "pbkdf2:")):
            self._digest = digest_of(stored)
            return
        self._hash = _SCRYPT.fullmatch(stored) or _PBKDF2.fullmatch(stored)
        try:
            if self._hash is None:
                raise ValueError("malformed")
            self._compute(b"")
        except (ValueError, OverflowError, MemoryError) as error:
            expected = "a password, or a hash scrypt:N:r:p$salt$hex or pbkdf2:sha256:rounds$salt$hex"
            raise ConfigError.invalid(path, None, expected, secret=True, cause=error) from error
        *parameters, _, digest = self._hash.groups()
        self.cost = (stored[:6], *parameters, str(len(digest)))

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
            other._hash, other.cost = self._hash, self.cost
            other._never = True
        return other

    def is_known(self, digest: bytes) -> bool:
        """Return whether the digest of a password is that of the plain text, or of the last match of the hash."""
        return hmac.compare_digest(self._digest, digest)

    def matches(self, given: str) -> bool:
        """Return whether this is the password. It takes the time of the hash, also for the last match."""
        if self._hash is None:
            return self.is_known(digest_of(given))
        wanted = bytes.fromhex(self._hash[self._hash.re.groups])
        if not hmac.compare_digest(self._compute(given.encode()), wanted) or self._never:
            return False
        self._digest = digest_of(given)
        return True

    def _compute(self, given: bytes) -> bytes:
        assert self._hash is not None
        groups = self._hash.groups()
        salt, length = groups[-2].encode(), len(groups[-1]) // 2
        if self._hash.re is _SCRYPT:
            return _scrypt(given, salt, int(groups[0]), int(groups[1]), int(groups[2]), length)
        return hashlib.pbkdf2_hmac(groups[0], given, salt, int(groups[1]), length)


class PasswordTable:
    """Passwords by user name. A check takes the same work for each name, known or not, until a password matches.

    If any password is hashed, a check computes one hash for each cost that occurs, also for plain passwords. So the
    time reveals neither which names exist nor how their passwords are stored.

    Args:
        passwords: by user name.
        limit: bounds the checks that compute hashes.

    Threads: any.
    """

    __slots__ = ("_decoys", "_limit", "_passwords", "_unknown")

    def __init__(self, passwords: Mapping[str, Password], limit: HashingLimit) -> None:
        self._passwords = dict(passwords)
        self._limit = limit
        self._unknown = Password(secrets.token_hex(32))
        by_cost = {one.cost: one for one in self._passwords.values() if one.cost is not None}
        self._decoys = {cost: one.decoy() for cost, one in by_cost.items()}

    def __repr__(self) -> str:
        return f"PasswordTable({len(self._passwords)} users)"

    def matches(self, user: str, given: str, client: str) -> bool:
        """Return whether a user exists and has this password.

        Args:
            client: has a share of the checks.

        Raises: OverloadedError if as many checks are under way as the limit allows.
        """
        password = self._passwords.get(user)
        is_known = (password or self._unknown).is_known(digest_of(given))
        if is_known or not self._decoys:
            return is_known and password is not None
        with self._limit.running(client):
            return compute_apart(self._matches_hash, password, given)

    def _matches_hash(self, password: Password | None, given: str) -> bool:
        found = False
        for cost, decoy in self._decoys.items():
            one = password if password is not None and password.cost == cost else decoy
            found = one.matches(given) or found
        return found


class HashingLimit:
    """The number of checks that may compute password hashes, or wait for that; more are rejected at once.

    One client has at most half of them, so that it cannot keep others from logging in. Only as many hashes as there are
    processors but one are computed at the same time; see `compute_apart`.

    Args:
        limit: checks under way at the same time.

    Attributes:
        rejected: counts the checks that were rejected.

    Threads: any.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._share = max(1, limit // 2)
        self._lock = new_lock()  # guards the dict
        self._running: dict[str, int] = {}
        self.rejected = Counter()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Forget the checks of the parent's threads; called in a child process after a fork."""
        self._running = {}

    @contextmanager
    def running(self, client: str) -> Iterator[None]:
        """Count a check as long as the body runs. Raises: OverloadedError at the limit."""
        table = self._running
        with self._lock:
            own = table.get(client, 0)
            is_free = own < self._share and sum(table.values()) < self._limit
            if is_free:
                table[client] = own + 1
        if not is_free:
            self.rejected.add()
            raise OverloadedError("too many passwords are being checked; try again later", retry_after=_RETRY_AFTER)
        try:
            yield
        finally:
            with self._lock:
                table[client] -= 1
                if not table[client]:
                    del table[client]


def _scrypt(given: bytes, salt: bytes, cost: int, block: int, lanes: int, length: int) -> bytes:
    return hashlib.scrypt(given, salt=salt, n=cost, r=block, p=lanes, maxmem=_MAX_MEMORY, dklen=length)
