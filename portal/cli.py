"""The command `portal`: serve functions, call them, describe them, list them.

What a person reads of an error goes to stderr: `error: ...`, and one line for each fault. Where the output is JSON the
error is too: one line on stderr, as `PortalError.to_dict()` gives it. The exit codes are in `portal --help`.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import queue
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, NoReturn

import click

from . import __version__

if TYPE_CHECKING:
    from .errors import PortalError
    from .portal import Portal
    from .schema import FunctionSchema

__all__ = ["main"]

FAILED, MISUSED, REFUSED, NOT_FOUND, UNREACHABLE = range(1, 6)
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


def _exit_code(error: PortalError) -> int:
    from . import errors

    if isinstance(error, errors.RegistryError) and error.kind == "not_found":
        return NOT_FOUND
    if isinstance(error, errors.ValidationError | errors.AddressError | errors.RegistryError):
        return REFUSED
    if isinstance(error, errors.ConfigError):
        return MISUSED
    unreachable = errors.CallTimeout | errors.TransportError | errors.OverloadedError | errors.CircuitOpenError
    return UNREACHABLE if isinstance(error, unreachable) else FAILED


@contextmanager
def _reported(as_json: bool, unreachable: int = UNREACHABLE) -> Iterator[None]:
    """Turn a portal error into lines on stderr and an exit code; `unreachable` is the one for a failed connection."""
    from .errors import PortalError

    try:
        yield
    except PortalError as error:
        if as_json:
            click.echo(json.dumps(error.to_dict(), ensure_ascii=False), err=True)
        else:
            for line in _lines(error):
                click.echo(line, err=True)
        code = _exit_code(error)
        raise SystemExit(unreachable if code == UNREACHABLE else code) from error


def _lines(error: PortalError) -> Iterator[str]:
    faults = getattr(error, "errors", ())
    if not faults:
        yield f"error: {type(error).__name__}: {error}"
        return
    yield f"error: {type(error).__name__}: {len(faults)} fault{'s' if len(faults) > 1 else ''}"
    for fault in faults:
        yield f"  {fault.path or '(the whole value)'}: {fault.message}"


@main.command()
@click.argument("targets", nargs=-1, required=True, metavar="MODULE:TARGET...")
@click.option("--http", "where", default="127.0.0.1:8080", show_default=True, metavar="HOST:PORT", help="0: any port.")
@click.option("--debug", is_flag=True, help="Tell clients what a function raised; show tracebacks here.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line with the addresses when ready.")
def serve(targets: tuple[str, ...], where: str, debug: bool, as_json: bool) -> None:
    """Publish functions, services or portals until SIGTERM or SIGINT.

    A TARGET is a Function, a plain callable with type hints, a Service, a @service class or instance, or a Portal. The
    current directory can be imported from. The first signal lets running calls finish; a second one ends at once.
    """
    from .http import HTTPPortal

    host, port = _host_and_port(where)
    sys.path.insert(0, os.getcwd())
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level="DEBUG" if debug else "INFO")
    with _reported(as_json, unreachable=FAILED), ExitStack() as stack:
        portals = _publish([_load(target, debug) for target in targets], HTTPPortal(host, port, debug=debug), stack)
        stop = _stop_signals()
        for portal in portals:
            portal.start()
        _announce(portals, as_json)
        stop.get()


def _stop_signals() -> queue.SimpleQueue[int]:
    """A queue that the first SIGTERM or SIGINT is put on; the second does what it does by default.

    A SimpleQueue because its `put` may interrupt its own `get`: a handler runs in the thread that waits.
    """
    signals = (signal.SIGTERM, signal.SIGINT)
    stop: queue.SimpleQueue[int] = queue.SimpleQueue()

    def note(number: int, frame: object) -> None:
        for each in signals:
            signal.signal(each, signal.SIG_DFL)
        stop.put(number)

    for each in signals:
        signal.signal(each, note)
    return stop


def _host_and_port(where: str) -> tuple[str, int]:
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


@main.command()
@click.argument("address")
@click.argument("arguments", nargs=-1, metavar="[NAME=VALUE | NAME:=JSON]...")
@click.option("--json", "text", metavar="OBJECT", help="All parameters as one JSON object; - reads it from stdin.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="For the whole call.")
@click.option("--output", type=click.Choice(["pretty", "json"]), default="pretty", show_default=True)
def call(address: str, arguments: tuple[str, ...], text: str | None, timeout: float | None, output: str) -> None:
    """Call the function at ADDRESS and print its result; of a stream, one line an item.

    NAME=VALUE gives VALUE as JSON where it is JSON and the parameter is no string; else as text. NAME:=JSON is always
    JSON.
    """
    if text is not None and arguments:
        raise click.UsageError("give parameters one by one or with --json, not both")
    given = None if text is None else _object(sys.stdin.read() if text == "-" else text)
    with _reported(output == "json"), _connected(timeout) as consumer:
        schema = consumer.resolve(address).schema
        params = _params(arguments, schema) if given is None else given
        if schema.streaming:
            for item in consumer.stream_at(address, params):
                click.echo(json.dumps(item, ensure_ascii=False))
                sys.stdout.flush()
        else:
            _print_json(consumer.call_at(address, params), pretty=output == "pretty")


@contextmanager
def _connected(timeout: float | None = None) -> Iterator[Any]:
    """A Consumer for one command, all of whose calls share one deadline."""
    from .consumer import Consumer
    from .context import CallContext

    limit = nullcontext() if timeout is None else CallContext.for_call(timeout).active()
    with Consumer() as consumer, limit:
        yield consumer


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
def describe(address: str, as_json: bool) -> None:
    """Show the contract of the function at ADDRESS: parameters, result, examples."""
    with _reported(as_json), _connected() as consumer:
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
def list_(url: str, as_json: bool) -> None:
    """List what the server at URL publishes; without a path, URL means its /api."""
    from urllib.parse import urlsplit

    base = f"{url}/api" if "://" in url and not urlsplit(url).path else url
    with _reported(as_json), _connected() as consumer:
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
