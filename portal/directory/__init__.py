"""Which instances of a named function there are, and the directories that know it."""

from .base import Directory, Watch
from .instance import Instance

__all__ = ["Directory", "Instance", "Watch"]
