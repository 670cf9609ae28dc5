"""TLSConfig: the certificates of a listener, the rules for client certificates, and the SSLContext made of them.

Sources: RFC 8446 (TLS 1.3), RFC 6066 section 3 (server name), RFC 7301 (ALPN).
"""

from __future__ import annotations

import hashlib
import os
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..._internal.settings import choice, file_path, instance, require, text
from ...context import Identity
from ...errors import ConfigError
from .key_pair import load_key_pair

__all__ = ["Certificate", "ServerTLS", "TLSConfig", "identity_of"]

_VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
_CLIENTS = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
_NAMES = ("commonName", "DNS", "email", "URI", "IP Address")


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate chain and its private key, as PEM files.

    Attributes:
        chain: the certificate, followed by the certificates that signed it.
        key: the private key; None if it is in the file of the chain.
        password: of an encrypted key. `repr` does not show it.

    The files are read when a listener starts, and again by `reload_certificates`.

    Threads: immutable.
    """

    chain: str | os.PathLike[str]
    key: str | os.PathLike[str] | None = None
    password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        file_path("tls.chain", self.chain)
        file_path("tls.key", self.key, optional=True)
        text("tls.password", self.password, optional=True, secret=True)


@dataclass(frozen=True, slots=True)
class TLSConfig:
    """TLS of a listener.

    Attributes:
        certificate: for clients that send no host name, or one that is not in `hosts`.
        hosts: certificates by the host name that the client sends. "*.example.org" stands for one label.
        client_ca: PEM file of the authorities that sign client certificates.
        clients: whether clients need a certificate: "none", "optional" or "required".
        minimum_version: "TLSv1.2" or "TLSv1.3".
        ciphers: OpenSSL's list of cipher suites for TLS 1.2; None for its default. The suites of TLS 1.3 are fixed.

    Raises: ConfigError for a wrong setting. Files that cannot be used are reported when the listener starts.

    Threads: immutable.
    """

    certificate: Certificate
    hosts: Mapping[str, Certificate] = field(default_factory=dict)
    client_ca: str | os.PathLike[str] | None = None
    clients: Literal["none", "optional", "required"] = "none"
    minimum_version: Literal["TLSv1.2", "TLSv1.3"] = "TLSv1.2"
    ciphers: str | None = None

    def __post_init__(self) -> None:
        choice("tls.clients", self.clients, _CLIENTS)
        choice("tls.minimum_version", self.minimum_version, _VERSIONS)
        instance("tls.certificate", self.certificate, Certificate)
        for name, certificate in self.hosts.items():
            instance(f"tls.hosts.{name}", certificate, Certificate)
        file_path("tls.client_ca", self.client_ca, optional=True)
        text("tls.ciphers", self.ciphers, optional=True)
        needs_ca = self.clients != "none" and self.client_ca is None
        require(not needs_ca, "tls.client_ca", None, "a PEM file when clients is not 'none'")


class ServerTLS:
    """The SSL contexts of a TLSConfig. Their files can be read again while connections are served.

    Raises: ConfigError for a file that cannot be read or is not valid, and for unknown ciphers.

    Threads: any.
    """

    def __init__(self, config: TLSConfig) -> None:
        self.config = config
        self.context = _server_context(config)  # for new connections

    def reload(self) -> None:
        """Read the files again for new connections.

        Raises: ConfigError. The previous certificates stay in use then.
        """
        self.context = _server_context(self.config)


def _server_context(config: TLSConfig) -> ssl.SSLContext:
    hosts = {name.lower(): _context(config, f"hosts.{name}", one) for name, one in config.hosts.items()}
    default = _context(config, "certificate", config.certificate)

    def choose(sock: ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
        found = _host_context(hosts, name)
        if found is not None:
            sock.context = found

    if hosts:
        default.sni_callback = choose  # type: ignore[assignment]
    return default


def _host_context(hosts: Mapping[str, ssl.SSLContext], name: str | None) -> ssl.SSLContext | None:
    if not name:
        return None
    lower = name.lower().rstrip(".")
    return hosts.get(lower) or hosts.get("*." + lower.partition(".")[2])


def _context(config: TLSConfig, path: str, certificate: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[config.minimum_version]
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    if config.ciphers is not None:
        try:
            context.set_ciphers(config.ciphers)
        except ssl.SSLError:
            expected = "a list of ciphers that OpenSSL knows, such as ECDHE+AESGCM"
            raise ConfigError.invalid("tls.ciphers", config.ciphers, expected) from None
    load_key_pair(context, f"tls.{path}", certificate.chain, certificate.key, certificate.password)
    if config.client_ca is not None:
        try:
            context.load_verify_locations(config.client_ca)
        except OSError as error:
            expected = f"a PEM file of certificate authorities ({error})"
            raise ConfigError.invalid("tls.client_ca", os.fspath(config.client_ca), expected) from error
    context.verify_mode = _CLIENTS[config.clients]
    return context


def identity_of(sock: ssl.SSLSocket) -> Identity | None:
    """Return the identity of the client by its certificate, which the handshake has verified; None without one.

    The name is the subject's common name, or else the first of its alternative names.
    """
    certificate = sock.getpeercert()
    raw = sock.getpeercert(binary_form=True)
    if not certificate or raw is None:
        return None
    subject = _subject(certificate)
    names: Iterable[tuple[str, str]] = certificate.get("subjectAltName", ())  # type: ignore[assignment]
    alternatives = [(str(kind), str(value)) for kind, value in names]
    candidates = {**dict(reversed(alternatives)), **subject}
    name = next((candidates[kind] for kind in _NAMES if candidates.get(kind)), None)
    if name is None:
        return None
    claims = {
        "subject": subject,
        "alternative_names": [f"{kind}:{value}" for kind, value in alternatives],
        "fingerprint": hashlib.sha256(raw).hexdigest(),
    }
    return Identity(name, claims=claims)


def _subject(certificate: Mapping[str, Any]) -> dict[str, str]:
    parts: tuple[tuple[tuple[str, str], ...], ...] = certificate.get("subject", ())
    return {key: value for part in parts for key, value in part}
