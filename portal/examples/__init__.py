"""Working examples: `portal serve portal.examples.orders:service` and `python -m portal.examples.demo`."""

from __future__ import annotations

__all__: list[str] = []
