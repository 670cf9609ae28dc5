"""Complete addresses in a shell, from the listing of the server that is named so far."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import click
from click.shell_completion import CompletionItem

from .output import one_line

__all__ = ["AddressParameter"]

_TIMEOUT = 1.0  # seconds; a shell waits for it
_BASES = {"http": "/api", "https": "/api", "ws": "/ws", "wss": "/ws"}
_MAX_ITEMS = 200


class AddressParameter(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic in some releases
    """An address. A shell completes it with the functions that its server publishes."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the text as it is; the command checks it."""
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the addresses below a server that begin with what is typed; none if it does not respond."""
        parts = urlsplit(incomplete)
        if parts.scheme not in _BASES or not parts.netloc or "/" not in incomplete.partition("://")[2]:
            return []
        try:
            rows = _listing(f"{parts.scheme}://{parts.netloc}{_BASES[parts.scheme]}", ctx.params)
        except Exception:  # a shell must not show a traceback in the middle of a line
            return []
        return [item for row in rows if (item := _item(row)).value.startswith(incomplete)][:_MAX_ITEMS]


def _listing(base: str, options: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    from .connect import connected

    client = {name: options.get(name) for name in ("token", "tls_ca", "socket")}
    client["token"] = client["token"] or os.environ.get("PORTAL_TOKEN") or None
    with connected(base, _TIMEOUT, **client) as consumer:
        found: list[Mapping[str, Any]] = consumer.list_at(base)["functions"]
        return found


def _item(row: Mapping[str, Any]) -> CompletionItem:
    """Return the address of a function without its fingerprint, and the first line of its description."""
    address = one_line(row["address"]).rpartition("/")[0]
    return CompletionItem(address, help=one_line(str(row.get("description", "")).partition("\n")[0]))
