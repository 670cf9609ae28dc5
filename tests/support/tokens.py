"""JSON Web Tokens, keys, and an issuer that serves its key set."""

from __future__ import annotations

import base64
import datetime
import hmac
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from portal.auth.authentication import authenticate, authenticators_of
from portal.auth.jwt.authenticator import JWTAuth
from portal.errors import AuthenticationError
from tests.support.clocks import Clock

WAIT = 10.0
SECRET = "0123456789abcdef" * 4
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
RSA_OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
RSA_WEAK = rsa.generate_private_key(public_exponent=65537, key_size=1024)
EC256 = ec.generate_private_key(ec.SECP256R1())
EC384 = ec.generate_private_key(ec.SECP384R1())
EC521 = ec.generate_private_key(ec.SECP521R1())
ED = ed25519.Ed25519PrivateKey.generate()
ED4 = ed448.Ed448PrivateKey.generate()
PEM = serialization.Encoding.PEM
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo


def authorized(value: str) -> Any:
    return SimpleNamespace(headers={"authorization": value}, query="", peer="192.0.2.1", tls_identity=None)


def pem(key: Any) -> bytes:
    data: bytes = key.public_key().public_bytes(PEM, SPKI)
    return data


def ssh(key: Any) -> bytes:
    data: bytes = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return data


def private_pem(key: Any) -> bytes:
    no_password = serialization.NoEncryption()
    data: bytes = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, no_password)
    return data


def certificate(key: Any) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
    return made.sign(key, hashes.SHA256()).public_bytes(PEM)


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    made = {"sub": "ann", "exp": now + 86_400, "iat": now - 5, "aud": "orders", "iss": "https://id.example"} | changes
    return {name: value for name, value in made.items() if value is not ...}


def token(key: Any = RSA_KEY, algorithm: str = "RS256", header: dict[str, Any] | None = None, **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm, headers=header)


def b64(data: bytes | str | dict[str, Any]) -> str:
    if isinstance(data, dict):
        data = json.dumps(data)
    return base64.urlsafe_b64encode(data.encode() if isinstance(data, str) else data).rstrip(b"=").decode()


def raw(header: Any, payload: Any, key: bytes | None = None) -> str:
    """A token of any content: signed by RS256, by HS256 where a secret is given."""
    signed = f"{b64(header)}.{b64(payload)}".encode()
    if key is not None:
        return f"{signed.decode()}.{b64(hmac.digest(key, signed, 'sha256'))}"
    return f"{signed.decode()}.{b64(RSAAlgorithm(RSAAlgorithm.SHA256).sign(signed, RSA_KEY))}"


def auth(**changes: Any) -> JWTAuth:
    settings: dict[str, Any] = {
        "key": pem(RSA_KEY),
        "algorithms": ["RS256"],
        "audience": "orders",
        "issuer": "https://id.example",
    }
    return JWTAuth(**(settings | changes))


def refused(checked: JWTAuth, text: str) -> AuthenticationError:
    with pytest.raises(AuthenticationError) as refusal:
        authenticate(authenticators_of(checked), authorized(f"Bearer {text}"))
    return refusal.value


CLAIMS = claims()


# key sets


def jwk(key: Any, kid: str | None = None, **more: Any) -> dict[str, Any]:
    public = key.public_key()
    if isinstance(key, rsa.RSAPrivateKey):
        made = json.loads(RSAAlgorithm.to_jwk(public))
    else:
        made = json.loads((ECAlgorithm if isinstance(key, ec.EllipticCurvePrivateKey) else OKPAlgorithm).to_jwk(public))
    made.pop("key_ops", None)
    return made | ({} if kid is None else {"kid": kid}) | more


class Issuer:
    """A real endpoint that publishes keys, or fails in one of the ways that endpoints do."""

    def __init__(self) -> None:
        self.fetched = 0
        self.answer: Callable[[BaseHTTPRequestHandler], None] = lambda handler: None
        self.gate = threading.Event()
        self.asked = threading.Event()
        self.gate.set()
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.fetched += 1
                issuer.asked.set()
                issuer.gate.wait(WAIT)
                issuer.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients leave early here
        self.url = f"http://127.0.0.1:{self.server.server_port}/keys"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def publish(self, *rows: Any) -> None:
        self.say(json.dumps({"keys": rows}).encode())

    def say(self, body: bytes, status: int = 200, length: int | None = None, **headers: str) -> None:
        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            handler.send_header("Content-Length", str(len(body) if length is None else length))
            for name, value in headers.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(body)

        self.answer = answer

    def close(self) -> None:
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(WAIT)


def by_issuer(issuer: Issuer, clock: Clock, **changes: Any) -> JWTAuth:
    settings: dict[str, Any] = {"algorithms": ["RS256", "PS256", "ES256", "EdDSA"], "key": None}
    return auth(**(settings | {"jwks_url": issuer.url, "clock": clock} | changes))


def signed(kid: str | None, key: Any = RSA_KEY, algorithm: str = "RS256") -> str:
    return token(key, algorithm, None if kid is None else {"kid": kid})


def together(count: int, work: Callable[[int], Any]) -> list[Any]:
    results: list[Any] = [None] * count

    def run(number: int) -> None:
        try:
            results[number] = work(number)
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    return results
