"""Consumer: call functions by address."""

from .consumer import Consumer

__all__ = ["Consumer"]
