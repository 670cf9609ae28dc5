"""`portal describe` and `portal list`: show what a server publishes. `portal explain`: show what a call would do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from .completion import AddressParameter
from .connect import client_options, completed, connected
from .errors import reported
from .output import echo, echo_json, echo_table, one_line

if TYPE_CHECKING:
    from ..consumer import Consumer
    from ..schema import FunctionSchema

__all__ = ["describe", "echo_schema", "explain", "list_", "type_text"]


@click.command("list")
@click.argument("url")
@click.option("--json", "as_json", is_flag=True, help="Print the full listing as one line of JSON.")
@client_options
def list_(url: str, as_json: bool, **client: Any) -> None:
    """List the functions and topics that the server at URL publishes.

    A URL without a path is completed with /api, or with /ws at ws:// and wss://.
    """
    base = completed(url)
    with reported(as_json), connected(base, **client) as consumer:
        _echo_listing(consumer.list_at(base), as_json)


def _rows(listing: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the address and description of each function and topic of a listing. Raises: ProtocolError."""
    topics = [_listed(row, "topic") for row in _list(listing.get("topics"))]
    return [_listed(row) for row in listing["functions"]] + topics


def _listed(row: Any, kind: str = "function") -> tuple[str, ...]:
    """Return the address and the first line of the description of a row of a listing. Raises: ProtocolError."""
    from ..errors import ProtocolError

    if not isinstance(row, Mapping) or not isinstance(row.get("address"), str):
        raise ProtocolError(f"each {kind} of a listing must be an object with an address")
    text = one_line(str(row.get("description", "")).partition("\n")[0])
    return one_line(row["address"]), text if kind == "function" else f"({kind}) {text}".rstrip()


@click.command(short_help="Show the parameters and result of a function, or list the functions of a service.")
@click.argument("address", type=AddressParameter())
@click.option("--json", "as_json", is_flag=True, help="Print the full schema as one line of JSON.")
@client_options
def describe(address: str, as_json: bool, **client: Any) -> None:
    """Show the parameters, result and examples of the function at ADDRESS.

    At the address of a service or a server, it lists the functions.
    """
    from ..errors import RegistryError

    with reported(as_json), connected(address, **client) as consumer:
        try:
            schema = consumer.resolve(address).schema
        except RegistryError as error:
            listing = _listing_at(consumer, completed(address))
            if listing is None:
                raise error
            _echo_listing(listing, as_json)
            return
        if as_json:
            echo_json(schema.to_dict())
        else:
            echo_schema(schema)


def _listing_at(consumer: Consumer, address: str) -> Mapping[str, Any] | None:
    """Return the listing of the service or server at an address, or None."""
    from ..errors import RegistryError

    try:
        return consumer.list_at(address)
    except RegistryError:
        return None


def _echo_listing(listing: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        echo_json(listing)
    elif "state" in listing:
        _echo_service(listing)
    else:
        echo_table(_rows(listing))


def _echo_service(service: Mapping[str, Any]) -> None:
    echo(one_line(f"{service.get('name')}  version {service.get('version', '1')}, a service"))
    if description := service.get("description"):
        echo(str(description))
    rows = _rows(service)
    echo("functions:" if rows else "functions: none")
    echo_table(rows)


@click.command(short_help="Show what a call would do, without a call.")
@click.argument("addresses", nargs=-1, required=True, metavar="ADDRESS...")
@click.option("--balance", default="round_robin", show_default=True, help="How one of several addresses is picked.")
@click.option("--transports", metavar="SCHEMES", help="Schemes to use, the preferred one first, such as ws,http.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
@client_options
def explain(addresses: tuple[str, ...], balance: str, transports: str | None, as_json: bool, **client: Any) -> None:
    """Show which of the ADDRESSes a call would go to, and why.

    Several addresses are equal instances of one function. No server is contacted, so the answer holds for a process
    that has made no call yet.
    """
    from ..resilience.policy import Policy

    with reported(as_json), connected(addresses[0], **client) as consumer:
        order = None if transports is None else tuple(transports.split(","))
        policy = Policy(balance=balance, transports=order)
        found = consumer.explain(addresses if len(addresses) > 1 else addresses[0], policy=policy)
        if as_json:
            echo_json(found.to_dict())
        else:
            echo(str(found))


def echo_schema(schema: FunctionSchema) -> None:
    """Print a function's schema for people."""
    flags = [name for name in ("idempotent", "cacheable", "streaming", "deprecated") if getattr(schema, name)]
    echo(one_line(f"{schema.name}  version {schema.version}" + "".join(f", {flag}" for flag in flags)))
    if schema.description:
        echo(schema.description)
    required = _required(schema.input)
    parts = _mapping(schema.input.get("properties"))
    rows = [_parameter_row(name, part, name in required) for name, part in parts.items()]
    echo("parameters:" if rows else "parameters: none")
    echo_table(rows)
    echo(f"{'each item' if schema.streaming else 'returns'}: {one_line(type_text(schema.output))}")
    echo_table([("raises:", one_line(row["code"]), one_line(row["description"])) for row in schema.raises])
    for example in schema.examples:
        echo(f"example: {json.dumps(example, ensure_ascii=False)}")


def _parameter_row(name: str, part: Any, is_required: bool) -> tuple[str, ...]:
    details = _mapping(part)
    default = "required" if is_required else f"default {json.dumps(details.get('default'), ensure_ascii=False)}"
    return one_line(name), one_line(type_text(part)), default, str(details.get("description", ""))


def _mapping(value: Any) -> Mapping[str, Any]:
    """Return a part of a schema that is an object; an empty one where the server sent something else."""
    return value if isinstance(value, Mapping) else {}


def _required(schema: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(name for name in _list(schema.get("required")) if isinstance(name, str))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


_CONSTRAINTS = (
    *("format", "pattern", "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"),
    *("minLength", "maxLength", "minItems", "maxItems"),
)


def type_text(schema: Any) -> str:
    """Return a schema's type and constraints in a few words, or the name of the schema that it refers to."""
    if not isinstance(schema, Mapping) or not schema:
        return "anything"
    if schema.get("x-file") in ("file", "bytes"):
        return str(schema["x-file"])
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    alternatives = _list(schema.get("anyOf")) or _list(schema.get("oneOf"))
    if alternatives:
        return " or ".join(type_text(alternative) for alternative in alternatives)
    if "enum" in schema:
        return " or ".join(json.dumps(value, ensure_ascii=False) for value in _list(schema["enum"]))
    kind = schema.get("type", "anything")
    text = " or ".join(map(str, kind)) if isinstance(kind, list) else str(kind)
    if "items" in schema:
        text += f" of {type_text(schema['items'])}"
    if "properties" in schema:
        required = _required(schema)
        names = (name if name in required else f"{name}?" for name in _mapping(schema["properties"]))
        text += f" {{{', '.join(names)}}}"
    constraints = (f"{name} {schema[name]}" for name in _CONSTRAINTS if name in schema)
    return ", ".join([text, *constraints])
