"""Functions over HTTP/1.1: `HTTPPortal`, its client, and middleware around its requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._internal.lazy import lazy_exports

if TYPE_CHECKING:
    from ..network.tls import ClientTLS
    from .client.client import HTTPClient
    from .client.resolver import HTTPResolver
    from .hosted import host
    from .middleware.auth_failure_limit import AuthFailureLimit
    from .middleware.base import HTTPMiddleware
    from .middleware.compression import Compression
    from .middleware.cors import CORS
    from .middleware.request_log import RequestLog
    from .middleware.security_headers import SecurityHeaders
    from .portal import HTTPPortal
    from .server.mount import mount

__all__ = [
    "CORS",
    "AuthFailureLimit",
    "ClientTLS",
    "Compression",
    "HTTPClient",
    "HTTPMiddleware",
    "HTTPPortal",
    "HTTPResolver",
    "RequestLog",
    "SecurityHeaders",
    "host",
    "mount",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "AuthFailureLimit": "middleware.auth_failure_limit",
        "CORS": "middleware.cors",
        "ClientTLS": ".network.tls",
        "Compression": "middleware.compression",
        "HTTPClient": "client.client",
        "HTTPResolver": "client.resolver",
        "HTTPMiddleware": "middleware.base",
        "HTTPPortal": "portal",
        "RequestLog": "middleware.request_log",
        "SecurityHeaders": "middleware.security_headers",
        "host": "hosted",
        "mount": "server.mount",
    },
)
