"""Which keys tokens may be checked with, and which algorithm a key may be used for (RFC 7518 section 3.1, RFC 8037).

A key is tied to its algorithms before any token is seen: a token cannot choose to have a public key taken for a shared
secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import ConfigError

__all__ = ["VerifyingKey", "fits", "is_symmetric", "key_of_jwk", "require_algorithms", "require_key"]

_HMAC = {"HS256": 32, "HS384": 48, "HS512": 64}  # bytes a secret must have (RFC 7518 section 3.2)
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}
_ALGORITHMS = (*_HMAC, *sorted(_RSA), *_CURVES, "EdDSA")
_MIN_RSA_BITS = 2048  # RFC 7518 section 3.3
_PUBLIC = {"RSA": ("kty", "n", "e"), "EC": ("kty", "crv", "x", "y"), "OKP": ("kty", "crv", "x")}
_LOOKS_PUBLIC = (b"---- BEGIN", b"ssh-", b"ecdsa-", b'{"')


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A key of a key set.

    Attributes:
        kid: its id, or None.
        alg: the only algorithm it is for, or None.
        key: a public key of `cryptography`.
    """

    kid: str | None
    alg: str | None
    key: Any


def is_symmetric(algorithm: str) -> bool:
    """Whether who checks a token could also have made it."""
    return algorithm in _HMAC


def require_algorithms(algorithms: Any) -> frozenset[str]:
    """The algorithms that tokens may be signed with. Raises ConfigError."""
    if isinstance(algorithms, Iterable) and not isinstance(algorithms, str | bytes | Mapping):
        given = list(algorithms)
        if given and all(isinstance(one, str) and one in _ALGORITHMS for one in given):
            return frozenset(given)
    allowed = f"a list of some of {', '.join(_ALGORITHMS)}"
    raise ConfigError(f"jwt.algorithms is {algorithms!r}; expected: {allowed}", path="jwt.algorithms", expected=allowed)


def require_cryptography() -> None:
    """Raises ConfigError where public keys cannot be used: at once, and not as a refusal of every token."""
    try:
        import cryptography  # noqa: F401 - whether it is there
    except ImportError as error:
        allowed = "HS, or any once this was done: pip install 'portal-functions[jwt]'"
        raise ConfigError("jwt.algorithms need `cryptography`", path="jwt.algorithms", expected=allowed) from error


def require_key(key: Any, algorithms: frozenset[str]) -> Any:
    """The key as PyJWT takes it: a secret as bytes, or a public key of `cryptography`.

    Raises: ConfigError, which does not tell the key, for one that does not fit every algorithm.
    """
    secrets = [algorithm for algorithm in algorithms if is_symmetric(algorithm)]
    if secrets and len(secrets) < len(algorithms):
        raise _wrong("one kind of algorithms: those of a shared secret (HS) or those of a public key")
    if secrets:
        return _require_secret(key, max(secrets, key=_HMAC.__getitem__))
    public = _public_key(key)
    for algorithm in sorted(algorithms):
        if not fits(public, algorithm):
            raise _wrong(f"a public key for {algorithm}: RSA of {_MIN_RSA_BITS} bits or more, the curve of ES, or Ed")
    return public


def _require_secret(key: Any, algorithm: str) -> bytes:
    if not isinstance(key, str | bytes):
        raise _wrong(f"a secret, text or bytes, for {algorithm}")
    secret = key.encode() if isinstance(key, str) else key
    if secret.lstrip().startswith(_LOOKS_PUBLIC) or b"-----BEGIN" in secret or _is_der(secret):
        raise _wrong(f"a secret for {algorithm}, not a key of another kind, which others may know")
    if len(secret) < _HMAC[algorithm]:
        raise _wrong(f"a secret of {_HMAC[algorithm]} bytes or more for {algorithm}")
    return secret


def _is_der(secret: bytes) -> bool:
    """Whether it is a public key or a certificate in DER."""
    try:
        from cryptography.hazmat.primitives.serialization import load_der_public_key
        from cryptography.x509 import load_der_x509_certificate
    except ImportError:
        return False
    for load in (load_der_public_key, load_der_x509_certificate):
        try:
            load(secret)
        except Exception:  # bytes at random may fail in any way
            continue
        return True
    return False


def _public_key(key: Any) -> Any:
    if not isinstance(key, str | bytes):
        return key
    data = key.encode() if isinstance(key, str) else key
    try:
        from cryptography import x509
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
    except ImportError as error:
        raise _wrong("any, once `cryptography` is installed: pip install portal-functions[jwt]") from error
    try:
        if b"-----BEGIN CERTIFICATE" in data:
            return x509.load_pem_x509_certificate(data).public_key()
        if data.startswith((b"ssh-", b"ecdsa-")):
            return serialization.load_ssh_public_key(data)
        return serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise _wrong("a public key or a certificate in PEM, or an OpenSSH public key") from None


def fits(key: Any, algorithm: str) -> bool:
    """Whether a public key may be used for an algorithm."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    if algorithm in _RSA:
        return isinstance(key, RSAPublicKey) and key.key_size >= _MIN_RSA_BITS
    if algorithm in _CURVES:
        return isinstance(key, EllipticCurvePublicKey) and key.curve.name == _CURVES[algorithm]
    return algorithm == "EdDSA" and isinstance(key, Ed25519PublicKey | Ed448PublicKey)


def key_of_jwk(row: Any) -> VerifyingKey | None:
    """The public key in a member of a key set (RFC 7517 section 4); None for one that is of no use here."""
    from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

    if not isinstance(row, Mapping) or row.get("kty") not in _PUBLIC or row.get("use", "sig") != "sig":
        return None
    kid, alg, operations = row.get("kid"), row.get("alg"), row.get("key_ops", ["verify"])
    if not isinstance(kid, str | None) or not isinstance(alg, str | None) or "verify" not in operations:
        return None
    readers: dict[str, Any] = {"RSA": RSAAlgorithm, "EC": ECAlgorithm, "OKP": OKPAlgorithm}
    public = {name: row[name] for name in _PUBLIC[row["kty"]]}  # a private part that was published is not taken
    return VerifyingKey(kid, alg, readers[row["kty"]].from_jwk(public))


def _wrong(allowed: str) -> ConfigError:
    return ConfigError(f"jwt.key is not right; expected: {allowed}", path="jwt.key", expected=allowed)
