"""The OpenAPI document of the functions that a portal publishes over HTTP.

It describes exactly what the server does: which parameters it rejects, which statuses it returns, and their content.
Portals that publish the same functions have the same document, byte for byte.

Sources: OpenAPI Specification 3.1.1; RFC 9457 (problem details).
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any
from urllib.parse import quote

from ...catalogue import Entry
from ...jsonrpc.methods import method_names
from ...network.problem import PROBLEM
from ...schema import FunctionSchema
from ...schema.bundle.bundle import SchemaBundle
from ...schema.documentation.examples import examples_by_type
from ...service import Service
from ..messages.event_stream import EVENTS, JSON, NDJSON
from .declared_errors import declared_responses
from .openapi_parts import (
    ABOUT,
    HEADERS,
    PARAMETERS,
    REASONS,
    SCHEMAS,
    problem_headers,
    rpc_operation,
    security_schemes,
)
from .openapi_parts import response_headers as _headers
from .problem_examples import problem_example
from .request_content import BINARY, header_parameters, request_content

__all__ = ["VERSION", "openapi_document", "openapi_paths"]

#: Version of the OpenAPI Specification.
VERSION = "3.1.1"

#: The tag of the GETs. Each function has one, and few readers look for it, so they stand apart from the calls.
_SCHEMAS = "schemas"
_FUNCTIONS = "functions"  # the tag of functions without a service or a tag

_THIS_SERVER = {"url": "/", "description": "The server that has this document."}

_CALL_STATUSES = (400, 401, 403, 404, 408, 413, 415, 422, 429, 500, 502, 503, 504)
_GET_STATUSES = (400, 401, 403, 404, 408, 429, 500, 503)


def openapi_document(
    entries: Iterable[Entry],
    services: Mapping[str, Service] | Iterable[Service] = (),
    *,
    base_path: str = "/api",
    servers: Iterable[str | Mapping[str, Any]] = (),
    title: str = "Portal",
    version: str = "1",
    description: str = "",
    authenticators: Iterable[Any] = (),
    rpc: bool = True,
    timeout_header: bool = False,
) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of published functions, as JSON data.

    Args:
        entries: what is published, from a Catalogue.
        services: the published services, for the descriptions of tags.
        base_path: "" or "/api".
        servers: URLs without the base path, or Server Objects. Without any it is the server that has the document.
        title, version, description: of the document.
        authenticators: of the portal. Each is an instance of one of Portal's classes or has a `security_scheme`, a
            tuple of a name and a Security Scheme Object. Others, such as plain functions, are left out.
        rpc: whether `{base_path}/rpc` takes JSON-RPC.
        timeout_header: whether X-Portal-Timeout is a parameter of each call, for generated clients. Otherwise only the
            description mentions it. A tool that tries all values gets 504 for small ones.
    """
    from apispec import APISpec

    schemes = security_schemes(authenticators)
    parameters = {
        name: parameter for name, parameter in PARAMETERS.items() if timeout_header or name != "PortalTimeout"
    }
    options: dict[str, Any] = {"info": {"description": f"{description}\n\n{ABOUT}".strip()}}
    urls = [{"url": one} if isinstance(one, str) else dict(one) for one in servers]
    options["servers"] = urls or [_THIS_SERVER]
    options["security"] = [{name: []} for name in schemes]
    spec = APISpec(title=title, version=version, openapi_version=VERSION, **options)
    for name, scheme in schemes.items():
        spec.components.security_scheme(name, scheme)
    bundle = SchemaBundle()
    for name, schema in SCHEMAS.items():
        if rpc or not name.startswith("RPC"):
            bundle.add(name, schema)
    published = openapi_paths(entries, base_path)
    for path, operations in _operations(published, bundle, list(parameters)):
        spec.path(path, operations=operations)
    rpc_path = f"{base_path}/rpc"
    if rpc and rpc_path not in published:  # otherwise a published function has that path
        operation = rpc_operation(*_rpc_example(published.values())) | {"responses": _rpc_responses()}
        spec.path(rpc_path, operations={"post": operation})
    for name, parameter in parameters.items():
        spec.components.parameter(name, "header", parameter)
    for name, header in HEADERS.items():
        spec.components.header(name, header)
    streams = any(entry.function.schema.streaming for entry in published.values())
    for status in sorted({*_CALL_STATUSES, *_GET_STATUSES, *([406] if streams else [])}):
        spec.components.response(f"Problem{status}", _problem_response(status))
    for tag in _tags(published.values(), services, rpc):
        spec.tag(tag)
    document: dict[str, Any] = spec.to_dict()
    document["components"]["schemas"] = bundle.schemas  # apispec would take a schema that is not a dict for a name
    return document


def openapi_paths(entries: Iterable[Entry], base_path: str) -> dict[str, Entry]:
    """Return the entries by path, in order.

    The newest version of a function has the plain path, and the others have `path@version`.
    """
    from packaging.version import Version

    ordered = sorted(entries, key=lambda entry: Version(entry.function.schema.version), reverse=True)
    found: dict[str, Entry] = {}
    for entry in sorted(ordered, key=lambda entry: entry.path):
        path = base_path + "".join("/" + quote(segment, safe="") for segment in entry.path)
        if path in found:
            path += "@" + quote(entry.function.schema.version, safe="!+")
        found[path] = entry
    return found


def _operations(
    published: Mapping[str, Entry], bundle: SchemaBundle, parameters: list[str]
) -> Iterable[tuple[str, dict[str, Any]]]:
    taken: set[str] = {"call_json_rpc"}
    for path, entry in published.items():
        name = _operation_id(entry, taken, newest="@" not in path.rpartition("/")[2])
        # a stream takes no idempotency key, as its response is not stored
        wanted = [one for one in parameters if one != "IdempotencyKey" or not entry.function.schema.streaming]
        call = _call(entry, name, bundle) | {"parameters": [*wanted, *header_parameters(entry.function.schema)]}
        yield path, {"post": call, "get": _description(entry, name)}


def _operation_id(entry: Entry, taken: set[str], newest: bool) -> str:
    """Return a unique name that is valid in all languages of code generators. The GET gets `describe_` before it."""
    parts = [*entry.path] if newest else [*entry.path, "v" + entry.function.schema.version]
    base = re.sub("[^A-Za-z0-9]+", "_", "_".join(parts)).strip("_")
    if not base[:1].isalpha():
        base = f"function_{base}".rstrip("_")
    name, number = base, 2
    while {name.lower(), f"describe_{name}".lower()} & taken:
        name = f"{base}_{number}"
        number += 1
    taken |= {name.lower(), f"describe_{name}".lower()}
    return name


def _call(entry: Entry, name: str, bundle: SchemaBundle) -> dict[str, Any]:
    function = entry.function
    schema = function.schema
    content = request_content(
        schema,
        lambda found: bundle.add_component(f"{name}_input", found, formats=function.parameters.schema.formats),
        _examples(schema.examples, "input") or examples_by_type(schema.input_schema),
    )
    statuses = {*_CALL_STATUSES, 406} if schema.streaming else {*_CALL_STATUSES}
    operation: dict[str, Any] = {
        "operationId": name,
        "tags": [_group(entry)],
        **_words(schema.description or f"Call {schema.name}.", _flags(schema)),
        # The server takes an empty body for an empty object. Generated clients have optional bodies after the headers.
        "requestBody": {"required": True, "content": content},
        "responses": {
            200: _stream_response(entry, name, bundle) if schema.streaming else _response(entry, name, bundle),
            **{status: f"Problem{status}" for status in sorted(statuses)},
            **declared_responses(schema.raises, name, bundle),
        },
        "x-version": schema.version,
        "x-fingerprint": schema.fingerprint,
        "x-idempotent": schema.idempotent,
        "x-cacheable": schema.cacheable,
        "x-streaming": schema.streaming,
    }
    if schema.tags:
        operation["x-tags"] = list(dict.fromkeys(schema.tags))
    if schema.timeout is not None:
        operation["x-timeout"] = schema.timeout
    if schema.deprecated:
        operation["deprecated"] = True
    return operation


def _words(text: str, more: str) -> dict[str, str]:
    """Return the first line of a text as the summary, and the rest of it with `more` as the description."""
    first, _, rest = text.strip().partition("\n")
    words = {"summary": first.strip()} if first else {}
    return words | {"description": f"{rest.strip()}\n\n{more}".strip()}


def _flags(schema: FunctionSchema) -> str:
    """Return one line about the version, the flags and the timeout of a function."""
    flags = [name for name in ("idempotent", "cacheable", "streaming") if getattr(schema, name)]
    limit = [] if schema.timeout is None else [f"at most {schema.timeout:g} s"]
    return f"{', '.join([f'Version {schema.version}', *flags, *limit])}."


def _examples(examples: Iterable[Mapping[str, Any]], member: str) -> dict[str, Any]:
    return {
        f"example{number}": {"value": example[member]}
        for number, example in enumerate(examples, 1)
        if member in example
    }


def _response(entry: Entry, name: str, bundle: SchemaBundle) -> dict[str, Any]:
    schema = entry.function.schema
    if schema.transfer is not None and schema.transfer.result:
        file = {"application/octet-stream": {"schema": BINARY}}
        return {"description": "The file.", "headers": _headers("X-Request-ID"), "content": file}
    content: dict[str, Any] = {"schema": _output(entry, name, bundle)}
    examples = _examples(schema.examples, "output") or examples_by_type(schema.output_schema)
    if examples:
        content["examples"] = examples
    return {"description": "The result.", "headers": _headers("X-Request-ID"), "content": {JSON: content}}


def _output(entry: Entry, name: str, bundle: SchemaBundle) -> dict[str, Any]:
    function = entry.function
    place = bundle.add_component if "properties" in function.schema.output else bundle.inline
    exact = function.validate_output == "error" and function.output.formats
    return place(f"{name}_output", function.schema.output, formats=exact)


def _stream_response(entry: Entry, name: str, bundle: SchemaBundle) -> dict[str, Any]:
    # OpenAPI 3.1 cannot describe the items of a stream; 3.2 has itemSchema.
    item = _output(entry, name, bundle)
    lines = 'One item per line, as JSON. After an error, the last line is `{"problem": ...}` and the body is cut off.'
    events = "One event per item, with the item as JSON. The last event is `complete`, or `error` with a problem."
    shown = [example["output"] for example in entry.function.schema.examples if isinstance(example.get("output"), list)]
    example = {"example": "".join(f"{json.dumps(one, ensure_ascii=False)}\n" for one in shown[0])} if shown else {}
    return {
        "description": "The items, each sent as soon as it is available.",
        "headers": _headers("X-Request-ID"),
        "content": {
            NDJSON: {"schema": {"type": "string", "description": lines}, "x-itemSchema": item, **example},
            EVENTS: {"schema": {"type": "string", "description": events}, "x-itemSchema": item},
        },
    }


def _description(entry: Entry, name: str) -> dict[str, Any]:
    return {
        "operationId": f"describe_{name}",
        "tags": [_SCHEMAS],
        "summary": f"The schema of {entry.function.name}.",
        "description": "Its input and output, as JSON Schema, its version and its flags.",
        "parameters": ["RequestID"],
        "responses": {
            200: {
                "description": "The function's schema.",
                "headers": _headers("X-Request-ID"),
                "content": {JSON: {"schema": {"$ref": "#/components/schemas/FunctionSchema"}}},
            },
            **{status: f"Problem{status}" for status in _GET_STATUSES},
        },
    }


def _rpc_example(entries: Iterable[Entry]) -> tuple[str, Any] | tuple[()]:
    """Return the method and the parameters of the first function that has an example."""
    for name, entry in method_names(entries).items():
        schema = entry.function.schema
        for example in () if schema.streaming else schema.examples:
            if "input" in example:
                return name, example["input"]
    return ()


def _rpc_responses() -> dict[int, Any]:
    return {
        200: {
            "description": "One response, or a list of them for a batch. It includes the errors of calls.",
            "headers": _headers("X-Request-ID"),
            "content": {JSON: {"schema": {"$ref": "#/components/schemas/RPCReply"}}},
        },
        204: {"description": "The request held notifications only.", "headers": _headers("X-Request-ID")},
        **{status: f"Problem{status}" for status in (400, 401, 403, 408, 413, 415, 429, 500, 503)},
    }


def _problem_response(status: int) -> dict[str, Any]:
    return {
        "description": REASONS[status],
        "headers": problem_headers(status),
        "content": {
            PROBLEM: {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "example": problem_example(status),
            }
        },
    }


def _group(entry: Entry) -> str:
    """Return the tag of an operation: its service, or else the first tag of the function.

    Pages and generated clients show an operation once for each tag, so it has one tag only.
    """
    return [*entry.path[:-1], *entry.function.schema.tags, _FUNCTIONS][0]


def _tags(
    entries: Collection[Entry], services: Mapping[str, Service] | Iterable[Service], rpc: bool
) -> list[dict[str, str]]:
    known = services.values() if isinstance(services, Mapping) else services
    words = {_SCHEMAS: "The input, output and flags of each function, as JSON.", _FUNCTIONS: "Functions of no service."}
    if rpc:
        words["json-rpc"] = "Calls of all functions at one address."
    words |= {service.name: service.description for service in known if service.description}
    found = dict.fromkeys(_group(entry) for entry in entries)
    found |= dict.fromkeys(["json-rpc"] * rpc + [_SCHEMAS] * bool(entries))
    return [{"name": tag, "description": words.get(tag, f"The functions of {tag}.")} for tag in found]
