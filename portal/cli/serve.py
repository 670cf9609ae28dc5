"""`portal serve`: what publishes functions of a module.

One process serves by itself. Several are gunicorn's work, which runs what `cli_gunicorn.py` has in each of them; with
`--reload` a process of our own watches the files and starts the server anew.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from .errors import FAILED, reported
from .portal import http_portal
from .signals import StopSignals
from .targets import Target, apply, load_all, service_of

if TYPE_CHECKING:
    from ..http import HTTPPortal
    from ..portal import Portal

__all__ = ["SETTINGS", "publish", "serve", "tell"]

SETTINGS = "PORTAL_SERVE"  # the options of `portal serve --workers`, as JSON, for gunicorn's workers
_AROUND = {
    "tokens": "--token",
    "auth": "--auth",
    "limits": "--limit",
    "guess_limit": "--guess-limit",
    "proxies": "--trusted-proxy",
    "origins": "--cors",
    "tls_certificate": "--tls-certificate",
    "log": "--log",
}
_LOOK = 0.5  # seconds between looks at the files with --reload
_END = 30.0  # seconds that a server whose files have changed has to end


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="MODULE:TARGET...")
@click.option(
    "--http",
    "where",
    default="127.0.0.1:8080",
    show_default=True,
    metavar="HOST:PORT",
    help="Where to listen; port 0 takes any; unix:PATH is a Unix socket.",
)
@click.option(
    "--token",
    "tokens",
    multiple=True,
    metavar="NAME=TOKEN",
    help="Let in only who sends this bearer token, under this name. $NAME takes it from the environment. Not beside an "
    "--auth that looks at bearer tokens itself.",
)
@click.option(
    "--auth",
    metavar="MODULE:OBJECT",
    help="Let in only who this authenticator knows, or one of a list. One of API keys, passwords or certificates may "
    "stand beside --token; one of bearer tokens, such as a JWTAuth or a BearerAuth, takes its place.",
)
@click.option("--limit", "limits", multiple=True, metavar="N/UNIT", help="Calls of each client, such as 100/minute.")
@click.option(
    "--limit-store",
    metavar="URL",
    help="Redis that counts for all processes, as redis://host:6379/0; without it each of --workers counts by itself.",
)
@click.option("--guess-limit", metavar="N/UNIT", help="Wrong credentials of each client before it has to wait.")
@click.option(
    "--trusted-proxy",
    "proxies",
    multiple=True,
    metavar="NETWORK",
    help="A proxy in front, such as 10.0.0.0/8 or unix:, whose X-Forwarded-For says who the client is.",
)
@click.option("--cors", "origins", multiple=True, metavar="ORIGIN", help="Let pages of this origin call; * for all.")
@click.option("--tls-certificate", metavar="PEM", help="Serve https with this certificate chain.")
@click.option("--tls-key", metavar="PEM", help="Its private key, where that is a file of its own.")
@click.option("--log", metavar="FILE", help="Append one JSON line a request to this file.")
@click.option("--title", default="Portal", show_default=True, help="Of the page at /docs.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes, by gunicorn.")
@click.option("--reload", is_flag=True, help="Start anew when a Python file below the current directory changes.")
@click.option("--debug", is_flag=True, help="Tell clients what a function raised; show tracebacks here.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line with the addresses when ready.")
def serve(targets: tuple[str, ...], where: str, workers: int, reload: bool, as_json: bool, **options: Any) -> None:
    """Publish functions, services or portals until SIGTERM or SIGINT.

    A TARGET is a Function, a plain callable with type hints, a Service, a @service class or instance, or a Portal. The
    current directory can be imported from. The first signal lets running calls finish; a second one ends at once.
    SIGHUP reads the certificate files again. Options are for functions and services: a Portal has settings of its own.
    """
    if reload and workers > 1:
        raise click.UsageError("--reload is for one process in development; leave out --workers")
    if reload and not os.environ.get(SETTINGS):
        raise SystemExit(_serve_and_watch())
    if workers > 1:
        _run_gunicorn(workers, targets, where, as_json, options)
    debug = options["debug"]
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level="DEBUG" if debug else "INFO")
    with reported(as_json, unreachable=FAILED), ExitStack() as stack:
        http = http_portal(where, **options)
        found = load_all(targets, debug)
        _require_no_portal(found, options)
        portals = publish(found, http, stack)
        signals = StopSignals(on_hangup=partial(_reload_certificates, portals))
        for portal in portals:
            portal.start()
        tell(portals, http, where, as_json)
        signals.wait()


def _run_gunicorn(workers: int, targets: tuple[str, ...], where: str, as_json: bool, options: dict[str, Any]) -> None:
    """Become gunicorn, whose workers call `cli_gunicorn.from_environment` and tell the addresses."""
    if find_spec("gunicorn") is None:
        raise click.UsageError("--workers needs gunicorn: pip install 'portal-functions[gunicorn]'")
    with reported(as_json, unreachable=FAILED):  # what is wrong is told in one line, and not by every worker
        http_portal(where, **options).close()
        for target in load_all(targets, options["debug"]):
            _require_functions(target)
    os.environ[SETTINGS] = json.dumps({"targets": targets, "where": where, "as_json": as_json, **options})
    worker, app = "portal.cli.gunicorn.Worker", "portal.cli.gunicorn:from_environment()"
    os.execv(
        sys.executable,
        [
            sys.executable,
            "-m",
            "gunicorn",
            "-k",
            worker,
            "-w",
            str(workers),
            "-b",
            where,
            "--graceful-timeout",
            "25",
            app,
        ],
    )


def _require_functions(target: Target) -> None:
    from ..portal import Portal

    if isinstance(target.value, Portal):
        said = f"{target.text} is a Portal, which serves itself; give --workers functions and services"
        raise click.BadParameter(said, param_hint="TARGET")
    service_of(target)


def _require_no_portal(targets: Iterable[Target], options: dict[str, Any]) -> None:
    """Refuse options that would do nothing: who gives a token must not find the door open.

    Raises: click.UsageError.
    """
    from ..portal import Portal

    given = [option for name, option in _AROUND.items() if options[name]]
    for target in targets:
        if given and isinstance(target.value, Portal):
            raise click.UsageError(
                f"{target.text} is a Portal with settings of its own: {', '.join(given)} would not hold for it"
            )


def _serve_and_watch() -> int:
    """Run this command again in a process of its own, anew whenever a file changes; its exit code."""
    os.environ[SETTINGS] = "watched"
    command = [sys.executable, "-m", "portal", *sys.argv[1:]]
    signals = StopSignals(on_hangup=lambda: None)
    while True:
        before, server = _files(), subprocess.Popen(command)
        ended = False
        while _files() == before:
            if signals.wait(_LOOK):
                return _end(server)
            if not ended and server.poll() is not None:
                ended = True
                click.echo("the server has ended; it starts anew when a file changes", err=True)
        click.echo("a file has changed: starting anew", err=True)
        _end(server)


def _end(server: subprocess.Popen[bytes]) -> int:
    server.terminate()
    try:
        return server.wait(_END)
    except subprocess.TimeoutExpired:
        server.kill()
        return server.wait()


def _files() -> dict[str, int]:
    """When each Python file below the current directory was last changed."""
    found: dict[str, int] = {}
    for folder, inner, names in os.walk("."):
        inner[:] = [name for name in inner if not name.startswith(".") and name not in ("__pycache__", "node_modules")]
        for name in names:
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                try:
                    found[path] = os.stat(path).st_mtime_ns
                except FileNotFoundError:
                    continue
    return found


def _reload_certificates(portals: Iterable[Portal]) -> None:
    for portal in portals:
        listener = getattr(portal, "listener", None)
        if listener is not None:
            try:
                listener.reload_certificates()
            except ValueError as error:  # a ConfigError
                logging.getLogger("portal.serving").error("the certificates stay as they were: %s", error)


def publish(targets: Iterable[Target], http: Portal, stack: ExitStack) -> list[Portal]:
    """The portals to serve, which `stack` closes: those among the targets, and `http` for what is no portal."""
    from ..portal import Portal

    portals: list[Portal] = []
    for target in targets:
        portal = target.value if isinstance(target.value, Portal) else http
        if portal not in portals:
            portals.append(portal)
            stack.callback(portal.close)
        if portal is not target.value:
            apply(portal, target)
    return portals


def tell(portals: Iterable[Portal], http: HTTPPortal, where: str, as_json: bool) -> None:
    """Say what is served: the addresses on stdout, for programs too; on stderr, for people, where `http` is.

    Args:
        where: HOST:PORT or unix:PATH, as it was given.
    """
    _print_addresses(portals, as_json)
    if http in portals and not as_json:
        base = http.base.base
        told = f"serving at {base}, a page to try it at /docs"
        if where.startswith("unix:"):
            told = f"serving at {where}"
            if not http.listener.secure:  # our client speaks no TLS there
                told += f", reached by: portal list {base} --socket {quote(where.removeprefix('unix:'))}"
        click.echo(f"{told}; Ctrl-C stops", err=True)


def _print_addresses(portals: Iterable[Portal], as_json: bool) -> None:
    told = {
        kind: [
            {"name": published.name, "version": published.version, "address": str(address)}
            for portal in portals
            for address, published in getattr(portal, kind)().items()
        ]
        for kind in ("functions", "services")
    }
    for line in [json.dumps(told)] if as_json else [row["address"] for row in told["functions"]]:
        click.echo(line)
    sys.stdout.flush()
