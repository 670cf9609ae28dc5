"""`portal serve` and `portal openapi`: what publishes functions of a module.

One process serves by itself. Several are gunicorn's work, which runs `from_environment` in each of them; with
`--reload` a process of our own watches the files and starts the server anew.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import queue
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click

from .cli_errors import FAILED, reported

if TYPE_CHECKING:
    from .http import HTTPPortal
    from .portal import Portal

__all__ = ["from_environment", "openapi", "serve"]

_SETTINGS = "PORTAL_SERVE"  # the options of `portal serve --workers`, as JSON, for gunicorn's workers
_LOOK = 0.5  # seconds between looks at the files with --reload


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
    help="Let in only who sends this bearer token, under this name. $NAME takes it from the environment.",
)
@click.option("--limit", "limits", multiple=True, metavar="N/UNIT", help="Calls of each client, such as 100/minute.")
@click.option("--cors", "origins", multiple=True, metavar="ORIGIN", help="Let pages of this origin call; * for all.")
@click.option("--tls-certificate", metavar="PEM", help="Serve https with this certificate chain.")
@click.option("--tls-key", metavar="PEM", help="Its private key, where that is a file of its own.")
@click.option("--log", metavar="FILE", help="Append one JSON line a request to this file.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes, by gunicorn.")
@click.option("--reload", is_flag=True, help="Start anew when a Python file below the current directory changes.")
@click.option("--debug", is_flag=True, help="Tell clients what a function raised; show tracebacks here.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line with the addresses when ready.")
def serve(targets: tuple[str, ...], where: str, workers: int, reload: bool, as_json: bool, **options: Any) -> None:
    """Publish functions, services or portals until SIGTERM or SIGINT.

    A TARGET is a Function, a plain callable with type hints, a Service, a @service class or instance, or a Portal. The
    current directory can be imported from. The first signal lets running calls finish; a second one ends at once.
    SIGHUP reads the certificate files again.
    """
    if reload and workers > 1:
        raise click.UsageError("--reload is for one process in development; leave out --workers")
    if reload and not os.environ.get(_SETTINGS):
        raise SystemExit(_serve_and_watch())
    if workers > 1:
        _run_gunicorn(workers, where, {"targets": targets, "where": where, **options})
    debug = options["debug"]
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level="DEBUG" if debug else "INFO")
    with reported(as_json, unreachable=FAILED), ExitStack() as stack:
        http = _http_portal(where, **options)
        portals = _publish(_load_all(targets, debug), http, stack)
        stop = _stop_signals(portals)
        for portal in portals:
            portal.start()
        _announce(portals, as_json)
        stop.get()


def _http_portal(where: str, **options: Any) -> HTTPPortal:
    from .http import HTTPPortal

    host, port = _host_and_port(where)
    return HTTPPortal(host, port, debug=options["debug"], **_around(**options))


def _around(
    *,
    tokens: Iterable[str],
    limits: Iterable[str],
    origins: tuple[str, ...],
    tls_certificate: str | None,
    tls_key: str | None,
    log: str | None,
    debug: bool,
) -> dict[str, Any]:
    """The settings of a portal that the options stand for."""
    from .calls.authenticators import BearerAuth
    from .calls.rate_limit import RateLimit
    from .http.cors import CORS
    from .http.request_log import RequestLog
    from .serving import Certificate, ServingConfig, TLSConfig

    if tls_key and not tls_certificate:
        raise click.UsageError("--tls-key needs --tls-certificate")
    tls = TLSConfig(Certificate(tls_certificate, tls_key)) if tls_certificate else None
    known = dict(_token(text) for text in tokens)
    return {
        "config": ServingConfig.development(tls=tls) if debug else ServingConfig(tls=tls),
        "auth": BearerAuth(known) if known else None,
        "middleware": [RateLimit(limit, name=f"limit{number}") for number, limit in enumerate(limits)],
        "http_middleware": [
            *([RequestLog(log)] if log else []),
            *([CORS("*" if "*" in origins else origins)] if origins else []),
        ],
    }


def _token(text: str) -> tuple[str, str]:
    name, equals, token = text.partition("=")
    if token.startswith("$"):
        token = os.environ.get(token[1:], "")
    if not equals or not name or not token:
        # What was given is not shown: it may be the secret itself.
        raise click.BadParameter("a name, = and a token, or $ and a variable that holds one", param_hint="--token")
    return token, name


def _run_gunicorn(workers: int, where: str, settings: dict[str, Any]) -> None:
    """Become gunicorn, whose workers call `from_environment`."""
    if find_spec("gunicorn") is None:
        raise click.UsageError("--workers needs gunicorn: pip install 'portal-functions[gunicorn]'")
    _host_and_port(where)
    os.environ[_SETTINGS] = json.dumps(settings)
    worker, app = "portal.serving.gunicorn.Worker", "portal.cli_serve:from_environment()"
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


def from_environment() -> HTTPPortal:
    """The portal of `portal serve --workers`, in one of gunicorn's workers."""
    settings = json.loads(os.environ[_SETTINGS])
    targets, where = settings.pop("targets"), settings.pop("where")
    settings["origins"] = tuple(settings["origins"])
    http = _http_portal(where, **settings)
    if _publish(_load_all(targets, settings["debug"]), http, ExitStack()) != [http]:
        raise click.BadParameter("a Portal serves itself; give --workers functions and services", param_hint="TARGET")
    return http


def _serve_and_watch() -> int:
    """Run this command again in a process of its own, anew whenever a file changes; its exit code."""
    os.environ[_SETTINGS] = "watched"
    command = [sys.executable, "-m", "portal", *sys.argv[1:]]
    stop = _stop_signals(())
    while True:
        before, server = _files(), subprocess.Popen(command)
        changed = False
        while not changed:
            try:
                stop.get(timeout=_LOOK)
            except queue.Empty:
                changed = _files() != before
            else:
                server.terminate()
                return server.wait()
        click.echo("a file has changed: starting anew", err=True)
        server.terminate()
        server.wait()


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


def _load_all(targets: Iterable[str], debug: bool) -> list[Any]:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    return [_load(target, debug) for target in targets]


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="MODULE:TARGET...")
@click.option("--output", type=click.Path(dir_okay=False), metavar="FILE", help="Write it there; to stdout by default.")
@click.option("--base-path", default="/api", show_default=True, help="Prefix of every path.")
@click.option("--title", default="Portal", show_default=True)
@click.option("--version", "version", default="1", show_default=True, help="Of the interface.")
def openapi(targets: tuple[str, ...], output: str | None, base_path: str, title: str, version: str) -> None:
    """Write the OpenAPI 3.1 document of functions and services; nothing is served."""
    from .catalogue import Catalogue
    from .function import Function
    from .http.openapi import openapi_document
    from .service import Service

    catalogue, services = Catalogue(), []
    with reported(False):
        for source in _load_all(targets, False):
            if isinstance(source, Service | type) or not callable(source):
                services.append(Service.of(source))  # described, not started
                for member in services[-1].functions.values():
                    catalogue.add(member, (services[-1].name,))
            else:
                catalogue.add(Function.of(source))
        document = openapi_document(catalogue.entries(), services, base_path=base_path, title=title, version=version)
    text = json.dumps(document, ensure_ascii=False, indent=2)
    if output is None:
        click.echo(text)
        return
    with open(output, "w", encoding="utf-8") as file:
        file.write(text + "\n")


def _stop_signals(portals: Iterable[Portal]) -> queue.SimpleQueue[int]:
    """A queue that the first SIGTERM or SIGINT is put on; the second does what it does by default.

    SIGHUP reads the certificates of the portals again.

    A SimpleQueue because its `put` may interrupt its own `get`: a handler runs in the thread that waits.
    """
    signals = (signal.SIGTERM, signal.SIGINT)
    stop: queue.SimpleQueue[int] = queue.SimpleQueue()

    def note(number: int, frame: object) -> None:
        for each in signals:
            signal.signal(each, signal.SIG_DFL)
        stop.put(number)

    def reload(number: int, frame: object) -> None:
        for portal in portals:
            listener = getattr(portal, "listener", None)
            if listener is not None:
                try:
                    listener.reload_certificates()
                except ValueError as error:  # a ConfigError
                    logging.getLogger("portal.serving").error("the certificates stay as they were: %s", error)

    for each in signals:
        signal.signal(each, note)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, reload)
    return stop


def _host_and_port(where: str) -> tuple[str, int]:
    if where.startswith("unix:") and len(where) > len("unix:"):
        return where, 0
    host, colon, port = where.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise click.BadParameter(f"{where} is not HOST:PORT, such as 127.0.0.1:8080", param_hint="--http")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _load(target: str, debug: bool) -> Any:
    """What `package.module:name.name` names."""
    name, colon, path = target.partition(":")
    if not colon or not name or not path:
        raise click.BadParameter(f"{target} is not MODULE:TARGET, such as shop.orders:service", param_hint="TARGET")
    try:
        value: Any = importlib.import_module(name)
    except Exception as error:  # a module of the user's: whatever it raises is told, not thrown
        if debug:
            raise
        said = f"cannot import {name}: {type(error).__name__}: {error}"
        raise click.BadParameter(f"{said} (--debug shows where)", param_hint="TARGET") from error
    for part in path.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            raise click.BadParameter(f"{name} has no {path}", param_hint="TARGET") from None
    return value


def _publish(sources: Iterable[Any], http: Portal, stack: ExitStack) -> list[Portal]:
    """The portals to serve, which `stack` closes: those among the sources, and `http` for what is no portal."""
    from .portal import Portal

    portals: list[Portal] = []
    for source in sources:
        portal = source if isinstance(source, Portal) else http
        if portal not in portals:
            portals.append(portal)
            stack.callback(portal.close)
        if portal is not source:
            _apply(portal, source)
    return portals


def _apply(portal: Portal, source: Any) -> None:
    from .service import Service

    if isinstance(source, Service | type) or not callable(source):
        portal.apply_service(Service.of(source))
    else:
        portal.apply(source)


def _announce(portals: Iterable[Portal], as_json: bool) -> None:
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
