"""The OpenAPI document: valid, unambiguous, and what the server does."""

from __future__ import annotations

import http.client
import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

import portal.examples.orders as orders
from portal import ApiKeyAuth, BasicAuth, BearerAuth, CertificateAuth, HTTPPortal, JWTAuth, function
from portal.catalogue import Catalogue, Entry
from portal.errors import ConfigError, error_table
from portal.http.documents.openapi import VERSION, openapi_document, openapi_paths
from portal.http.documents.openapi_parts import ABOUT, REASONS, SCHEMAS
from tests.support import hostile_schemas

WAIT = 10.0


def entries_of(functions: Any, prefix: tuple[str, ...] = ()) -> list[Entry]:
    catalogue = Catalogue()
    for one in functions:
        catalogue.add(one, prefix)
    return catalogue.entries()


ORDERS = entries_of(orders.service.functions.values(), ("orders",))


def document_of(entries: list[Entry], **options: Any) -> dict[str, Any]:
    found = openapi_document(entries, **options)
    assert json.loads(json.dumps(found)) == found
    return found


def faults_of(document: dict[str, Any]) -> list[str]:
    return [str(fault)[:300] for fault in OpenAPIV31SpecValidator(document).iter_errors()]


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def schema_at(document: dict[str, Any], schema: dict[str, Any]) -> jsonschema.Draft202012Validator:
    """A validator of a schema in the document, its references resolved there."""
    return jsonschema.Draft202012Validator({"components": document["components"], **schema})


def body_schema(document: dict[str, Any], path: str) -> dict[str, Any]:
    found: dict[str, Any] = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    return found


@pytest.mark.parametrize("rpc", [True, False])
@pytest.mark.parametrize("name", ["orders", "hostile", "both", "nothing"])
def test_it_is_valid(name: str, rpc: bool) -> None:
    parts = {"orders": ORDERS, "hostile": entries_of(hostile_schemas.functions()), "nothing": []}
    entries = parts[name] if name in parts else parts["orders"] + parts["hostile"]
    document = document_of(entries, services=[orders.service], rpc=rpc, servers=["http://127.0.0.1:8080"])
    assert document["openapi"] == VERSION
    assert faults_of(document) == []
    assert ("/api/rpc" in document["paths"]) is rpc
    assert ("RPCResponse" in document["components"]["schemas"]) is rpc


def test_each_operation_has_an_id_that_generators_can_use() -> None:
    document = document_of(ORDERS + entries_of(hostile_schemas.functions()))
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert all(re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name) for name in names)
    assert len({name.lower() for name in names}) == len(names)
    assert {"orders_price", "describe_orders_price", "call_json_rpc"} <= set(names)
    schemas = [name.lower() for name in document["components"]["schemas"]]
    assert len(set(schemas)) == len(schemas)


def test_it_is_the_same_whatever_the_order() -> None:
    entries = ORDERS + entries_of(hostile_schemas.functions())
    whole = json.dumps(document_of(entries))
    for seed in range(5):
        random.Random(seed).shuffle(entries)
        assert json.dumps(document_of(entries)) == whole


def test_versions_have_paths_of_their_own() -> None:
    def add(a: int) -> int:
        return a

    entries = entries_of(function(version=version)(add) for version in ("1", "10", "2", "1!0+x.1"))
    assert {path: entry.function.schema.version for path, entry in openapi_paths(entries, "").items()} == {
        "/add": "1!0+x.1",
        "/add@10": "10",
        "/add@2": "2",
        "/add@1": "1",
    }
    document = document_of(entries, base_path="/a@b")
    assert document["paths"]["/a@b/add"]["post"]["x-version"] == "1!0+x.1"
    assert document["paths"]["/a@b/add@2"]["post"]["operationId"] == "add_v2"


def test_a_function_is_documented_with_tags_schemas_and_examples() -> None:
    document = document_of(ORDERS, services={"orders": orders.service})
    call = document["paths"]["/api/orders/price"]["post"]
    assert call["summary"] == "Price an order."
    assert call["description"].endswith("if the goods cost 50.00 or more.\n\nVersion 1, idempotent.")
    assert (call["tags"], call["x-tags"]) == (["orders"], ["pricing"])
    assert document["paths"]["/api/orders/price"]["get"]["tags"] == ["schemas"]
    assert document["tags"][0] == {"name": "orders", "description": "Prices orders."}
    assert [tag["name"] for tag in document["tags"]] == ["orders", "json-rpc", "schemas"]
    assert call["requestBody"]["required"]
    content = call["requestBody"]["content"]["application/json"]
    assert content["schema"] == {"$ref": "#/components/schemas/OrdersPriceInput"}
    example = content["examples"]["example1"]["value"]
    check = schema_at(document, content["schema"])
    assert check.is_valid(example)
    assert not check.is_valid(example | {"more": 1})
    answer = call["responses"]["200"]["content"]["application/json"]
    assert schema_at(document, answer["schema"]).is_valid(answer["examples"]["example1"]["value"])
    assert (call["x-version"], call["x-idempotent"], call["x-streaming"]) == ("1", True, False)
    headers = [document["components"]["parameters"][one["$ref"].rpartition("/")[2]] for one in call["parameters"]]
    assert {one["name"]: one["in"] for one in headers} == dict.fromkeys(["X-Request-ID", "Idempotency-Key"], "header")
    document = document_of(ORDERS, timeout_header=True)
    assert "PortalTimeout" in str(document["paths"]["/api/orders/price"]["post"]["parameters"])
    assert document["components"]["parameters"]["PortalTimeout"]["name"] == "X-Portal-Timeout"
    assert faults_of(document) == []


def test_a_stream_says_what_its_items_are() -> None:
    document = document_of(ORDERS)
    call = document["paths"]["/api/orders/history"]["post"]
    content = call["responses"]["200"]["content"]
    assert list(content) == ["application/x-ndjson", "text/event-stream"]
    for one in content.values():
        assert one["schema"]["type"] == "string"
        item = {"number": "ann-1", "placed": "2026-01-08", "total": "10.50"}
        assert schema_at(document, one["x-itemSchema"]).is_valid(item)
    assert json.loads(content["application/x-ndjson"]["example"]) == item
    assert "406" in call["responses"]
    assert [one["$ref"].rpartition("/")[2] for one in call["parameters"]] == ["RequestID"]  # no key: no answer is kept
    assert "406" not in document["paths"]["/api/orders/price"]["post"]["responses"]


def test_flags_and_words() -> None:
    def plain() -> None:
        pass

    def told() -> None:
        """One line.

        And more.
        Of it.
        """

    document = document_of(entries_of([function(deprecated=True, timeout=2.5, tags=("a", "a"))(plain), function(told)]))
    call = document["paths"]["/api/plain"]["post"]
    assert call["deprecated"]
    assert (call["x-timeout"], call["tags"], call["x-tags"]) == (2.5, ["a"], ["a"])
    assert call["description"] == "Version 1, at most 2.5 s."
    assert call["summary"] == "Call plain."
    assert call["requestBody"]["required"]
    call = document["paths"]["/api/told"]["post"]
    assert (call["summary"], call["description"]) == ("One line.", "And more.\nOf it.\n\nVersion 1.")
    assert not {"deprecated", "x-timeout", "x-tags"} & call.keys()


def test_title_servers_and_description() -> None:
    document = document_of([], title="T", version="7", description="D", servers=[{"url": "/x", "description": "d"}])
    assert document["info"] == {"title": "T", "version": "7", "description": f"D\n\n{ABOUT}"}
    assert document_of([])["info"]["description"] == ABOUT
    assert document["servers"] == [{"url": "/x", "description": "d"}]
    assert [one["url"] for one in document_of([])["servers"]] == ["/"]
    assert document_of([])["security"] == []


def test_every_status_that_an_error_has_is_there() -> None:
    document = document_of(ORDERS)
    wanted = {status for _, _, status, _, _ in error_table()} - {499}  # nobody is there to read a 499
    responses = document["paths"]["/api/orders/add"]["post"]["responses"]
    assert wanted <= {int(status) for status in responses}
    for status in responses.keys() - {"200"}:
        shared = document["components"]["responses"][responses[status]["$ref"].rpartition("/")[2]]
        assert shared["description"] == REASONS[int(status)]
        content = shared["content"]["application/problem+json"]
        assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
        assert content["example"]["status"] == int(status)
        assert schema_at(document, content["schema"]).is_valid(content["example"])


def test_the_schemas_of_json_rpc_are_named_components() -> None:
    operation = document_of(ORDERS, rpc=True)["paths"]["/api/rpc"]["post"]
    assert "anyOf" not in json.dumps(operation)
    assert "oneOf" not in json.dumps(operation)


def test_a_function_named_rpc_answers_there_itself() -> None:
    def rpc() -> None:
        """Mine."""

    assert document_of(entries_of([function(rpc)]))["paths"]["/api/rpc"]["post"]["summary"] == "Mine."


def test_formats_that_are_asserted_are_said() -> None:
    document = document_of(entries_of(hostile_schemas.functions()))
    texts = schema_at(document, body_schema(document, "/api/texts"))
    good = {"money": "1.5", "key": "a" * 8 + "-aaaa" * 3 + "-" + "a" * 12, "blob": "QQ==", "colour": 1}
    assert texts.is_valid(good)
    for name, value in (("money", "1,5"), ("blob", "Q"), ("colour", 2), ("word", "b"), ("more", 1)):
        assert not texts.is_valid(good | {name: value})
    linked = schema_at(document, body_schema(document, "/api/linked"))
    assert linked.is_valid({"value": 9, "next": {"value": None}, "again": 3})
    assert not linked.is_valid({"next": {"value": 10}})
    both = schema_at(document, body_schema(document, "/api/containers"))
    assert both.is_valid({"pairs": {}, "both": [1, "a"], "some": []})
    assert not both.is_valid({"pairs": {}, "both": [1, "a", 2], "some": []})


# security


class Own:
    security_scheme: Any = ("own", {"type": "mutualTLS"})


class Derived(ApiKeyAuth):
    """Of Portal's own by descent."""


KEYS = {"k3y": "ann"}
SCHEMES = [
    ([BearerAuth(KEYS)], {"bearer": {"type": "http", "scheme": "bearer"}}),
    (
        [JWTAuth(key="s" * 32, algorithms=["HS256"])],
        {"jwt": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
    ),
    ([BasicAuth({"ann": "pa55"})], {"basic": {"type": "http", "scheme": "basic"}}),
    ([CertificateAuth()], {"certificate": {"type": "mutualTLS"}}),
    ([ApiKeyAuth(KEYS)], {"apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"}}),
    (
        [ApiKeyAuth(KEYS, header="X-Key"), Derived(KEYS, header=None, query="key"), ApiKeyAuth(KEYS, header="X-Key")],
        {
            "apiKey": {"type": "apiKey", "in": "header", "name": "X-Key"},
            "apiKey2": {"type": "apiKey", "in": "query", "name": "key"},
        },
    ),
    (
        [ApiKeyAuth(KEYS, header="X-Key", query="key")],
        {
            "apiKey": {"type": "apiKey", "in": "header", "name": "X-Key"},
            "apiKey2": {"type": "apiKey", "in": "query", "name": "key"},
        },
    ),
    ([Own(), lambda request: None], {"own": {"type": "mutualTLS"}}),
]


@pytest.mark.parametrize(("authenticators", "schemes"), SCHEMES)
def test_any_one_credential_will_do(authenticators: list[Any], schemes: dict[str, Any]) -> None:
    document = document_of(ORDERS, authenticators=authenticators)
    found = document["components"]["securitySchemes"]
    assert all(one.pop("description") for name, one in found.items() if name != "own")
    assert found == schemes
    assert document["security"] == [{name: []} for name in schemes]
    assert faults_of(document) == []


@pytest.mark.parametrize("wrong", ["text", ("a", "b"), ("a", {}, 1)])
def test_a_wrong_scheme_is_a_config_error(wrong: Any) -> None:
    class Bad:
        security_scheme = wrong

    with pytest.raises(ConfigError) as caught:
        openapi_document([], authenticators=[Bad()])
    assert caught.value.path == "auth"


# what the server does


@pytest.fixture(scope="module")
def server() -> Iterator[HTTPPortal]:
    with HTTPPortal() as portal:
        portal.apply_service(orders.service)
        for one in hostile_schemas.functions():
            portal.apply(one)
        yield portal


def send(port: int, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT)
    data = None if body is None else json.dumps(body)
    connection.request(method, path, data, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    kind = str(answer.headers["Content-Type"])
    return answer.status, kind, json.loads(text) if "json" in kind and "ndjson" not in kind else text


def test_a_method_that_is_not_allowed_is_answered_with_those_that_are(server: HTTPPortal) -> None:
    for path, allowed in (("/openapi.json", "GET, HEAD"), ("/api", "GET, HEAD, OPTIONS")):
        status, _, problem = send(server.port, "PUT", path)
        assert (status, problem["detail"].partition("; ")[2]) == (405, f"allowed methods: {allowed}")


def test_every_path_is_answered_as_the_document_says(server: HTTPPortal) -> None:
    document = document_of(server._catalogue.entries(), rpc=False)
    assert len(document["paths"]) == len(orders.service.functions) + len(hostile_schemas.functions())
    for path, methods in document["paths"].items():
        status, _, contract = send(server.port, "GET", path)
        assert status == 200, path
        assert schema_at(document, SCHEMAS["FunctionSchema"]).is_valid(contract)
        assert contract["version"] == methods["post"]["x-version"]
        assert contract["fingerprint"] == methods["post"]["x-fingerprint"]
        assert send(server.port, "PUT", path)[0] == 405


def test_examples_are_accepted_and_their_answers_fit(server: HTTPPortal) -> None:
    document = document_of(server._catalogue.entries(), rpc=False)
    tried = 0
    for path, methods in document["paths"].items():
        call = methods["post"]
        content = call["requestBody"]["content"]["application/json"]
        for example in content.get("examples", {}).values():
            status, kind, answer = send(server.port, "POST", path, example["value"])
            response = call["responses"][str(status)]
            if "$ref" in response:
                response = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
            schema = response["content"][kind]["schema"]
            assert schema_at(document, schema).is_valid(answer if "ndjson" not in kind else answer.decode()), path
            tried += 1
    assert tried >= 7


REFUSALS = [
    ("/api/orders/add", {"a": "x", "b": 1}, {}, 422),
    ("/api/orders/add", {"a": 1, "b": 1, "c": 1}, {}, 422),
    ("/api/orders/add", {"a": 1, "b": 1}, {"Content_Type": "text/plain"}, 415),
    ("/api/orders/add", {"a": 1, "b": 1}, {"X_Portal_Timeout": "soon"}, 400),
    ("/api/orders/history", {"customer": "a"}, {"Accept": "text/html"}, 406),
    ("/api/orders/fail", {"reason": "no"}, {}, 500),
    ("/api/orders/slow", {"seconds": 5}, {"X_Portal_Timeout": "1"}, 504),
]


@pytest.mark.parametrize(("path", "body", "headers", "status"), REFUSALS)
def test_a_refusal_is_one_the_document_has(
    server: HTTPPortal, path: str, body: Any, headers: dict[str, str], status: int
) -> None:
    document = document_of(server._catalogue.entries(), rpc=False)
    found, kind, problem = send(server.port, "POST", path, body, **headers)
    assert (found, kind) == (status, "application/problem+json")
    assert str(status) in document["paths"][path]["post"]["responses"]
    assert schema_at(document, SCHEMAS["Problem"]).is_valid(problem)


def test_apispec_is_loaded_with_the_first_document_only() -> None:
    code = "import sys, portal.http.documents.openapi; assert 'apispec' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
