"""Arguments for pytest runs inside a test: they load the plug-in of Portal and no other."""

from __future__ import annotations

__all__ = ["PLUGIN_ARGUMENTS"]

PLUGIN_ARGUMENTS = ("--disable-plugin-autoload", "-p", "portal.pytest_plugin")
