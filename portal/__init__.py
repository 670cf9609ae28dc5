"""Portal: write a function once, publish it through any portal, call it by address.

This module is the list of public names. Each is loaded on first use: `import portal` loads no server, no client and no
schema library.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .address import Address, AddressBuilder
    from .calls.authenticators import ApiKeyAuth, BasicAuth, BearerAuth, CertificateAuth
    from .calls.breaker import Breaker
    from .calls.credentials import ByAuthority
    from .calls.idempotency import Idempotency
    from .calls.jwt_auth import JWTAuth
    from .calls.middleware import Middleware
    from .calls.oauth2 import OAuth2ClientCredentials
    from .calls.rate_limit import RateLimit
    from .calls.response_cache import ResponseCache
    from .calls.retry import Retry, RetryBudget
    from .calls.scopes import RequireScopes
    from .consumer import Consumer
    from .context import CallContext, Identity
    from .errors import (
        AddressError,
        AuthenticationError,
        AuthorizationError,
        CallCancelled,
        CallTimeout,
        CircuitOpenError,
        ConfigError,
        ConsumerError,
        Fault,
        FunctionError,
        JavaScriptError,
        OverloadedError,
        PortalError,
        ProtocolError,
        RateLimitError,
        RegistryError,
        SerializationError,
        TransportError,
        ValidationError,
    )
    from .function import Function, function
    from .http import HTTPPortal
    from .local import LocalPortal
    from .portal import Portal
    from .registry import FunctionRegistry, PortalRegistry, ServiceRegistry
    from .schema import FunctionSchema, Schema
    from .service import Service, service
    from .serving import Certificate, ServingConfig, TLSConfig
    from .testing import TestingPortal

__version__ = "0.1.0"

__all__ = [
    "Address",
    "AddressBuilder",
    "AddressError",
    "ApiKeyAuth",
    "AuthenticationError",
    "AuthorizationError",
    "BasicAuth",
    "BearerAuth",
    "Breaker",
    "ByAuthority",
    "CallCancelled",
    "CallContext",
    "CallTimeout",
    "Certificate",
    "CertificateAuth",
    "CircuitOpenError",
    "ConfigError",
    "Consumer",
    "ConsumerError",
    "Fault",
    "Function",
    "FunctionError",
    "FunctionRegistry",
    "FunctionSchema",
    "HTTPPortal",
    "Idempotency",
    "Identity",
    "JWTAuth",
    "JavaScriptError",
    "LocalPortal",
    "Middleware",
    "OAuth2ClientCredentials",
    "OverloadedError",
    "Portal",
    "PortalError",
    "PortalRegistry",
    "ProtocolError",
    "RateLimit",
    "RateLimitError",
    "RegistryError",
    "RequireScopes",
    "ResponseCache",
    "Retry",
    "RetryBudget",
    "Schema",
    "SerializationError",
    "Service",
    "ServiceRegistry",
    "ServingConfig",
    "TLSConfig",
    "TestingPortal",
    "TransportError",
    "ValidationError",
    "__version__",
    "function",
    "service",
]

_HOME = {
    "Address": "address",
    "AddressBuilder": "address",
    "ApiKeyAuth": "calls.authenticators",
    "BasicAuth": "calls.authenticators",
    "BearerAuth": "calls.authenticators",
    "Breaker": "calls.breaker",
    "ByAuthority": "calls.credentials",
    "CallContext": "context",
    "Certificate": "serving",
    "CertificateAuth": "calls.authenticators",
    "Consumer": "consumer",
    "Fault": "errors",
    "Function": "function",
    "FunctionRegistry": "registry",
    "FunctionSchema": "schema",
    "HTTPPortal": "http",
    "Idempotency": "calls.idempotency",
    "Identity": "context",
    "JWTAuth": "calls.jwt_auth",
    "LocalPortal": "local",
    "Middleware": "calls.middleware",
    "OAuth2ClientCredentials": "calls.oauth2",
    "Portal": "portal",
    "PortalRegistry": "registry",
    "RateLimit": "calls.rate_limit",
    "RequireScopes": "calls.scopes",
    "ResponseCache": "calls.response_cache",
    "Retry": "calls.retry",
    "RetryBudget": "calls.retry",
    "Schema": "schema",
    "Service": "service",
    "ServiceRegistry": "registry",
    "ServingConfig": "serving",
    "TLSConfig": "serving",
    "TestingPortal": "testing",
    "function": "function",
    "service": "service",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME.get(name, 'errors')}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """Keeps `portal.function` and `portal.service` the decorators.

    Python sets an attribute of a package to each submodule once that is imported, and two submodules bear the names of
    the decorators that they hold: without this, `from portal import function` would give one or the other, depending on
    what was imported before.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and name in _HOME:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
