"""One listener on stdlib http.server, many apps: connections, workers, limits."""

from .config import ServingConfig
from .listener import Listener
from .request import App, Request, Response

__all__ = ["App", "Listener", "Request", "Response", "ServingConfig"]
