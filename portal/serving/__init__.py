"""One listener on stdlib http.server, many apps: connections, workers, TLS, limits."""

from .config import ServingConfig
from .connections.connection import Connection
from .io.tls import Certificate, TLSConfig
from .listener import Listener
from .messages.app import App
from .messages.request import EarlyResponder, Request, Response
from .messages.upgraded import Upgraded

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
