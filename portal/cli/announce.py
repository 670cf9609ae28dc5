"""Print the addresses of the published functions and topics when the server is ready."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from shlex import quote
from typing import TYPE_CHECKING, Any

from ..http11.host_patterns import is_loopback
from .output import echo, echo_json

if TYPE_CHECKING:
    from ..http import HTTPPortal
    from ..portal import Portal

__all__ = ["announce"]


def announce(
    portals: Iterable[Portal], http: HTTPPortal, where: str, as_json: bool, *, needs_credential: bool = False
) -> None:
    """Print the addresses to stdout and, without `as_json`, where the server is to stderr.

    Args:
        portals: the portals that serve.
        http: the portal that the options of the command describe.
        where: HOST:PORT or unix:PATH, as given on the command line.
        as_json: print one line of JSON, and nothing to stderr.
        needs_credential: whether `http` accepts only calls with a credential.
    """
    portals = list(portals)
    topics = [str(address) for portal in portals for address in getattr(portal, "topics", dict)()]
    if as_json:
        found: dict[str, Any] = {kind: _rows(portals, kind) for kind in ("functions", "services")}
        echo_json(found | {"topics": [{"address": address} for address in topics]})
    else:
        for address in [*(row["address"] for row in _rows(portals, "functions")), *topics]:
            echo(address)
    sys.stdout.flush()
    if as_json:
        return
    lines = _places(portals, None)
    if http in portals:
        lines = [_location(http, where), *_health(http, where), *_places(portals, http)]
    for number, line in enumerate(lines):
        echo(f"{line} (Ctrl-C stops the server)" if number == 0 else line, err=True)
    for line in _reachable(http, where, needs_credential) if http in portals else ():
        echo(line, err=True)


def _rows(portals: Iterable[Portal], kind: str) -> list[dict[str, str]]:
    return [
        {"name": published.name, "version": published.version, "address": str(address)}
        for portal in portals
        for address, published in getattr(portal, kind)().items()
    ]


def _health(http: HTTPPortal, where: str) -> list[str]:
    if http.health_path is None or where.startswith("unix:"):
        return []
    return [f"health checks at {http.base.base}{http.health_path}/live and {http.health_path}/ready"]


def _places(portals: Iterable[Portal], http: HTTPPortal | None) -> list[str]:
    """Return where the portals serve that a module has made, without those that share the listener of `http`."""
    shared = None if http is None else http.listener
    listening: list[Any] = [portal for portal in portals if getattr(portal, "listener", None) not in (None, shared)]
    return [f"serving at {portal.base}" for portal in listening]


def _reachable(http: HTTPPortal, where: str, needs_credential: bool) -> list[str]:
    """Return who can call a server that other machines reach: from which host names, and without a credential."""
    hosts = http.allowed_hosts
    lines = []
    if hosts is not None and "*" not in hosts:
        lines.append(f"accepting requests to {', '.join(hosts)}")
    if where.startswith("unix:") or http.listener.loopback or is_loopback(where.rpartition(":")[0]):
        return lines
    if not lines:
        lines.append("accepting requests to every host name; --allowed-host HOST accepts only those to HOST")
    if not needs_credential:
        lines.append("accepting calls without a credential; --token NAME=TOKEN requires one")
    return lines


def _location(http: HTTPPortal, where: str) -> str:
    base = http.base.base
    if not where.startswith("unix:"):
        return f"serving at {base}; open {base}/docs to try the functions"
    if http.listener.secure:  # the command line cannot use TLS over a Unix socket
        return f"serving at {where}"
    return f"serving at {where}; list functions with: portal list {base} --socket {quote(where.removeprefix('unix:'))}"
