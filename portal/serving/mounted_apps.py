"""MountedApps: the apps of a listener by path prefix."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import ConfigError
from .messages.app import App, ProxyAware

__all__ = ["MountedApps"]


class MountedApps:
    """Finds the app that serves a path: the one with the longest matching prefix.

    Threads: any may look up; one at a time may add and remove.
    """

    def __init__(self) -> None:
        self._set(())

    def _set(self, rows: Iterable[tuple[str, App]]) -> None:
        """Set the apps, and what is made of them for quick look-ups."""
        self._rows = tuple(rows)  # prefix and app, the longest prefix first
        self._routes = tuple((prefix, f"{prefix.removesuffix('/')}/", app) for prefix, app in self._rows)
        # `isinstance` with a protocol is slow, and each new connection would pay for it once for each app.
        self._proxy_aware = tuple(app for _, app in self._rows if isinstance(app, ProxyAware))
        self._prompt = frozenset(path for _, app in self._rows for path in getattr(app, "prompt_paths", ()))

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, prefix: str, app: App, *, shared: bool) -> None:
        """Add an app; see `Listener.mount`. Raises: ConfigError if another app has the prefix."""
        if not self.has(prefix):
            self._set(sorted([*self._rows, (prefix, app)], key=lambda row: -len(row[0])))
        elif not shared:
            raise ConfigError.invalid("prefix", prefix, "a path prefix that no other app of this listener has")

    def remove(self, app: App) -> None:
        """Remove an app from all its prefixes."""
        self._set(row for row in self._rows if row[1] is not app)

    def has(self, prefix: str) -> bool:
        """Return whether an app has a prefix."""
        return any(known == prefix for known, _ in self._rows)

    def find(self, path: str) -> App | None:
        """Return the app that serves a path, or None."""
        for prefix, below, app in self._routes:
            if path.startswith(below) or path == prefix:
                return app
        return None

    def trusts(self, peer: str) -> bool:
        """Return whether an app trusts the address as that of a proxy."""
        return any(app.trusts(peer) for app in self._proxy_aware)

    def is_prompt(self, path: str) -> bool:
        """Return whether the thread that reads a request for a path also serves it; see `PromptApp`."""
        return path in self._prompt

    def prefixes(self) -> list[str]:
        """Return the prefixes, without those below another one."""
        prefixes = [prefix for prefix, _ in self._rows]
        return [one for one in prefixes if not any(one.startswith(f"{other}/") for other in prefixes)]
