"""Print the addresses of the published functions when the server is ready."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from shlex import quote
from typing import TYPE_CHECKING

from ..http11.host_patterns import is_loopback
from .output import echo, echo_json

if TYPE_CHECKING:
    from ..http import HTTPPortal
    from ..portal import Portal

__all__ = ["announce"]


def announce(portals: Iterable[Portal], http: HTTPPortal, where: str, as_json: bool) -> None:
    """Print the addresses to stdout and, without `as_json`, the URL of the server to stderr.

    Args:
        portals: the portals that serve.
        http: the portal that the options of the command describe.
        where: HOST:PORT or unix:PATH, as given on the command line.
        as_json: print one line of JSON, and nothing to stderr.
    """
    portals = list(portals)
    if as_json:
        echo_json({kind: _rows(portals, kind) for kind in ("functions", "services")})
    else:
        for row in _rows(portals, "functions"):
            echo(row["address"])
    sys.stdout.flush()
    if http in portals and not as_json:
        echo(f"{_location(http, where)} (Ctrl-C stops the server)", err=True)
        if accepted := _accepted_hosts(http, where):
            echo(accepted, err=True)


def _rows(portals: Iterable[Portal], kind: str) -> list[dict[str, str]]:
    return [
        {"name": published.name, "version": published.version, "address": str(address)}
        for portal in portals
        for address, published in getattr(portal, kind)().items()
    ]


def _accepted_hosts(http: HTTPPortal, where: str) -> str:
    """Return which hosts a server accepts that other machines reach; "" for any other server without a list."""
    hosts = http.allowed_hosts
    if hosts is not None and "*" not in hosts:
        return f"accepting requests to {', '.join(hosts)}"
    if where.startswith("unix:") or http.listener.loopback or is_loopback(where.rpartition(":")[0]):
        return ""
    return "accepting requests to every host name; --allowed-host HOST accepts only those to HOST"


def _location(http: HTTPPortal, where: str) -> str:
    base = http.base.base
    if not where.startswith("unix:"):
        return f"serving at {base}; open {base}/docs to try the functions"
    if http.listener.secure:  # the command line cannot use TLS over a Unix socket
        return f"serving at {where}"
    return f"serving at {where}; list functions with: portal list {base} --socket {quote(where.removeprefix('unix:'))}"
