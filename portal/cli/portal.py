"""Build the HTTPPortal and the WebSocketPortal that the options of `portal serve` describe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from .secrets import secret
from .targets import load

if TYPE_CHECKING:
    from ..http import HTTPPortal
    from ..websocket import WebSocketPortal

__all__ = ["Served", "http_portal", "served_portals"]


class Served(NamedTuple):
    """The portals of one server; `websocket` is None without --ws."""

    http: HTTPPortal
    websocket: WebSocketPortal | None = None


def http_portal(where: str, **options: Any) -> HTTPPortal:
    """Return a portal that does not listen yet.

    Args:
        where: HOST:PORT or unix:PATH.
        options: the options of `portal serve`, by parameter name.

    Raises: click.UsageError for options that contradict each other, ConfigError for wrong values.
    """
    return served_portals(where, False, **options).http


def served_portals(where: str, websocket: bool, **options: Any) -> Served:
    """Return the portals, which do not listen yet. They share authenticators, limits and the listener.

    Args:
        websocket: whether to serve WebSockets as well.
        where, options: see `http_portal`.

    Raises: as `http_portal`.
    """
    from ..http import HTTPPortal

    host, port = _host_and_port(where)
    common: dict[str, Any] = {
        "name": options["name"],
        "title": options["title"],
        "trusted_proxies": options["proxies"],
        "allowed_hosts": options["allowed_hosts"] or None,
        "debug": options["debug"],
        "auth": _all_authenticators(options) or None,
        "middleware": _call_middleware(options),
    }
    failures = _failure_limits(options)
    outer = _http_middleware(options)
    http = HTTPPortal(
        host,
        port,
        config=_serving_config(options),
        http_middleware=[*outer, *failures],
        directory=_registration(options),
        **common,
    )
    if not websocket:
        return Served(http)
    from ..websocket import WebSocketPortal

    origins = options["origins"]
    allowed = "*" if "*" in origins else origins or None
    common["directory"] = _registration(options)  # of its own
    return Served(http, WebSocketPortal(listener=http.listener, http_middleware=failures, origins=allowed, **common))


def _registration(options: dict[str, Any]) -> Any:
    """Return the registration of a portal, or None without --directory. Raises: click.UsageError."""
    url, advertise, key = options["directory"], options["advertise"], options["directory_key"]
    if not url:
        if advertise or key or options["zone"]:
            raise click.UsageError("--advertise, --zone and --directory-key need --directory")
        return None
    from ..directory import Registration

    return Registration(
        url,
        zone=options["zone"],
        advertise=None if advertise is None else secret(advertise, "--advertise"),
        key=None if key is None else secret(key, "--directory-key"),
    )


def _serving_config(options: dict[str, Any]) -> Any:
    from ..serving import Certificate, ServingConfig, TLSConfig

    certificate, key = options["tls_certificate"], options["tls_key"]
    if key and not certificate:
        raise click.UsageError("--tls-key needs --tls-certificate")
    tls = TLSConfig(Certificate(certificate, key)) if certificate else None
    given: dict[str, Any] = {name: options[name] for name in ("max_body", "drain_delay") if options.get(name)}
    return ServingConfig.development(tls=tls, **given) if options["debug"] else ServingConfig(tls=tls, **given)


def _all_authenticators(options: dict[str, Any]) -> list[Any]:
    """Return the authenticators of --token and --auth. Raises: click.UsageError if both read bearer tokens."""
    from ..auth import BearerAuth

    known: dict[str, str] = {}
    for token, name in map(_name_and_token, options["tokens"]):
        if known.setdefault(token, name) != name:
            raise click.BadParameter(f"{known[token]} and {name} have the same token", param_hint="--token")
    auth = options["auth"]
    loaded = [] if auth is None else _load_authenticators(auth, options["debug"])
    if known and any(getattr(one, "finds", None) == BearerAuth.finds for one in loaded):
        raise click.UsageError(f"--token and --auth {auth} both read bearer tokens; use one of them")
    if options["failure_limit"] and not known and not loaded:
        raise click.UsageError("--auth-failure-limit needs --token or --auth")
    return [*([BearerAuth(known)] if known else []), *loaded]


def _load_authenticators(auth: str, debug: bool) -> list[Any]:
    """Import the authenticator or list of authenticators that --auth names.

    Raises: click.BadParameter for any other object.
    """
    value = load(auth, debug, "--auth")
    if isinstance(value, type):
        raise click.BadParameter(
            f"{auth} is a class, not an authenticator; pass the name of an instance", param_hint="--auth"
        )
    found = list(value) if isinstance(value, list | tuple) else [value]
    if not found or any(one is None for one in found):
        # An empty list or None would turn authentication off.
        raise click.BadParameter(
            f"{auth} must be an authenticator or a list of them, got {value!r}", param_hint="--auth"
        )
    return found


def _name_and_token(text: str) -> tuple[str, str]:
    name, equals, token = text.partition("=")
    token = secret(token, "--token")
    if not equals or not name or not token:
        # The message does not repeat the value, because it may be the secret itself.
        raise click.BadParameter("must be NAME=TOKEN or NAME=$VARIABLE", param_hint="--token")
    return token, name


def _call_middleware(options: dict[str, Any]) -> list[Any]:
    from ..limits import RateLimit

    limits: Iterable[str] = options["limits"]
    store = options["limit_store"]
    if store and not limits and not options["failure_limit"]:
        raise click.UsageError("--limit-store needs --limit or --auth-failure-limit")
    if store and not options["name"]:
        raise click.UsageError("--limit-store needs --name, since other portals may use the same store")
    return [RateLimit(limit, name=f"limit{number}", store=store) for number, limit in enumerate(limits)]


def _http_middleware(options: dict[str, Any]) -> list[Any]:
    from ..http import CORS, RequestLog

    log, origins = options["log"], options["origins"]
    return [
        *([RequestLog(log)] if log else []),
        *([CORS("*" if "*" in origins else origins)] if origins else []),
    ]


def _failure_limits(options: dict[str, Any]) -> list[Any]:
    from ..http import AuthFailureLimit

    failures = options["failure_limit"]
    return [AuthFailureLimit(failures, store=options["limit_store"])] if failures else []


def _host_and_port(where: str) -> tuple[str, int]:
    if where.startswith("unix:") and len(where) > len("unix:"):
        return where, 0
    host, colon, port = where.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise click.BadParameter(
            f"must be HOST:PORT, such as 127.0.0.1:8080, or unix:PATH, got {where}", param_hint="--http"
        )
    return host.removeprefix("[").removesuffix("]"), int(port)
