"""Functions over HTTP/1.1: `HTTPPortal`, and what its client can be told."""

from .client import HTTPClient
from .pools import ClientTLS
from .portal import HTTPPortal

__all__ = ["ClientTLS", "HTTPClient", "HTTPPortal"]
