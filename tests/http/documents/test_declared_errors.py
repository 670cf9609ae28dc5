"""The errors that functions declare, in the OpenAPI and the OpenRPC document, on the command line, over the wire."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from click.testing import CliRunner
from openapi_spec_validator import OpenAPIV31SpecValidator

from portal import HTTPPortal, PortalError, RegistryError, function
from portal.cli.main import main
from portal.errors import base
from portal.http.documents.declared_errors import declared_responses
from portal.schema.bundle.bundle import SchemaBundle


class Spoiled(PortalError):
    """The food is spoiled."""

    code = "spoiled"
    status = 410
    members = ("days",)

    def __init__(self, message: str = "", *, days: int = 0, **common: Any) -> None:
        super().__init__(message, **common)
        self.days = days


class Eaten(PortalError):
    """Somebody has eaten it."""

    code = "eaten"
    status = 410


@function(raises=[Spoiled, Eaten, RegistryError])
def take(name: str) -> str:
    """Take food."""
    raise Spoiled("it is old", days=3)


@function(raises=[Spoiled])
def throw(name: str) -> str:
    """Throw food away."""
    raise Spoiled("it is old", days=3)


@pytest.fixture
def http() -> Iterator[HTTPPortal]:
    with HTTPPortal() as http:
        http.apply(take)
        http.apply(throw)
        yield http


def test_openapi_has_a_response_for_each_status(http: HTTPPortal) -> None:
    document = http.openapi()
    OpenAPIV31SpecValidator(json.loads(json.dumps(document))).validate()
    responses = document["paths"]["/api/take"]["post"]["responses"]
    assert responses["410"]["description"] == "`spoiled`: The food is spoiled.\n\n`eaten`: Somebody has eaten it."
    content = responses["410"]["content"]["application/problem+json"]
    assert content["schema"]["anyOf"][:2] == [
        {"$ref": "#/components/schemas/Spoiled"},
        {"$ref": "#/components/schemas/Eaten"},
    ]
    assert content["examples"]["spoiled"]["value"]["code"] == "spoiled"
    assert "Otherwise: The function or version does not exist" in responses["404"]["description"]
    spoiled = document["components"]["schemas"]["Spoiled"]
    assert spoiled["allOf"][1]["properties"]["days"] == {"type": "integer"}
    alone = document["paths"]["/api/throw"]["post"]["responses"]["410"]["content"]["application/problem+json"]
    assert alone["schema"] == {"$ref": "#/components/schemas/Spoiled"}
    assert "Spoiled2" not in document["components"]["schemas"]


def test_errors_of_one_name_and_other_members_are_two_components() -> None:
    bundle = SchemaBundle()
    row = take.schema.raises[0]
    first = declared_responses([row], "take", bundle)
    second = declared_responses([row | {"members": {}}], "throw", bundle)
    names = [found[410]["content"]["application/problem+json"]["schema"]["$ref"] for found in (first, second)]
    assert names == ["#/components/schemas/Spoiled", "#/components/schemas/Spoiled2"]


def test_the_problem_has_what_the_document_says(http: HTTPPortal) -> None:
    response = requests.post(f"{http.base}/take", json={"name": "milk"}, timeout=30)
    assert response.status_code == 410
    assert {name: response.json()[name] for name in ("code", "title", "days")} == {
        "code": "spoiled",
        "title": "Spoiled",
        "days": 3,
    }


def test_openrpc_lists_them(http: HTTPPortal) -> None:
    document = requests.get(f"{http.base}/openrpc.json", timeout=30).json()
    method = next(method for method in document["methods"] if method["name"] == "throw")
    assert method["errors"][-1] == {
        "code": -32603,
        "message": "The food is spoiled.",
        "data": {"code": "spoiled", "error": "Spoiled"},
    }


def test_the_command_prints_the_code(http: HTTPPortal, monkeypatch: pytest.MonkeyPatch) -> None:
    described = CliRunner().invoke(main, ["describe", f"{http.base}/take"])
    assert "raises:  spoiled         The food is spoiled." in described.stdout
    known = CliRunner().invoke(main, ["call", f"{http.base}/take", "name=milk"])
    assert (known.exit_code, known.stderr) == (1, "error: Spoiled (spoiled): it is old\n")
    monkeypatch.delitem(base._BY_CODE, "spoiled")  # the command in another process does not know the class
    unknown = CliRunner().invoke(main, ["call", f"{http.base}/take", "name=milk"])
    assert (unknown.exit_code, unknown.stderr) == (1, "error: spoiled: it is old\n")
