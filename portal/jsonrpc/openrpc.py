"""The OpenRPC document of the functions that a portal publishes. The method `rpc.discover` returns it.

Source: OpenRPC Specification 1.3.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..catalogue import Entry
from ..errors import PortalError, error_table
from ..schema.bundle.bundle import SchemaBundle
from ..schema.bundle.naming import add_titles, pascal_case
from ..schema.jsondata import copy_json
from ..schema.subschemas import walk
from .methods import method_names

__all__ = ["VERSION", "openrpc_document"]

#: Version of the OpenRPC Specification.
VERSION = "1.3.2"

_COMMON = ("ValidationError", "FunctionError", "AuthenticationError", "AuthorizationError", "RateLimitError")
_ERRORS = (*_COMMON, "CallTimeout", "OverloadedError")


def openrpc_document(
    entries: Iterable[Entry],
    *,
    title: str = "Portal",
    version: str = "1",
    server_url: str | None = None,
    description: str = "",
    streams: bool = False,
) -> dict[str, Any]:
    """Return the OpenRPC document of published functions as JSON data.

    The same functions give the same document on every portal. Methods have the names that `method_names` gives them.

    Args:
        entries: the published functions, from a Catalogue.
        title, version, description: of the document.
        server_url: the URL of the JSON-RPC endpoint, or None.
        streams: whether the endpoint can call streams; otherwise they are left out.
    """
    bundle = SchemaBundle()
    info = {"title": title, "version": version}
    if description:
        info["description"] = description
    document: dict[str, Any] = {"openrpc": VERSION, "info": info}
    if server_url is not None:
        document["servers"] = [{"name": title, "url": server_url}]
    document["methods"] = [
        _method(name, entry, bundle)
        for name, entry in method_names(entries).items()
        if streams or not entry.function.schema.streaming
    ]
    document["components"] = {"schemas": bundle.schemas, "errors": _errors()}
    _add_titles(document["methods"], bundle)
    for method in document["methods"]:
        for one in (*method["params"], method["result"]):
            _to_draft_7(one["schema"])
    for schema in bundle.schemas.values():
        _to_draft_7(schema)
    return document


def _add_titles(methods: list[dict[str, Any]], bundle: SchemaBundle) -> None:
    """Give each schema a title: generators make the names of types of them, and of hashes where there is none."""
    taken = set(bundle.schemas)
    for name, schema in bundle.schemas.items():
        taken.discard(name)
        add_titles(schema, name, taken)
    for method in methods:
        for one in (*method["params"], method["result"]):
            add_titles(one["schema"], pascal_case(method["name"]) + pascal_case(one["name"], "Value"), taken)


def _method(name: str, entry: Entry, bundle: SchemaBundle) -> dict[str, Any]:
    function = entry.function
    schema = function.schema
    summary, _, rest = schema.description.strip().partition("\n")
    method: dict[str, Any] = {"name": name}
    if summary:
        method["summary"] = summary.strip()
    if rest.strip():
        method["description"] = rest.strip()
    tags = dict.fromkeys([*entry.path[:-1], *schema.tags])
    if tags:
        method["tags"] = [{"name": tag} for tag in tags if tag]
    method["paramStructure"] = "either"
    method["params"] = _params(name, entry, bundle)
    exact = function.validate_output == "error" and function.output.formats
    result = bundle.inline(f"{name}_output", schema.output, formats=exact)
    method["result"] = {"name": "item" if schema.streaming else "result", "schema": result}
    declared = [
        {"code": row["rpc_code"], "message": row["description"], "data": {"code": row["code"], "error": row["name"]}}
        for row in schema.raises
    ]
    method["errors"] = [*({"$ref": f"#/components/errors/{name}"} for name in _ERRORS), *declared]
    examples = _examples(schema.examples, [param["name"] for param in method["params"]])
    if examples:
        method["examples"] = examples
    if schema.deprecated:
        method["deprecated"] = True
    method |= {"x-version": schema.version, "x-fingerprint": schema.fingerprint, "x-streaming": schema.streaming}
    return method


def _params(name: str, entry: Entry, bundle: SchemaBundle) -> list[dict[str, Any]]:
    """Return a content descriptor for each parameter. Its schema may refer to definitions of the whole input."""
    function = entry.function
    placed = bundle.inline(f"{name}_input", function.schema.input, formats=function.parameters.schema.formats)
    if "$ref" in placed:  # a schema that refers to its own root has become a component
        placed = copy_json(bundle.schemas[placed["$ref"].rpartition("/")[2]])
    required = placed.get("required", ())
    properties = placed.get("properties", {})
    found = []
    for one in function.parameters.names:
        if one not in properties:
            continue
        param: dict[str, Any] = {"name": one, "required": one in required, "schema": properties[one]}
        words = properties[one].get("description") if isinstance(properties[one], dict) else None
        if isinstance(words, str):
            param["description"] = words
        found.append(param)
    return found


def _to_draft_7(schema: Any) -> None:
    """Rewrite the tuples of a schema, in place, from JSON Schema 2020-12 to draft 7, which OpenRPC uses."""
    for part in list(walk(schema)):
        if "prefixItems" in part:
            rest = part.pop("items", None)
            part["items"] = part.pop("prefixItems")
            if rest is not None:
                part["additionalItems"] = rest


def _examples(examples: Iterable[Mapping[str, Any]], names: list[str]) -> list[dict[str, Any]]:
    """Return the examples with an input and an output; OpenRPC requires both."""
    found = []
    for number, example in enumerate(examples, 1):
        given = example.get("input")
        if not isinstance(given, Mapping) or "output" not in example:
            continue
        found.append(
            {
                "name": f"example{number}",
                "params": [{"name": name, "value": given[name]} for name in names if name in given],
                "result": {"name": "result", "value": example["output"]},
            }
        )
    return found


def _errors() -> dict[str, Any]:
    words = {cls.__name__: (cls.__doc__ or "").partition("\n")[0].strip() for cls in _classes(PortalError)}
    return {
        name: {"code": number, "message": words[name]} for name, _, _, number, _ in error_table() if name in _ERRORS
    }


def _classes(cls: type[PortalError]) -> Iterable[type[PortalError]]:
    for found in cls.__subclasses__():
        yield found
        yield from _classes(found)
