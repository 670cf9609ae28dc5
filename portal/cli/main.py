"""The command `portal`: call functions, describe them, list them; `cli_serve.py` serves them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, NoReturn

import click

from .. import __version__
from .errors import reported
from .openapi import openapi
from .portal import secret
from .serve import serve

if TYPE_CHECKING:
    from ..schema import FunctionSchema

__all__ = ["main"]

_EXIT_CODES = """\b
Exit codes:
  0  it worked
  1  the function or the server failed
  2  the command was used wrongly
  3  the input was refused (ValidationError, AddressError)
  4  there is no such function
  5  nobody answered: unreachable, overloaded or too late
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EXIT_CODES)
@click.version_option(__version__, prog_name="portal", message="%(prog)s %(version)s")
def main() -> None:
    """Publish Python functions and call them by address."""


main.add_command(serve)
main.add_command(openapi)


def _reaching(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that asks a server."""
    token = click.option(
        "--token", metavar="TOKEN", help="Bearer token that says who calls. $NAME takes it from the environment."
    )
    authority = click.option("--tls-ca", metavar="PEM", help="Authorities to trust over https, in place of the usual.")
    socket = click.option(
        "--socket", metavar="PATH", help="Unix socket to send to, whatever host ADDRESS or URL names."
    )
    return token(authority(socket(command)))


@main.command()
@click.argument("address")
@click.argument("arguments", nargs=-1, metavar="[NAME=VALUE | NAME:=JSON]...")
@click.option("--json", "text", metavar="OBJECT", help="All parameters as one JSON object; - reads it from stdin.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="For the whole call.")
@click.option("--idempotency-key", metavar="KEY", help="A server that keeps such keys runs the call once for each.")
@click.option("--output", type=click.Choice(["pretty", "json"]), default="pretty", show_default=True)
@_reaching
def call(
    address: str,
    arguments: tuple[str, ...],
    text: str | None,
    timeout: float | None,
    idempotency_key: str | None,
    output: str,
    **reach: Any,
) -> None:
    """Call the function at ADDRESS and print its result; of a stream, one line an item.

    NAME=VALUE gives VALUE as JSON where it is JSON and the parameter is no string; else as text. NAME:=JSON is always
    JSON.
    """
    if text is not None and arguments:
        raise click.UsageError("give parameters one by one or with --json, not both")
    given = None if text is None else _object(sys.stdin.read() if text == "-" else text)
    with reported(output == "json"), _connected(address, timeout, **reach) as consumer:
        schema = consumer.resolve(address).schema
        params = _params(arguments, schema) if given is None else given
        if schema.streaming:
            for item in consumer.stream_at(address, params):
                click.echo(json.dumps(item, ensure_ascii=False))
                sys.stdout.flush()
        else:
            _print_json(consumer.call_at(address, params, idempotency_key=idempotency_key), pretty=output == "pretty")


#: What errors advise a program to do, and what it is on the command line.
_ADVICE = {
    "auth= of the Consumer takes one": "--token takes one",
    "is its certificate from an authority that is trusted here?": "its certificate is of no authority that is trusted "
    "here; --tls-ca says whom to trust",
}


@contextmanager
def _connected(
    address: str, timeout: float | None = None, *, token: str | None, tls_ca: str | None, socket: str | None
) -> Iterator[Any]:
    """A Consumer for one command, all of whose calls share one deadline and go to one server."""
    from ..consumer import Consumer
    from ..context import CallContext
    from ..errors import PortalError
    from ..http import ClientTLS, HTTPClient, HTTPPortal

    auth = None if token is None else secret(token, "--token")
    limit = nullcontext() if timeout is None else CallContext.for_call(timeout).active()
    with Consumer(auth=auth) as consumer, limit, ExitStack() as stack:
        if tls_ca is not None or socket is not None:
            tls = None if tls_ca is None else ClientTLS(ca=tls_ca)
            sockets = None if socket is None else {_authority(address): socket}
            portal = HTTPPortal(client=HTTPClient(tls=tls, sockets=sockets))
            stack.callback(consumer.register_portal(portal).close)
        try:
            yield consumer
        except PortalError as error:
            for said, here in _ADVICE.items():
                error.message = error.message.replace(said, here)
            raise


def _authority(address: str) -> str:
    """The host, and port if there is one, that --socket stands in for."""
    from ..address import Address

    target = Address.parse(address)
    if target.scheme != "http":
        raise click.UsageError(f"--socket is for http:// addresses, such as http://localhost/api, and not for {target}")
    return target.authority


def _strict_json(text: str) -> Any:
    """JSON as RFC 8259 has it: no NaN, no Infinity; ValueError for what is none."""

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _given_json(text: str, hint: str) -> Any:
    try:
        return _strict_json(text)
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}", param_hint=hint) from None


def _object(text: str) -> dict[str, Any]:
    value = _given_json(text, "--json")
    if not isinstance(value, dict):
        raise click.BadParameter("a JSON object of parameters by name is wanted", param_hint="--json")
    return value


def _params(arguments: Iterable[str], schema: FunctionSchema) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for argument in arguments:
        left, equals, text = argument.partition("=")
        name = left.removesuffix(":")
        if not equals or not name:
            raise click.BadParameter(f"{argument} is not NAME=VALUE", param_hint="NAME=VALUE")
        if name in params:
            raise click.BadParameter(f"{name} is given twice", param_hint="NAME=VALUE")
        params[name] = _given_json(text, argument) if left.endswith(":") else _value(text, name, schema.input)
    return params


def _value(text: str, name: str, schema: Mapping[str, Any]) -> Any:
    if _takes_text(schema.get("properties", {}).get(name, {}), schema):
        return text
    try:
        return _strict_json(text)
    except ValueError:
        return text


def _takes_text(schema: Any, root: Mapping[str, Any], depth: int = 8) -> bool:
    """Whether a schema speaks of strings: itself, one of its alternatives, or what it refers to in `root`."""
    if not isinstance(schema, Mapping) or depth == 0:
        return False
    kind = schema.get("type")
    if kind == "string" or (isinstance(kind, list) and "string" in kind):
        return True
    if any(isinstance(value, str) for value in [schema.get("const"), *schema.get("enum", ())]):
        return True
    reference = str(schema.get("$ref", ""))
    alternatives = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    if reference.startswith("#/$defs/"):
        alternatives.append(root.get("$defs", {}).get(reference.removeprefix("#/$defs/")))
    return any(_takes_text(alternative, root, depth - 1) for alternative in alternatives)


def _print_json(value: Any, *, pretty: bool) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2 if pretty else None))


@main.command()
@click.argument("address")
@click.option("--json", "as_json", is_flag=True, help="The whole schema as one JSON line.")
@_reaching
def describe(address: str, as_json: bool, **reach: Any) -> None:
    """Show the contract of the function at ADDRESS: parameters, result, examples."""
    with reported(as_json), _connected(address, **reach) as consumer:
        schema = consumer.resolve(address).schema
        if as_json:
            _print_json(schema.to_dict(), pretty=False)
        else:
            _describe(schema)


def _describe(schema: FunctionSchema) -> None:
    flags = [name for name in ("idempotent", "cacheable", "streaming", "deprecated") if getattr(schema, name)]
    click.echo(f"{schema.name}  version {schema.version}" + "".join(f", {flag}" for flag in flags))
    if schema.description:
        click.echo(schema.description)
    required = schema.input.get("required", ())
    rows: list[tuple[str, ...]] = [
        (
            name,
            _type(part),
            "required" if name in required else f"default {json.dumps(part.get('default'), ensure_ascii=False)}",
            part.get("description", ""),
        )
        for name, part in schema.input.get("properties", {}).items()
    ]
    click.echo("parameters:" if rows else "parameters: none")
    _table(rows)
    click.echo(f"{'each item' if schema.streaming else 'returns'}: {_type(schema.output)}")
    for example in schema.examples:
        click.echo(f"example: {json.dumps(example, ensure_ascii=False)}")


_LIMITS = (
    *("format", "pattern", "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"),
    *("minLength", "maxLength", "minItems", "maxItems"),
)


def _type(schema: Any) -> str:
    """A schema in a few words: its type and limits; the name of what it refers to."""
    if not isinstance(schema, Mapping) or not schema:
        return "anything"
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    alternatives = schema.get("anyOf") or schema.get("oneOf")
    if alternatives:
        return " or ".join(_type(alternative) for alternative in alternatives)
    if "enum" in schema:
        return " or ".join(json.dumps(value, ensure_ascii=False) for value in schema["enum"])
    kind = schema.get("type", "anything")
    text = " or ".join(kind) if isinstance(kind, list) else str(kind)
    if "items" in schema:
        text += f" of {_type(schema['items'])}"
    if "properties" in schema:
        required = schema.get("required", ())
        text += f" {{{', '.join(name if name in required else f'{name}?' for name in schema['properties'])}}}"
    limits = (f"{name} {schema[name]}" for name in _LIMITS if name in schema)
    return ", ".join([text, *limits])


@main.command("list")
@click.argument("url")
@click.option("--json", "as_json", is_flag=True, help="The server's whole answer as one JSON line.")
@_reaching
def list_(url: str, as_json: bool, **reach: Any) -> None:
    """List what the server at URL publishes; without a path, URL means its /api."""
    from urllib.parse import urlsplit

    base = f"{url}/api" if "://" in url and not urlsplit(url).path else url
    with reported(as_json), _connected(base, **reach) as consumer:
        listing = consumer.list_at(base)
        if as_json:
            _print_json(listing, pretty=False)
        else:
            _table([(row["address"], row.get("description", "").partition("\n")[0]) for row in listing["functions"]])


def _table(rows: list[tuple[str, ...]]) -> None:
    """Columns of text, aligned; as wide as the terminal, or as the text asks for where the output is no terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 1000)
    with console.capture() as text:
        console.print(table)
    for line in text.get().splitlines() if rows else ():
        click.echo(line.rstrip())
