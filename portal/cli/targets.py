"""Load the object that MODULE:TARGET on the command line names, and publish it.

Every function here may raise click.BadParameter. click prints it as one line, and the command exits with 2.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

if TYPE_CHECKING:
    from ..portal import Portal
    from ..service import Service

__all__ = ["Target", "apply", "load", "load_all", "service_of"]


class Target(NamedTuple):
    """An object, and the MODULE:TARGET that names it."""

    text: str
    value: Any


def load_all(targets: Iterable[str], debug: bool = False) -> list[Target]:
    """Import the targets in order. Modules in the current directory are found first. A folder is given as its path."""
    return [Target(text, Path(text) if os.path.isdir(text) else load(text, debug)) for text in targets]


def load(text: str, debug: bool = False, hint: str = "TARGET") -> Any:
    """Import the object that `package.module:name.name` names.

    Args:
        debug: let an exception of the module pass, so that its traceback is shown.
        hint: the name of the option or argument for messages.
    """
    name, path = _split(text, hint)
    value = _import(name, debug, hint)
    for part in path.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            near = get_close_matches(part, [known for known in dir(value) if not known.startswith("_")], n=3)
            advice = f"; did you mean {', '.join(near)}?" if near else ""
            raise click.BadParameter(f"{name} has no {path}{advice}", param_hint=hint) from None
    return value


def _split(text: str, hint: str) -> tuple[str, str]:
    """Return the module's name and the path of attributes in it."""
    name, colon, path = text.partition(":")
    if not colon or not name or not path:
        raise click.BadParameter(f"must be MODULE:TARGET, such as shop.orders:service, got {text}", param_hint=hint)
    if name.endswith(".py") or "/" in name:
        module = name.removesuffix(".py").removeprefix("./").replace("/", ".")
        raise click.BadParameter(f"must name a module, not a file; use {module}:{path}", param_hint=hint)
    return name, path


def _import(name: str, debug: bool, hint: str) -> Any:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # a user's module may raise anything
        if debug:
            raise
        reason = f"cannot import {name}: {type(error).__name__}: {error}"
        raise click.BadParameter(f"{reason} (--debug shows the traceback)", param_hint=hint) from error


def service_of(target: Target, *, described: bool = False) -> Service | None:
    """Return the service that a target names, or None for a function.

    Args:
        target: what the command line names.
        described: whether its functions are only described: a class is then not called.
    """
    from ..errors import ConfigError
    from ..service import Service, is_service

    if callable(target.value) and not isinstance(target.value, Service | type):
        return None
    try:
        return Service.described(target.value) if described else Service.of(target.value)
    except ConfigError as error:
        if is_service(target.value):
            raise click.BadParameter(f"{target.text}: {error}", param_hint="TARGET") from error
        advice = "decorate the class with @service" if isinstance(target.value, type) else "it has no functions"
        kind = type(target.value).__name__
        reason = f"{target.text} must be a function, a service or a portal, got {kind}; {advice}"
        raise click.BadParameter(reason, param_hint="TARGET") from error


def apply(portal: Portal, target: Target) -> None:
    """Publish a function or a service on a portal."""
    service = service_of(target)
    if service is None:
        portal.apply(target.value)
    else:
        portal.apply_service(service)
