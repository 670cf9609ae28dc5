"""`portal openapi`: print the OpenAPI document of functions, services or a portal without serving it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from .errors import reported
from .output import echo
from .targets import Target, load_all, service_of

if TYPE_CHECKING:
    from ..portal import Portal

__all__ = ["openapi"]


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="MODULE:TARGET...")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False), metavar="FILE", help="Write to this file, not to stdout."
)
@click.option("--base-path", default="/api", show_default=True, help="Prefix of all paths.")
@click.option("--title", default="Portal", show_default=True, help="Title of the interface.")
@click.option("--version", "version", default="1", show_default=True, help="Version of the interface.")
@click.option("--debug", is_flag=True, help="Show the traceback if a module cannot be imported.")
def openapi(targets: tuple[str, ...], output: str | None, debug: bool, **interface: Any) -> None:
    """Print an OpenAPI 3.1 document without serving anything.

    MODULE:TARGET names functions and services, or one HTTPPortal. The document of a portal is the same as the one that
    it serves at /openapi.json, with its authentication, title, version and base path.
    """
    from ..serving import Listener

    # Modules may print, and may publish at a free port.
    with reported(False), Listener.never_opening_sockets(), redirect_stdout(sys.stderr):
        document = _document(load_all(targets, debug), interface)
    text = json.dumps(document, ensure_ascii=False, indent=2)
    if output is None:
        echo(text)
        return
    try:
        with open(output, "w", encoding="utf-8") as file:
            file.write(text + "\n")
    except OSError as error:
        raise click.BadParameter(f"cannot write {output}: {error.strerror}", param_hint="--output") from error


def _document(targets: list[Target], interface: dict[str, Any]) -> dict[str, Any]:
    from ..portal import Portal

    for target in targets:
        if isinstance(target.value, Portal):
            _require_alone(target, targets, interface)
            return _document_of_portal(target.text, target.value)
    return _document_of_functions(targets, interface)


def _require_alone(portal: Target, targets: list[Target], interface: dict[str, Any]) -> None:
    """Reject targets and options that the document of a portal would ignore. Raises: click.UsageError."""
    if len(targets) > 1:
        raise click.UsageError(f"{portal.text} is a portal with its own document; name it alone")
    context = click.get_current_context()
    given = [name for name in interface if context.get_parameter_source(name) is not ParameterSource.DEFAULT]
    if given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise click.UsageError(f"{portal.text} is a portal and does not use {options}; set it up in code")


def _document_of_portal(text: str, portal: Portal) -> dict[str, Any]:
    from ..http import HTTPPortal

    try:
        if isinstance(portal, HTTPPortal):
            return portal.openapi()
    finally:
        portal.close()  # the module may have started it
    reason = f"{text} must be an HTTPPortal, got {type(portal).__name__}, which has no OpenAPI document"
    raise click.BadParameter(reason, param_hint="TARGET")


def _document_of_functions(targets: Iterable[Target], interface: dict[str, Any]) -> dict[str, Any]:
    from ..catalogue import Catalogue
    from ..function import Function
    from ..http.documents.openapi import openapi_document
    from ..service import Service

    catalogue = Catalogue()
    services: list[Service] = []
    for target in targets:
        service = service_of(target, described=True)
        if service is None:
            catalogue.add(Function.of(target.value))
            continue
        services.append(service)
        for member in service.functions.values():
            catalogue.add(member, (service.name,))
    return openapi_document(catalogue.entries(), services, **interface)
