"""Examples that run: `portal serve portal.examples.orders:service`, `python -m portal.examples.demo`."""

from __future__ import annotations

__all__: list[str] = []
