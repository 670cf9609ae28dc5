"""`portal serve`: publish the functions of a module.

Without options this process serves. With `--workers`, gunicorn runs `portal.cli.gunicorn` in each of its processes.
With `--reload`, a child process serves and this process watches the files.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from .._internal.log import get_logger
from ..serving.loaded_objects import freeze_loaded_objects
from ..serving.switch_interval import shorten_switch_interval
from .announce import announce
from .drain import drain
from .errors import FAILED, reported
from .handover import hand_over
from .portal import Served, served_portals
from .reload import WATCHED, serve_and_reload
from .signals import StopSignals
from .targets import Target, apply, load_all, service_of
from .watch import wait_and_watch

if TYPE_CHECKING:
    from ..portal import Portal

__all__ = ["publish", "serve"]

#: The options that an HTTPPortal given as a target does not use, by parameter name.
_PORTAL_OPTIONS = {
    "tokens": "--token",
    "auth": "--auth",
    "limits": "--limit",
    "failure_limit": "--auth-failure-limit",
    "proxies": "--trusted-proxy",
    "allowed_hosts": "--allowed-host",
    "origins": "--cors",
    "tls_certificate": "--tls-certificate",
    "log": "--log",
    "name": "--name",
    "max_body": "--max-body",
    "drain_delay": "--drain-delay",
    "directory": "--directory",
}
_GRACE = 25  # seconds that a worker of gunicorn has for running calls
_EXAMPLES = """\b
Examples:
  portal serve shop.orders:service
  portal serve shop.orders:service --ws
  portal serve shop.orders:service --http 0.0.0.0:8080 --token 'ann=$ANN_TOKEN'
  portal serve rules/
  portal serve shop.orders:add shop.orders:price --workers 4 --limit 100/minute
"""


@click.command(epilog=_EXAMPLES)
@click.argument("targets", nargs=-1, required=True, metavar="MODULE:TARGET...")
@click.option(
    "--http",
    "where",
    default="127.0.0.1:8080",
    show_default=True,
    metavar="HOST:PORT",
    help="Address to listen on. Port 0 chooses a free port; unix:PATH is a Unix socket.",
)
@click.option("--ws", "websocket", is_flag=True, help="Serve WebSockets as well, on the same port below /ws.")
@click.option(
    "--token",
    "tokens",
    multiple=True,
    metavar="NAME=TOKEN",
    help="Require a bearer token; calls with this TOKEN have the identity NAME. NAME=$VARIABLE reads the environment. "
    "Can be repeated.",
)
@click.option(
    "--auth",
    metavar="MODULE:OBJECT",
    help="Require a credential that this authenticator, or one of this list, accepts. Do not use it with --token if it "
    "reads bearer tokens, as JWTAuth does.",
)
@click.option(
    "--limit", "limits", multiple=True, metavar="N/UNIT", help="Calls allowed per client, such as 100/minute."
)
@click.option(
    "--auth-failure-limit",
    "failure_limit",
    metavar="N/UNIT",
    help="Failed authentications allowed per client, such as 10/minute.",
)
@click.option(
    "--limit-store",
    metavar="URL",
    help="Redis server that shares the limits between processes, such as redis://host:6379/0. Without it each process "
    "has limits of its own. Needs --name.",
)
@click.option(
    "--name",
    metavar="NAME",
    help="Name of this portal. Servers with the same name and --limit-store share their limits.",
)
@click.option(
    "--directory",
    metavar="URL",
    help="Register the functions in this directory, such as redis://host:6379/0, while the server runs. Consumers find "
    "them there by name.",
)
@click.option(
    "--advertise",
    metavar="HOST:PORT",
    help="Address in the directory; needed if the server listens on 0.0.0.0. $VARIABLE reads the environment.",
)
@click.option("--zone", help="Zone in the directory. Consumers prefer their own zone.")
@click.option(
    "--directory-key",
    metavar="KEY",
    help="Sign what is registered with this key of at least 16 characters. $VARIABLE reads the environment.",
)
@click.option(
    "--trusted-proxy",
    "proxies",
    multiple=True,
    metavar="NETWORK",
    help="Take the client's address from X-Forwarded-For of this proxy, such as 10.0.0.0/8 or unix:. Can be repeated.",
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="HOST",
    help="Accept only requests whose Host header names this host, such as shop.example or *.shop.example; * accepts "
    "all. By default a loopback address accepts localhost, 127.0.0.1 and ::1, any other address every host. Can be "
    "repeated.",
)
@click.option(
    "--cors",
    "origins",
    multiple=True,
    metavar="ORIGIN",
    help="Allow calls from web pages of this origin; * allows all.",
)
@click.option("--tls-certificate", metavar="PEM", help="Serve HTTPS with this certificate chain.")
@click.option("--tls-key", metavar="PEM", help="Private key, if it is not in the certificate's file.")
@click.option("--log", metavar="FILE", help="Append one line of JSON per request to this file.")
@click.option(
    "--max-body", type=click.IntRange(min=1), metavar="BYTES", help="Largest body of a request; by default 1 MiB."
)
@click.option(
    "--drain-delay",
    type=click.FloatRange(min=0, max=3600),
    default=0.0,
    show_default=True,
    metavar="SECONDS",
    help="After SIGTERM, accept requests for this long while /health/ready says 503, so that load balancers notice.",
)
@click.option("--title", help="Title of the page at /docs; by default the name, or Portal.")
@click.option(
    "--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Number of processes; needs gunicorn."
)
@click.option(
    "--reload", is_flag=True, help="Restart the server when a Python file below the current directory changes."
)
@click.option("--debug", is_flag=True, help="Send tracebacks to clients; log at DEBUG. For development only.")
@click.option("--json", "as_json", is_flag=True, help="Print the addresses as one line of JSON.")
def serve(
    targets: tuple[str, ...], where: str, websocket: bool, workers: int, reload: bool, as_json: bool, **options: Any
) -> None:
    """Publish functions, services or portals over HTTP, and with --ws over WebSockets.

    MODULE:TARGET names a function, a service, a @service class or a portal. A folder of JavaScript files publishes a
    function for each file, and follows edits. Modules in the current directory can be
    imported. The options apply to functions and services; a portal keeps its own settings.

    GET /health/live and /health/ready are health checks; they need no credential. SIGTERM or Ctrl-C stops the server
    after running calls have finished; a second one stops it at once. SIGHUP reads the certificates again.
    """
    if reload and workers > 1:
        raise click.UsageError("--reload runs one process; leave out --workers")
    if reload and not os.environ.get(WATCHED):
        raise SystemExit(serve_and_reload())
    if workers > 1:
        _run_gunicorn(workers, targets, where, as_json, {"websocket": websocket, **options})
    shorten_switch_interval()
    debug = options["debug"]
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level="DEBUG" if debug else "INFO")
    with reported(as_json, unreachable=FAILED), ExitStack() as stack:
        served = served_portals(where, websocket, **options)
        loaded = load_all(targets, debug)
        _reject_unused_options(loaded, options)
        portals = publish(loaded, served, stack)
        signals = StopSignals(on_hangup=partial(_reload_certificates, portals))
        for portal in portals:
            portal.start()
        freeze_loaded_objects()
        needs_credential = bool(options["tokens"] or options["auth"])
        announce(portals, served.http, where, as_json, needs_credential=needs_credential)
        wait_and_watch(portals, signals)
        drain(portals)


def publish(targets: Iterable[Target], served: Served, stack: ExitStack) -> list[Portal]:
    """Publish the targets.

    Args:
        served: the portals for targets that are not portals.
        stack: closes the portals at its end.

    Returns: the portals to start.
    """
    from ..portal import Portal

    portals: list[Portal] = []
    for target in targets:
        if isinstance(target.value, Path):
            portals += [portal for portal in _serve_folder(target.value, served, stack) if portal not in portals]
            continue
        is_portal = isinstance(target.value, Portal)
        for portal in (target.value,) if is_portal else served:
            if portal is None:
                continue
            if portal not in portals:
                portals.append(portal)
                stack.callback(portal.close)
            if not is_portal:
                apply(portal, target)
    return portals


def _serve_folder(path: Path, served: Served, stack: ExitStack) -> list[Portal]:
    """Publish the JavaScript files of a folder, and follow their edits. Return the portals to start."""
    from ..javascript import JavaScriptPortal
    from ..javascript.folder import RulesFolder

    portals: list[Portal] = [portal for portal in served if portal is not None]
    for portal in portals:
        stack.callback(portal.close)
    folder = RulesFolder(path, JavaScriptPortal(), portals=portals)
    stack.callback(folder.close)
    folder.start()
    return portals


def _reject_unused_options(targets: Iterable[Target], options: dict[str, Any]) -> None:
    """Reject options that a portal given as a target would not use, such as a token that would protect nothing.

    Raises: click.UsageError.
    """
    from ..portal import Portal

    given = [option for name, option in _PORTAL_OPTIONS.items() if options[name]]
    source = click.get_current_context().get_parameter_source("where")
    if source is not ParameterSource.DEFAULT and all(isinstance(target.value, Portal) for target in targets):
        given.append("--http")
    for target in targets:
        if given and isinstance(target.value, Portal):
            raise click.UsageError(f"{target.text} is a portal and does not use {', '.join(given)}; set it up in code")


def _reload_certificates(portals: Iterable[Portal]) -> None:
    for portal in portals:
        listener = getattr(portal, "listener", None)
        if listener is not None:
            try:
                listener.reload_certificates()
            except ValueError as error:  # a ConfigError
                get_logger("portal.serving").error("certificates not reloaded: %s", error)


def _run_gunicorn(workers: int, targets: tuple[str, ...], where: str, as_json: bool, options: dict[str, Any]) -> None:
    """Replace this process with gunicorn. Each worker calls `portal.cli.gunicorn.from_environment`."""
    if find_spec("gunicorn") is None:
        raise click.UsageError("--workers needs gunicorn; install it with pip install 'portal-functions[gunicorn]'")
    with reported(as_json, unreachable=FAILED):  # report wrong options once, not in every worker
        for portal in served_portals(where, **options):
            if portal is not None:
                portal.close()
        for target in load_all(targets, options["debug"]):
            _require_no_portal(target)
            service_of(target)
    hand_over({"targets": targets, "where": where, "as_json": as_json, **options})
    arguments = {
        "-c": "python:portal.cli.gunicorn",  # sets nothing; without it ./gunicorn.conf.py is run
        "-k": "portal.cli.gunicorn.Worker",
        "-w": str(workers),
        "-b": where,
        "--graceful-timeout": str(_GRACE + ceil(options["drain_delay"])),
    }
    flat = [part for option in arguments.items() for part in option]
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", *flat, "portal.cli.gunicorn:from_environment()"])


def _require_no_portal(target: Target) -> None:
    from ..portal import Portal

    if isinstance(target.value, Portal):
        reason = f"--workers needs functions and services, got the portal {target.text}; run it under gunicorn"
        raise click.BadParameter(reason, param_hint="TARGET")
