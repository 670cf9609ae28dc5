"""The HTTP portal that the options of `portal serve` stand for."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from .targets import load

if TYPE_CHECKING:
    from ..http import HTTPPortal

__all__ = ["http_portal", "secret"]


def http_portal(where: str, **options: Any) -> HTTPPortal:
    """The portal, which listens nowhere yet.

    Args:
        where: HOST:PORT, or unix:PATH.
        options: as of `portal serve`, by parameter name.

    Raises: click's exceptions for options that make no sense, ConfigError for wrong values.
    """
    from ..http import HTTPPortal

    host, port = _host_and_port(where)
    return HTTPPortal(host, port, debug=options["debug"], **_around(**options))


def _around(
    *,
    tokens: Iterable[str],
    auth: str | None,
    title: str,
    limits: tuple[str, ...],
    limit_store: str | None,
    guess_limit: str | None,
    proxies: tuple[str, ...],
    origins: tuple[str, ...],
    tls_certificate: str | None,
    tls_key: str | None,
    log: str | None,
    debug: bool,
) -> dict[str, Any]:
    """The settings of a portal that the options stand for."""
    from ..auth.authenticators import BearerAuth
    from ..http.middleware.auth_failure_limit import AuthFailureLimit
    from ..http.middleware.cors import CORS
    from ..http.middleware.request_log import RequestLog
    from ..limits.rate_limit import RateLimit
    from ..serving import Certificate, ServingConfig, TLSConfig

    if limit_store and not limits and not guess_limit:
        raise click.UsageError("--limit-store needs --limit")
    if tls_key and not tls_certificate:
        raise click.UsageError("--tls-key needs --tls-certificate")
    tls = TLSConfig(Certificate(tls_certificate, tls_key)) if tls_certificate else None
    known: dict[str, str] = {}
    for token, name in map(_token, tokens):
        if known.setdefault(token, name) != name:
            raise click.BadParameter(f"{known[token]} and {name} have the same token", param_hint="--token")
    authenticators = [*([BearerAuth(known)] if known else []), *(() if auth is None else _authenticators(auth, debug))]
    if known and any(getattr(one, "finds", None) == BearerAuth.finds for one in authenticators[1:]):
        raise click.UsageError(
            f"--token is a bearer token, and so is what --auth {auth} looks at: the two exclude each other"
        )
    if guess_limit and not authenticators:
        raise click.UsageError("--guess-limit needs --token or --auth: without them there is nothing to guess")
    return {
        "title": title,
        "trusted_proxies": proxies,
        "config": ServingConfig.development(tls=tls) if debug else ServingConfig(tls=tls),
        "auth": authenticators or None,
        "middleware": [
            RateLimit(limit, name=f"limit{number}", store=limit_store) for number, limit in enumerate(limits)
        ],
        "http_middleware": [
            *([RequestLog(log)] if log else []),
            *([CORS("*" if "*" in origins else origins)] if origins else []),
            *([AuthFailureLimit(guess_limit, store=limit_store)] if guess_limit else []),
        ],
    }


def _authenticators(auth: str, debug: bool) -> list[Any]:
    """What --auth names, one or several. One that names none must not leave the door open: it is refused."""
    given = load(auth, debug, "--auth")
    if isinstance(given, type):
        raise click.BadParameter(f"{auth} is a class; an object made of it is wanted", param_hint="--auth")
    found = list(given) if isinstance(given, list | tuple) else [given]
    if not found or any(one is None for one in found):
        raise click.BadParameter(f"{auth} names no authenticator, or None as one of several", param_hint="--auth")
    return found


def secret(text: str, hint: str) -> str:
    """What is to be kept off a command line that others may see: of `$NAME`, what the environment has under it."""
    if not text.startswith("$"):
        return text
    value = os.environ.get(text[1:], "")
    if not value:
        raise click.BadParameter(f"the environment has no {text[1:]}, or nothing in it", param_hint=hint)
    return value


def _token(text: str) -> tuple[str, str]:
    name, equals, token = text.partition("=")
    token = secret(token, "--token")
    if not equals or not name or not token:
        # What was given is not shown: it may be the secret itself.
        raise click.BadParameter("a name, = and a token, or $ and a variable that holds one", param_hint="--token")
    return token, name


def _host_and_port(where: str) -> tuple[str, int]:
    if where.startswith("unix:") and len(where) > len("unix:"):
        return where, 0
    host, colon, port = where.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise click.BadParameter(f"{where} is not HOST:PORT, such as 127.0.0.1:8080", param_hint="--http")
    return host.removeprefix("[").removesuffix("]"), int(port)
