"""The OpenRPC document: its conformance to the specification, and its description of functions."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import requests

import portal.examples.orders as orders
from portal import HTTPPortal, function
from portal.catalogue import Catalogue, Entry
from portal.errors import error_table
from portal.http.documents.openapi import openapi_document
from portal.jsonrpc.openrpc import VERSION, openrpc_document
from portal.schema.subschemas import walk
from tests.support import every_type_service, hostile_schemas

NAME = {"type": "string", "minLength": 1}
TEXT = {"type": "string"}
REFERENCE = {"type": "object", "properties": {"$ref": TEXT}, "required": ["$ref"], "additionalProperties": False}
DESCRIPTOR = {
    "type": "object",
    "properties": {
        "name": NAME,
        "summary": TEXT,
        "description": TEXT,
        "required": {"type": "boolean"},
        "deprecated": {"type": "boolean"},
        "schema": {"type": "object"},
    },
    "required": ["name", "schema"],
    "additionalProperties": False,
}
EXAMPLE = {"type": "object", "properties": {"name": NAME}, "required": ["name", "value"]}
#: Requirements of the specification, "OpenRPC Object" to "Error Object", for the members that Portal writes.
DOCUMENT = {
    "type": "object",
    "properties": {
        "openrpc": {"const": VERSION},
        "info": {
            "type": "object",
            "properties": {"title": TEXT, "version": TEXT, "description": TEXT},
            "required": ["title", "version"],
            "additionalProperties": False,
        },
        "servers": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"name": TEXT, "url": TEXT},
                "required": ["name", "url"],
                "additionalProperties": False,
            },
        },
        "methods": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": NAME,
                    "summary": TEXT,
                    "description": TEXT,
                    "tags": {"type": "array", "items": {"type": "object", "properties": {"name": NAME}}},
                    "paramStructure": {"enum": ["by-name", "by-position", "either"]},
                    "params": {"type": "array", "items": DESCRIPTOR},
                    "result": DESCRIPTOR,
                    "errors": {"type": "array", "items": REFERENCE},
                    "examples": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {
                                "name": NAME,
                                "params": {"type": "array", "items": EXAMPLE},
                                "result": EXAMPLE,
                            },
                            "required": ["name", "params", "result"],
                        },
                    },
                    "deprecated": {"type": "boolean"},
                },
                "patternProperties": {"^x-": {}},
                "required": ["name", "params", "result"],
                "additionalProperties": False,
            },
        },
        "components": {
            "type": "object",
            "properties": {
                "schemas": {
                    "type": "object",
                    "patternProperties": {"^[A-Za-z0-9]+$": {}},
                    "additionalProperties": False,
                },
                "errors": {
                    "type": "object",
                    "additionalProperties": {
                        "type": "object",
                        "properties": {"code": {"type": "integer"}, "message": NAME},
                        "required": ["code", "message"],
                        "additionalProperties": False,
                    },
                },
            },
            "additionalProperties": False,
        },
    },
    "required": ["openrpc", "info", "methods"],
    "additionalProperties": False,
}


def entries_of(functions: Any, prefix: tuple[str, ...] = ()) -> list[Entry]:
    catalogue = Catalogue()
    for function_ in functions:
        catalogue.add(function_, prefix)
    return catalogue.entries()


ALL_ENTRIES = entries_of(orders.service.functions.values(), ("orders",)) + entries_of(hostile_schemas.functions())


def schemas_of(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for method in document["methods"]:
        yield from (param["schema"] for param in method["params"])
        yield method["result"]["schema"]
    yield from document["components"]["schemas"].values()


def by_name(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {method["name"]: method for method in document["methods"]}


def test_the_document_conforms_to_the_specification() -> None:
    document = openrpc_document(
        ALL_ENTRIES, title="T", version="3", server_url="http://127.0.0.1/api/rpc", streams=True
    )
    jsonschema.Draft7Validator(DOCUMENT).validate(document)
    assert json.loads(json.dumps(document)) == document
    assert document["info"] == {"title": "T", "version": "3"}
    assert document["servers"] == [{"name": "T", "url": "http://127.0.0.1/api/rpc"}]
    names = [method["name"] for method in document["methods"]]
    assert len(set(names)) == len(names) == len(ALL_ENTRIES)
    for method in document["methods"]:
        params = [param["name"] for param in method["params"]]
        assert len(set(params)) == len(params)


def test_a_document_without_functions() -> None:
    document = openrpc_document([], description="D")
    jsonschema.Draft7Validator(DOCUMENT).validate(document)
    assert document["info"]["description"] == "D"
    assert "servers" not in document


def test_schemas_are_draft_7_and_references_resolve() -> None:
    document = openrpc_document(ALL_ENTRIES)
    for schema in schemas_of(document):
        jsonschema.Draft7Validator.check_schema(schema)
        for part in walk(schema):
            assert "prefixItems" not in part
            if isinstance(part.get("$ref"), str):
                found: Any = document
                for token in part["$ref"].removeprefix("#/").split("/"):
                    found = found[token]
                assert isinstance(found, dict)


def test_the_document_does_not_depend_on_the_order_of_entries() -> None:
    whole = json.dumps(openrpc_document(ALL_ENTRIES))
    for seed in range(5):
        entries = list(ALL_ENTRIES)
        random.Random(seed).shuffle(entries)
        assert json.dumps(openrpc_document(entries)) == whole


def test_a_method_has_summary_tags_parameters_result_and_examples() -> None:
    method = by_name(openrpc_document(ALL_ENTRIES))["orders.quote"]
    assert method["summary"] == "Return the list price of an article."
    assert method["tags"] == [{"name": "orders"}, {"name": "pricing"}]
    assert [(param["name"], param["required"]) for param in method["params"]] == [("sku", True), ("quantity", False)]
    assert method["params"][0]["description"] == "Article number, such as PEN-001."
    assert method["result"]["name"] == "result"
    (example,) = method["examples"]
    assert [(one["name"], one["value"]) for one in example["params"]] == [("sku", "BAG-002"), ("quantity", 2)]
    assert example["result"]["value"]["total"] == "79.80"
    assert (method["x-version"], method["x-streaming"]) == ("1", False)


def test_the_result_of_a_stream_is_an_item_and_incomplete_examples_are_left_out() -> None:
    methods = by_name(openrpc_document(ALL_ENTRIES, streams=True))
    assert (methods["trees"]["result"]["name"], methods["trees"]["x-streaming"]) == ("item", True)
    assert "examples" not in methods["orders.fail"]


def test_streams_are_listed_only_where_they_can_be_called() -> None:
    streams = {"trees", "orders.history"}
    assert by_name(openrpc_document(ALL_ENTRIES, streams=True)).keys() >= streams
    assert by_name(openrpc_document(ALL_ENTRIES)).keys().isdisjoint(streams)
    with HTTPPortal() as portal:
        portal.apply_service(orders.service)
        listed = requests.get(f"http://127.0.0.1:{portal.port}/openrpc.json", timeout=10).json()
        call = {"jsonrpc": "2.0", "id": 1, "method": "rpc.discover"}
        discovered = requests.post(f"{portal.base}/rpc", json=call, timeout=10).json()["result"]
        stream = call | {"method": "orders.history", "params": {"customer": "ann"}}
        rejected = requests.post(f"{portal.base}/rpc", json=stream, timeout=10).json()["error"]
    assert (
        by_name(listed).keys()
        == by_name(discovered).keys()
        == {f"orders.{name}" for name in orders.service.functions} - streams
    )
    assert rejected["data"]["status"] == 406


def test_each_schema_has_a_title_of_its_own() -> None:
    document = openrpc_document(
        ALL_ENTRIES + entries_of(every_type_service.service.functions.values(), ("all",)), streams=True
    )
    schemas = document["components"]["schemas"]
    assert all(schema["title"] == name for name, schema in schemas.items() if "$ref" not in schema)
    titles = [
        part["title"]
        for schema in schemas_of(document)
        for part in walk(schema)
        if "$ref" not in part and "x-schema" not in part
    ]
    assert len(set(titles)) == len(titles)
    assert all(re.fullmatch("[A-Z][A-Za-z0-9]*", title) for title in titles)
    price = by_name(document)["orders.price"]
    assert (price["params"][0]["schema"], price["result"]["schema"]) == (
        {"$ref": "#/components/schemas/Order"},
        {"$ref": "#/components/schemas/Invoice"},
    )
    add = by_name(document)["orders.add"]
    assert [one["schema"]["title"] for one in (*add["params"], add["result"])] == [
        "OrdersAddA",
        "OrdersAddB",
        "OrdersAddResult",
    ]


def test_documents_do_not_change_one_another() -> None:
    first = [json.dumps(openapi_document(ALL_ENTRIES)), json.dumps(openrpc_document(ALL_ENTRIES))]
    assert [json.dumps(openapi_document(ALL_ENTRIES)), json.dumps(openrpc_document(ALL_ENTRIES))] == first


def test_versions_deprecation_and_description() -> None:
    def add(a: int) -> int:
        """Add.

        And more.
        """
        return a

    functions = [function(version=version, deprecated=version == "1")(add) for version in ("1", "10", "2")]
    methods = by_name(openrpc_document(entries_of(functions)))
    assert list(methods) == ["add", "add@2", "add@1"]
    assert methods["add"]["x-version"] == "10"
    assert methods["add@1"]["deprecated"]
    assert (methods["add"]["summary"], methods["add"]["description"]) == ("Add.", "And more.")


def test_a_recursive_schema() -> None:
    document = openrpc_document(ALL_ENTRIES)
    linked = {param["name"]: param["schema"] for param in by_name(document)["linked"]["params"]}
    assert linked["next"] == {"$ref": "#/components/schemas/LinkedInput"}
    assert linked["value"]["$ref"].rpartition("/")[2] in document["components"]["schemas"]


def test_tuples_are_written_as_in_draft_7() -> None:
    document = openrpc_document(entries_of(hostile_schemas.functions()))
    both = next(param for param in by_name(document)["containers"]["params"] if param["name"] == "both")
    check = jsonschema.Draft7Validator(both["schema"]).is_valid
    assert check([1, "a"])
    assert not check(["a", 1])
    assert not check([1, "a", 2])


def test_errors_have_the_codes_of_the_table() -> None:
    errors = openrpc_document(ALL_ENTRIES)["components"]["errors"]
    numbers = {name: number for name, _, _, number, _ in error_table()}
    assert errors["ValidationError"]["code"] == -32602
    assert all(found["code"] == numbers[name] for name, found in errors.items())
    for method in openrpc_document(ALL_ENTRIES)["methods"]:
        assert {one["$ref"].rpartition("/")[2] for one in method["errors"]} == set(errors)
