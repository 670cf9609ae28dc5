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
    from ._internal.json_text import JSONValue
    from .address import Address, AddressBuilder
    from .auth.authenticators import ApiKeyAuth, BasicAuth, BearerAuth, CertificateAuth
    from .auth.credentials import ByAuthority
    from .auth.jwt.authenticator import JWTAuth
    from .auth.oauth2 import OAuth2ClientCredentials
    from .auth.scopes import RequireScopes
    from .cache.response_cache import ResponseCache
    from .calls.conditional import When
    from .calls.middleware import Middleware
    from .consumer import Balancing, ConsistentHash, Consumer, Outliers
    from .context import CallContext, Identity
    from .directory import Instance
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
    from .function import Function, ResolvedFunction, function
    from .http import HTTPPortal
    from .idempotency.middleware import Idempotency
    from .javascript import JavaScriptPortal, JSFunction
    from .limits.rate_limit import RateLimit
    from .local.portal import LocalPortal
    from .portal import Portal, Resolver
    from .registry import FunctionRegistry, PortalRegistry, ServiceRegistry
    from .resilience.adaptive_limit import AdaptiveLimit
    from .resilience.breaker import Breaker
    from .resilience.bulkhead import Bulkhead
    from .resilience.chaos import Chaos
    from .resilience.fallback import Fallback
    from .resilience.hedge import Hedge
    from .resilience.policy import Policy
    from .resilience.retry import Retry
    from .resilience.retry_budget import RetryBudget
    from .schema import FunctionSchema, Schema, register_type
    from .service import Service, service
    from .serving import Certificate, ServingConfig, TLSConfig
    from .testing import TestingPortal
    from .websocket import Event, Gap, Retain, Subscription, Topic, WebSocketPortal

__version__ = "0.1.0"

__all__ = [
    "AdaptiveLimit",
    "Address",
    "AddressBuilder",
    "AddressError",
    "ApiKeyAuth",
    "AuthenticationError",
    "AuthorizationError",
    "Balancing",
    "BasicAuth",
    "BearerAuth",
    "Breaker",
    "Bulkhead",
    "ByAuthority",
    "CallCancelled",
    "CallContext",
    "CallTimeout",
    "Certificate",
    "CertificateAuth",
    "Chaos",
    "CircuitOpenError",
    "ConfigError",
    "ConsistentHash",
    "Consumer",
    "ConsumerError",
    "Event",
    "Fallback",
    "Fault",
    "Function",
    "FunctionError",
    "FunctionRegistry",
    "FunctionSchema",
    "Gap",
    "HTTPPortal",
    "Hedge",
    "Idempotency",
    "Identity",
    "Instance",
    "JSFunction",
    "JSONValue",
    "JWTAuth",
    "JavaScriptError",
    "JavaScriptPortal",
    "LocalPortal",
    "Middleware",
    "OAuth2ClientCredentials",
    "Outliers",
    "OverloadedError",
    "Policy",
    "Portal",
    "PortalError",
    "PortalRegistry",
    "ProtocolError",
    "RateLimit",
    "RateLimitError",
    "RegistryError",
    "RequireScopes",
    "ResolvedFunction",
    "Resolver",
    "ResponseCache",
    "Retain",
    "Retry",
    "RetryBudget",
    "Schema",
    "SerializationError",
    "Service",
    "ServiceRegistry",
    "ServingConfig",
    "Subscription",
    "TLSConfig",
    "TestingPortal",
    "Topic",
    "TransportError",
    "ValidationError",
    "WebSocketPortal",
    "When",
    "__version__",
    "function",
    "register_type",
    "service",
]

_HOME = {
    "AdaptiveLimit": "resilience",
    "Address": "address",
    "AddressBuilder": "address",
    "ApiKeyAuth": "auth",
    "BasicAuth": "auth",
    "BearerAuth": "auth",
    "Balancing": "consumer",
    "Breaker": "resilience",
    "Bulkhead": "resilience",
    "Chaos": "resilience",
    "Fallback": "resilience",
    "Hedge": "resilience",
    "ByAuthority": "auth",
    "CallContext": "context",
    "Certificate": "serving",
    "CertificateAuth": "auth",
    "ConsistentHash": "consumer",
    "Consumer": "consumer",
    "Event": "websocket",
    "Fault": "errors",
    "Function": "function",
    "FunctionRegistry": "registry",
    "FunctionSchema": "schema",
    "Gap": "websocket",
    "HTTPPortal": "http",
    "Idempotency": "idempotency",
    "Identity": "context",
    "Instance": "directory",
    "JSFunction": "javascript",
    "JSONValue": "_internal.json_text",
    "JWTAuth": "auth",
    "JavaScriptPortal": "javascript",
    "LocalPortal": "local",
    "Middleware": "calls.middleware",
    "OAuth2ClientCredentials": "auth",
    "Outliers": "consumer",
    "Policy": "resilience",
    "Portal": "portal",
    "PortalRegistry": "registry",
    "RateLimit": "limits",
    "RequireScopes": "auth",
    "ResolvedFunction": "function",
    "Resolver": "portal",
    "ResponseCache": "cache",
    "Retain": "websocket",
    "Retry": "resilience",
    "RetryBudget": "resilience",
    "Schema": "schema",
    "Service": "service",
    "ServiceRegistry": "registry",
    "ServingConfig": "serving",
    "Subscription": "websocket",
    "TLSConfig": "serving",
    "TestingPortal": "testing",
    "Topic": "websocket",
    "WebSocketPortal": "websocket",
    "When": "calls.conditional",
    "function": "function",
    "register_type": "schema",
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
