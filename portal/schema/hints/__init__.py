"""Type hints: the codec of a hint, with its JSON Schema."""

from __future__ import annotations

from .mapper import HintMapper, map_hint

__all__ = ["HintMapper", "map_hint"]
