"""`portal call`: call a function and print its result."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import click

from ..completion import AddressParameter
from ..connect import client_options, connected
from ..errors import reported
from ..inputs import is_input, read_bytes, read_input
from ..output import OutputError, echo_json
from .files import OUTPUT, check_output, file_type, write_file

if TYPE_CHECKING:
    from ...schema import FunctionSchema

__all__ = ["call", "parse_arguments", "parse_json", "parse_object"]

_MAX_ALTERNATIVES = 1000

_EXAMPLES = """\b
Examples:
  portal call http://127.0.0.1:8080/api/orders/add a=1 b=2
  portal call http://127.0.0.1:8080/api/orders/add '{"a": 1, "b": 2}' --json
  portal call http://127.0.0.1:8080/api/orders/price @order.json
  portal call http://127.0.0.1:8080/api/notes/add text=@note.txt
  portal call http://127.0.0.1:8080/api/orders/history customer=ann --timeout 5
  portal call http://127.0.0.1:8080/api/orders/invoice number=7 --output invoice.pdf
"""


@click.command(epilog=_EXAMPLES)
@click.argument("address", type=AddressParameter())
@click.argument("arguments", nargs=-1, metavar="[NAME=VALUE | NAME:=JSON]... | OBJECT")
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Time limit of the whole call."
)
@click.option(
    "--idempotency-key", metavar="KEY", help="Run the call only once for this key. The server must use Idempotency."
)
@click.option(
    OUTPUT,
    "-o",
    "output",
    metavar="FILE",
    help="Write the content of a file that the function returns to FILE; - is stdout, unless it is a terminal.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result, or the error, as one line of JSON.")
@client_options
def call(
    address: str,
    arguments: tuple[str, ...],
    timeout: float | None,
    idempotency_key: str | None,
    output: str | None,
    as_json: bool,
    **client: Any,
) -> None:
    """Call the function at ADDRESS and print its result.

    NAME=VALUE passes VALUE as JSON if it is valid JSON and the parameter does not accept strings. Otherwise VALUE is
    a string. NAME:=JSON is always JSON. VALUE and JSON may be @FILE or - (stdin). A parameter that is a file takes
    the content of @FILE or stdin as it is; a list of files takes NAME=@FILE several times. OBJECT is one JSON object
    with all parameters, also as @FILE or -. A stream prints one item per line.

    A result that is a file is written to --output, or to stdout if that is a pipe or a file. A terminal shows its name,
    type and size instead. With --json and without --output it is JSON with base64.
    """
    given = _given_object(arguments)
    with reported(as_json), connected(address, timeout, **client) as consumer:
        schema = consumer.resolve(address).schema
        params = parse_arguments(arguments, schema) if given is None else given
        if output is not None:
            check_output(output, schema)
        returns = None if as_json and output is None else file_type(schema)
        try:
            if schema.streaming:
                for item in consumer.stream_at(address, params):
                    echo_json(item)
            elif returns is not None:
                file = consumer.call_at(address, params, idempotency_key=idempotency_key, returns=returns)
                write_file(file, output)
            else:
                echo_json(consumer.call_at(address, params, idempotency_key=idempotency_key), pretty=not as_json)
        except OutputError as error:
            raise OutputError(f"the function was called, but {error.message}") from error


def _given_object(arguments: tuple[str, ...]) -> dict[str, Any] | None:
    """Return the parameters if one argument has all of them. Raises: click.UsageError; click.BadParameter."""
    whole = [one for one in arguments if one == "-" or one.startswith(("{", "@"))]
    if whole and len(arguments) > 1:
        raise click.UsageError(f"pass parameters as NAME=VALUE or as one object, not both; got {whole[0][:40]}")
    return parse_object(read_input(whole[0], "OBJECT"), "OBJECT") if whole else None


def parse_arguments(arguments: Iterable[str], schema: FunctionSchema) -> dict[str, Any]:
    """Return the parameters that NAME=VALUE and NAME:=JSON stand for. Raises: click.BadParameter."""
    params: dict[str, Any] = {}
    kinds = dict(schema.transfer.files) if schema.transfer is not None else {}
    lists = schema.transfer.lists if schema.transfer is not None else frozenset()
    from_stdin = 0
    for argument in arguments:
        left, equals, text = argument.partition("=")
        name = left.removesuffix(":")
        if not equals or not name:
            raise click.BadParameter(f"must be NAME=VALUE or NAME:=JSON, got {argument}", param_hint="NAME=VALUE")
        is_file = name in kinds and not left.endswith(":") and (name not in lists or is_input(text))
        if name in params and not (is_file and name in lists):
            raise click.BadParameter(f"{name} is passed twice", param_hint="NAME=VALUE")
        from_stdin += text == "-"
        if from_stdin > 1:
            raise click.BadParameter("stdin can be read once", param_hint=argument)
        if is_file:
            file = _file_value(text, name, kinds[name], argument)
            params[name] = [*params.get(name, ()), file] if name in lists else file
            continue
        text = read_input(text, argument)
        params[name] = parse_json(text, argument) if left.endswith(":") else _parse_value(text, name, schema.input)
    return params


def _file_value(text: str, name: str, kind: str, hint: str) -> Any:
    """Return the JSON data of a file: its content in base64, and for a File its name and media type."""
    if not is_input(text):
        if kind == "bytes":  # base64
            return text
        raise click.BadParameter(f"{name} is a file; pass it as {name}=@FILE, or {name}=- for stdin", param_hint=hint)
    data = b64encode(content := read_bytes(text, hint)).decode()
    if kind == "bytes":
        return data
    from ...schema import File

    file = File(content, name=None if text == "-" else os.path.basename(text[1:]))
    return {"data": data, "type": file.type} | ({} if file.name is None else {"name": file.name})


def _parse_value(text: str, name: str, schema: Mapping[str, Any]) -> Any:
    properties = schema.get("properties")
    if isinstance(properties, Mapping) and _accepts_strings(properties.get(name), schema):
        return text
    try:
        return _strict_json(text)
    except ValueError:
        return text


def parse_object(text: str, hint: str) -> dict[str, Any]:
    """Return the object that a text is. Raises: click.BadParameter, which names the option `hint`."""
    value = parse_json(text, hint)
    if not isinstance(value, dict):
        raise click.BadParameter(f"must be a JSON object, got {type(value).__name__}", param_hint=hint)
    return value


def parse_json(text: str, hint: str) -> Any:
    """Return the value of JSON text. Raises: click.BadParameter, which names the option or argument `hint`."""
    try:
        return _strict_json(text)
    except ValueError as error:
        raise click.BadParameter(f"not valid JSON: {error}", param_hint=hint) from None


def _strict_json(text: str) -> Any:
    """Parse JSON without NaN and Infinity (RFC 8259). Raises: ValueError."""

    def reject(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not JSON")

    try:
        return json.loads(text, parse_constant=reject)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _accepts_strings(schema: Any, root: Mapping[str, Any]) -> bool:
    """Return whether a schema, one of its alternatives or the target of its `$ref` accepts strings.

    The server chooses the schema: each definition is looked at once, and `_MAX_ALTERNATIVES` schemas in all.
    """
    definitions, pending = root.get("$defs"), [schema]
    seen: set[str] = set()
    for _ in range(_MAX_ALTERNATIVES):
        if not pending:
            return False
        one = pending.pop()
        if not isinstance(one, Mapping):
            continue
        kind = one.get("type")
        if kind == "string" or (isinstance(kind, list) and "string" in kind):
            return True
        if any(isinstance(value, str) for value in [one.get("const"), *_list(one.get("enum"))]):
            return True
        pending += [*_list(one.get("anyOf")), *_list(one.get("oneOf"))]
        name = str(one.get("$ref", "")).removeprefix("#/$defs/")
        if name not in seen and isinstance(definitions, Mapping):
            seen.add(name)
            pending.append(definitions.get(name))
    return False


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
