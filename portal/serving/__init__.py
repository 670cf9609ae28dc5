"""One listener on stdlib http.server, many apps: connections, workers, TLS, limits."""

from .config import ServingConfig
from .connections.channel import Channel
from .io.tls import Certificate, TLSConfig
from .listener import Listener
from .loaded_objects import freeze_loaded_objects
from .messages.app import App
from .messages.request import EarlyResponder, Request, Response
from .messages.upgraded import Run, Upgraded, Work
from .switch_interval import shorten_switch_interval

__all__ = [
    "App",
    "Certificate",
    "Channel",
    "EarlyResponder",
    "Listener",
    "Request",
    "Response",
    "Run",
    "ServingConfig",
    "TLSConfig",
    "Upgraded",
    "Work",
    "freeze_loaded_objects",
    "shorten_switch_interval",
]
