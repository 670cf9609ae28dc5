"""Authentication and authorization: authenticators for servers, credentials for clients, scopes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._internal.lazy import lazy_exports

if TYPE_CHECKING:
    from .authentication import ServerAuth
    from .authenticators import (
        ApiKeyAuth,
        Authenticator,
        AuthRequest,
        BasicAuth,
        BearerAuth,
        CertificateAuth,
        CredentialSource,
    )
    from .credentials import ApiKey, BasicCredential, BearerToken, ByAuthority, ClientAuth, Credential
    from .jwt.authenticator import JWTAuth
    from .oauth2 import OAuth2ClientCredentials
    from .passwords import hash_password
    from .request_view import needs_body
    from .scopes import RequireScopes
    from .sessions import DjangoSession, FlaskSession
    from .signatures import SignatureAuth, verify_signature

__all__ = [
    "ApiKey",
    "ApiKeyAuth",
    "AuthRequest",
    "Authenticator",
    "BasicAuth",
    "BasicCredential",
    "BearerAuth",
    "BearerToken",
    "ByAuthority",
    "CertificateAuth",
    "ClientAuth",
    "Credential",
    "CredentialSource",
    "DjangoSession",
    "FlaskSession",
    "JWTAuth",
    "OAuth2ClientCredentials",
    "RequireScopes",
    "ServerAuth",
    "SignatureAuth",
    "hash_password",
    "needs_body",
    "verify_signature",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "ApiKey": "credentials",
        "ApiKeyAuth": "authenticators",
        "AuthRequest": "authenticators",
        "Authenticator": "authenticators",
        "BasicAuth": "authenticators",
        "BasicCredential": "credentials",
        "BearerAuth": "authenticators",
        "BearerToken": "credentials",
        "ByAuthority": "credentials",
        "CertificateAuth": "authenticators",
        "ClientAuth": "credentials",
        "Credential": "credentials",
        "CredentialSource": "authenticators",
        "DjangoSession": "sessions",
        "FlaskSession": "sessions",
        "JWTAuth": "jwt.authenticator",
        "OAuth2ClientCredentials": "oauth2",
        "RequireScopes": "scopes",
        "ServerAuth": "authentication",
        "SignatureAuth": "signatures",
        "hash_password": "passwords",
        "needs_body": "request_view",
        "verify_signature": "signatures",
    },
)
