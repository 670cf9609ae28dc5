"""Consumer: calls anything by address."""

from .consumer import Consumer

__all__ = ["Consumer"]
