"""Functions over HTTP/1.1: `HTTPPortal`, what its client can be told, and middleware around its requests."""

from .client import HTTPClient
from .compression import Compression
from .cors import CORS
from .guess_limit import GuessLimit
from .middleware import HTTPMiddleware, When
from .pools import ClientTLS
from .portal import HTTPPortal
from .request_log import RequestLog
from .security_headers import SecurityHeaders

__all__ = [
    "CORS",
    "ClientTLS",
    "Compression",
    "GuessLimit",
    "HTTPClient",
    "HTTPMiddleware",
    "HTTPPortal",
    "RequestLog",
    "SecurityHeaders",
    "When",
]
