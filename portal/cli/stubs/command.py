"""`portal stub`: write a typed client module for what a server or a module publishes."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..connect import client_options, completed, connected
from ..errors import FAILED, reported
from ..output import echo
from ..targets import Target, load_all, service_of

if TYPE_CHECKING:
    from ...consumer import Consumer
    from ...schema import FunctionSchema
    from .module import Published

__all__ = ["stub"]

#: A class of a client, and its address.
_ADDRESS = re.compile(
    r'^class (\w+)\(Client\):\n(?:(?!^class ).*\n)*?    ADDRESS: ClassVar\[str\] = (".*")$', re.MULTILINE
)


@click.command(short_help="Write a typed client module.")
@click.argument("target", metavar="URL|MODULE:TARGET")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False), metavar="FILE", help="Write to this file, not to stdout."
)
@click.option("--check", type=click.Path(dir_okay=False, exists=True), metavar="FILE", help="Compare with this file.")
@click.option("--address", metavar="URL", help="Address that the client calls; by default URL, or local://.")
@click.option("--debug", is_flag=True, help="Show the traceback if a module cannot be imported.")
@client_options
def stub(target: str, output: str | None, check: str | None, address: str | None, debug: bool, **client: Any) -> None:
    """Write a Python module that calls the functions of a portal, with types for checkers.

    URL is the base address of a portal, such as http://127.0.0.1:8080/api, or the address of a service. A URL
    without a path is completed with /api. MODULE:TARGET names a function or a service, and starts nothing.

    With --check the command exits with 1 if FILE is not what it would write. Addresses may differ, so that a
    MODULE:TARGET can be compared with a client of its server, unless --address is given. Run it in CI.
    """
    with reported(False):
        if "://" in target:
            target = completed(target)
            with connected(target, **client) as consumer:
                found = _of_server(consumer, target)
        else:
            with redirect_stdout(sys.stderr):  # a module may print
                found = _of_targets(load_all([target], debug))
    functions, descriptions, base = found
    text = _text(functions, descriptions, address or base)
    if check is not None:
        _compare(Path(check), text, has_address=address is not None)
    elif output is None:
        echo(text.rstrip("\n"))
    else:
        _write(output, text)


def _text(functions: list[Published], descriptions: Mapping[str, str], base: str) -> str:
    from ...address import Address
    from .module import client_module

    services = {one.service for one in functions}
    address = Address.parse(base) if base != "local://" else None
    if address is not None and services and "" not in services and address.segments[-1:] == (min(services),):
        addresses = {min(services): str(address)}  # the address of the service itself
    elif address is None:
        addresses = {name: f"local://{name}" for name in services}
    else:
        addresses = {name: str(address.child(name) if name else address) for name in services}
    return client_module(functions, addresses, descriptions)


def _of_server(consumer: Consumer, target: str) -> tuple[list[Published], dict[str, str], str]:
    from ...address import Address
    from ...errors import ProtocolError

    base = Address.parse(target)
    found = consumer.list_at(base)
    rows = [row for row in found["functions"] if isinstance(row, dict)]
    descriptions: dict[str, str] = {}
    if "state" in found:
        descriptions[str(found.get("name"))] = str(found.get("description", ""))
    schemas: list[tuple[str, FunctionSchema]] = []
    for row in rows:
        service, name, version = row.get("service"), row.get("name"), row.get("version")
        if not isinstance(name, str) or not isinstance(version, str):
            raise ProtocolError("each function of a listing must be an object with a name and a version")
        inside = () if "state" in found or not isinstance(service, str) else (service,)
        if inside and service not in descriptions:
            of_service = consumer.list_at(base.child(*inside))
            descriptions[str(service)] = str(of_service.get("description", ""))
        schemas.append((service or "", consumer.resolve(base.child(*inside, f"{name}@{version}")).schema))
    return list(_newest_first(schemas)), descriptions, str(base)


def _of_targets(targets: list[Target]) -> tuple[list[Published], dict[str, str], str]:
    from ...function import Function

    schemas: list[tuple[str, FunctionSchema]] = []
    descriptions: dict[str, str] = {}
    for target in targets:
        service = service_of(target, described=True)
        if service is None:
            schemas.append(("", Function.of(target.value).schema))
            continue
        descriptions[service.name] = service.description
        schemas += [(service.name, member.schema) for member in service.functions.values()]
    return list(_newest_first(schemas)), descriptions, "local://"


def _newest_first(schemas: Iterable[tuple[str, FunctionSchema]]) -> Iterable[Published]:
    """Yield what is published; the newest version of a function has the plain name."""
    from packaging.version import Version

    from .module import Published

    seen: set[tuple[str, str]] = set()
    for service, schema in sorted(schemas, key=lambda row: Version(row[1].version), reverse=True):
        is_newest = (service, schema.name) not in seen
        seen.add((service, schema.name))
        yield Published(schema, service, schema.name if is_newest else f"{schema.name}@{schema.version}")


def _compare(path: Path, text: str, *, has_address: bool) -> None:
    present = path.read_text(encoding="utf-8")
    if not has_address:
        text = _with_addresses_of(present, text)
    if present == text:
        echo(f"{path} is up to date")
        return
    lines = difflib.unified_diff(present.splitlines(), text.splitlines(), str(path), "portal stub", lineterm="")
    echo("\n".join(lines))
    echo(f"error: {path} is out of date; write it again with portal stub", err=True)
    raise SystemExit(FAILED)


def _with_addresses_of(present: str, text: str) -> str:
    """Return the text of a module with the addresses of another one, class by class."""
    known = dict(_ADDRESS.findall(present))
    return _ADDRESS.sub(lambda found: found[0].replace(str(found[2]), known.get(str(found[1]), str(found[2]))), text)


def _write(output: str, text: str) -> None:
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.BadParameter(f"cannot write {output}: {error.strerror}", param_hint="--output") from error
