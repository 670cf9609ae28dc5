"""One listener on stdlib http.server, many apps: connections, workers, TLS, limits."""

from .config import ServingConfig
from .connection import Connection
from .listener import Listener
from .request import App, EarlyResponder, Request, Response, Upgraded
from .tls import Certificate, TLSConfig

__all__ = [
    "App",
    "Certificate",
    "Connection",
    "EarlyResponder",
    "Listener",
    "Request",
    "Response",
    "ServingConfig",
    "TLSConfig",
    "Upgraded",
]
