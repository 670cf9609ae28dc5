"""`portal openapi`: the document, and the targets it rejects."""

from __future__ import annotations

import json

import pytest
import requests

from tests.support.command import run, serving


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["served_things:local"], "served_things:local must be an HTTPPortal, got LocalPortal"),
        (
            ["served_things:http", "served_things:plain"],
            "served_things:http is a portal with its own document; name it alone",
        ),
        (["served_things:http", "--title", "Portal"], "does not use --title"),
        (["served_things:http", "--base-path", "/api"], "does not use --base-path"),
        (
            ["served_things:plain", "--output", "/nowhere/at/all.json"],
            "cannot write /nowhere/at/all.json: No such",
        ),
        (["no_such_things:plain"], "(--debug shows the traceback)"),
    ],
)
@pytest.mark.usefixtures("here")
def test_openapi_rejects(arguments, message):
    result = run("openapi", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in " ".join(result.stderr.split())


@pytest.mark.usefixtures("here")
def test_openapi_with_debug_shows_the_traceback():
    assert isinstance(run("openapi", "broken_things:plain", "--debug").exception, ZeroDivisionError)


PROTECTED = """
import sys
from portal import BearerAuth, HTTPPortal, service

@service(name="shop")
class Shop:
    def open(self, day: str) -> bool:
        return True

    def on_stop(self):
        print("stopping")

http = HTTPPortal(auth=BearerAuth({"t0ken": "ann"}), title="Shop", version="7", base_path="/shop")
http.apply_service(Shop)
print([http.port] if http.port else [])
"""


def test_openapi_of_a_portal_is_what_it_serves(here):
    (here / "protected.py").write_text(PROTECTED)
    written = here / "openapi.json"
    result = run("openapi", "protected:http", "-o", str(written))
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "[]\n")
    with serving(here, "protected:http") as server:
        assert server.stdout.readline() != "[]\n"
        origin = server.stdout.readline().partition("/shop/")[0]
        served = requests.get(f"{origin}/openapi.json", timeout=30).json()
    assert json.loads(written.read_text()) == served
    assert (served["info"]["title"], served["info"]["version"]) == ("Shop", "7")
    assert served["components"]["securitySchemes"]


@pytest.mark.usefixtures("here")
def test_openapi_writes_the_document(tmp_path):
    result = run("openapi", "served_things:plain", "served_things:Shop", "--title", "Things")
    document = json.loads(result.output)
    assert document["openapi"].startswith("3.1")
    assert document["info"]["title"] == "Things"
    assert {"/api/plain", "/api/shop/open"} <= document["paths"].keys()
    file = tmp_path / "openapi.json"
    assert run("openapi", "served_things:plain", "--output", str(file)).exit_code == 0
    assert json.loads(file.read_text())["paths"].keys() >= {"/api/plain"}
