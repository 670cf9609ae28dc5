"""What MODULE:TARGET on the command line names, and what is said where it names nothing of use.

Raises everywhere: click.BadParameter, which click tells in one line and ends with 2.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple

import click

if TYPE_CHECKING:
    from ..portal import Portal
    from ..service import Service

__all__ = ["Target", "apply", "load", "load_all", "service_of"]


class Target(NamedTuple):
    """What a MODULE:TARGET names, and its text."""

    text: str
    value: Any


def load_all(targets: Iterable[str], debug: bool = False) -> list[Target]:
    """What the targets name, in their order; modules are looked for in the current directory first."""
    return [Target(text, load(text, debug)) for text in targets]


def load(text: str, debug: bool = False, hint: str = "TARGET") -> Any:
    """What `package.module:name.name` names.

    Args:
        text: as it was given.
        debug: whether what a module raises is passed on, with its traceback.
        hint: the option that it was given with.
    """
    name, colon, path = text.partition(":")
    if not colon or not name or not path:
        raise click.BadParameter(f"{text} is not MODULE:TARGET, such as shop.orders:service", param_hint=hint)
    if name.endswith(".py") or "/" in name:
        module = name.removesuffix(".py").removeprefix("./").replace("/", ".")
        raise click.BadParameter(f"{name} is a file; its module is named, as in {module}:{path}", param_hint=hint)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        value: Any = importlib.import_module(name)
    except (Exception, SystemExit) as error:  # a module of the user's: whatever it raises is told, not thrown
        if debug:
            raise
        said = f"cannot import {name}: {type(error).__name__}: {error}"
        raise click.BadParameter(f"{said} (--debug shows where)", param_hint=hint) from error
    for part in path.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            near = get_close_matches(part, [known for known in dir(value) if not known.startswith("_")], n=3)
            advice = f"; did you mean {', '.join(near)}?" if near else ""
            raise click.BadParameter(f"{name} has no {path}{advice}", param_hint=hint) from None
    return value


def service_of(target: Target) -> Service | None:
    """The service that a target is, or None for a function."""
    from ..errors import ConfigError
    from ..service import Service

    if callable(target.value) and not isinstance(target.value, Service | type):
        return None
    try:
        return Service.of(target.value)
    except ConfigError as error:
        hint = "a class needs @service" if isinstance(target.value, type) else "there is nothing in it to call"
        said = f"{target.text} is a {type(target.value).__name__}: no function, no service and no portal; {hint}"
        raise click.BadParameter(said, param_hint="TARGET") from error


def apply(portal: Portal, target: Target) -> None:
    """Publish a function or a service."""
    service = service_of(target)
    if service is None:
        portal.apply(target.value)
    else:
        portal.apply_service(service)
