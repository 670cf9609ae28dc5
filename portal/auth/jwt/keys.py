"""Verification keys and the algorithms that each may be used for.

A key has its algorithms before a token is read. So a token cannot have a public key used as a shared secret.

Sources: RFC 7518 section 3.1, RFC 8037.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..._internal.json_text import JSONValue
from ..._internal.settings import require
from ...errors import ConfigError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey | Ed448PublicKey
else:
    PublicKey = object  # cryptography is optional

__all__ = ["PublicKey", "VerifyingKey", "is_symmetric", "is_usable", "key_of_jwk", "require_algorithms", "require_key"]

_HMAC = {"HS256": 32, "HS384": 48, "HS512": 64}  # bytes of a secret at least (RFC 7518 section 3.2)
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}
_ALGORITHMS = (*_HMAC, *sorted(_RSA), *_CURVES, "EdDSA")
_MIN_RSA_BITS = 2048  # RFC 7518 section 3.3
_PUBLIC = {"RSA": ("kty", "n", "e"), "EC": ("kty", "crv", "x", "y"), "OKP": ("kty", "crv", "x")}
_INSTALL = "pip install 'portal-functions[jwt]'"
_LOOKS_PUBLIC = (b"---- BEGIN", b"ssh-", b"ecdsa-", b'{"')


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A key of a key set.

    Attributes:
        kid: id, or None.
        alg: the only algorithm that it may be used for, or None.
        key: a public key of `cryptography`.
    """

    kid: str | None
    alg: str | None
    key: PublicKey


def is_symmetric(algorithm: str) -> bool:
    """Return whether the key that verifies a token also signs tokens."""
    return algorithm in _HMAC


def require_algorithms(algorithms: Iterable[str]) -> frozenset[str]:
    """Require names of algorithms and return them as a set. Raises: ConfigError."""
    several = isinstance(algorithms, Iterable) and not isinstance(algorithms, str | bytes | Mapping)
    given = list(algorithms) if several else []
    ok = given and all(isinstance(one, str) and one in _ALGORITHMS for one in given)
    require(ok, "jwt.algorithms", algorithms, f"a list of algorithms from {', '.join(_ALGORITHMS)}")
    return frozenset(given)


def require_cryptography() -> None:
    """Raise ConfigError if public keys cannot be used, so that the portal does not reject every token later."""
    try:
        import cryptography  # noqa: F401 - whether it is installed
    except ImportError as error:
        expected = f"HS algorithms unless `cryptography` is installed ({_INSTALL})"
        raise ConfigError.invalid("jwt.algorithms", None, expected, secret=True, cause=error) from error


def require_key(key: str | bytes | PublicKey | None, algorithms: frozenset[str]) -> bytes | PublicKey:
    """Return the key for PyJWT: a secret as bytes, or a public key of `cryptography`.

    Raises: ConfigError, without the key, if it is not valid for all algorithms.
    """
    secrets = [algorithm for algorithm in algorithms if is_symmetric(algorithm)]
    one_kind = not secrets or len(secrets) == len(algorithms)
    _require(one_kind, "for algorithms of one kind: shared secret (HS) or public key (RS, PS, ES, EdDSA)")
    if secrets:
        return _require_secret(key, max(secrets, key=_HMAC.__getitem__))
    public: PublicKey = _public_key(key)
    for algorithm in sorted(algorithms):
        words = (
            f"a public key for {algorithm}: RSA of at least {_MIN_RSA_BITS} bits, the curve of ES, or Ed25519 or Ed448"
        )
        _require(is_usable(public, algorithm), words)
    return public


def _require_secret(key: object, algorithm: str) -> bytes:
    _require(isinstance(key, str | bytes), f"a secret, str or bytes, for {algorithm}")
    assert isinstance(key, str | bytes)
    secret = key.encode() if isinstance(key, str) else key
    public = secret.lstrip().startswith(_LOOKS_PUBLIC) or b"-----BEGIN" in secret or _is_der(secret)
    _require(not public, f"a secret for {algorithm}, not a public key, which others may know")
    _require(len(secret) >= _HMAC[algorithm], f"a secret of at least {_HMAC[algorithm]} bytes for {algorithm}")
    return secret


def _is_der(secret: bytes) -> bool:
    """Return whether it is a public key or a certificate in DER."""
    try:
        from cryptography.hazmat.primitives.serialization import load_der_public_key
        from cryptography.x509 import load_der_x509_certificate
    except ImportError:
        return False
    for load in (load_der_public_key, load_der_x509_certificate):
        try:
            load(secret)
        except Exception:  # random bytes may cause any exception
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
        expected = f"the secret of an HS algorithm unless `cryptography` is installed ({_INSTALL})"
        raise ConfigError.invalid("jwt.key", None, expected, secret=True, cause=error) from error
    try:
        if b"-----BEGIN CERTIFICATE" in data:
            return x509.load_pem_x509_certificate(data).public_key()
        if data.startswith((b"ssh-", b"ecdsa-")):
            return serialization.load_ssh_public_key(data)
        return serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        expected = "a public key or a certificate in PEM, or an OpenSSH public key"
        raise ConfigError.invalid("jwt.key", None, expected, secret=True) from None


def is_usable(key: object, algorithm: str) -> bool:
    """Return whether a public key may be used for an algorithm."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    if algorithm in _RSA:
        return isinstance(key, RSAPublicKey) and key.key_size >= _MIN_RSA_BITS
    if algorithm in _CURVES:
        return isinstance(key, EllipticCurvePublicKey) and key.curve.name == _CURVES[algorithm]
    return algorithm == "EdDSA" and isinstance(key, Ed25519PublicKey | Ed448PublicKey)


def key_of_jwk(row: JSONValue) -> VerifyingKey | None:
    """Return the public key in a member of a key set (RFC 7517 section 4); None for one that cannot verify tokens."""
    from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

    kty = row.get("kty") if isinstance(row, dict) else None
    if not isinstance(row, dict) or not isinstance(kty, str) or kty not in _PUBLIC or row.get("use", "sig") != "sig":
        return None
    kid, alg, operations = row.get("kid"), row.get("alg"), row.get("key_ops", ["verify"])
    if not isinstance(kid, str | None) or not isinstance(alg, str | None):
        return None
    if not isinstance(operations, list | str) or "verify" not in operations:
        return None
    readers: dict[str, Any] = {"RSA": RSAAlgorithm, "EC": ECAlgorithm, "OKP": OKPAlgorithm}
    # The private part of a key is ignored if it was published.
    public = {name: row[name] for name in _PUBLIC[kty]}
    return VerifyingKey(kid, alg, readers[kty].from_jwk(public))


def _require(ok: object, expected: str) -> None:
    require(ok, "jwt.key", None, expected, secret=True)
