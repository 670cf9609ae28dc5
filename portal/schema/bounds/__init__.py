"""Bounds of the work that schemas and values of strangers cause: regular expressions, reports, references."""

from __future__ import annotations

from .limits import ValidationLimits, set_validation_limits, validation_stats

__all__ = ["ValidationLimits", "set_validation_limits", "validation_stats"]
