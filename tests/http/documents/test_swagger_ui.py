"""The docs page: its files and its headers."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import portal.examples.orders as orders
from portal.catalogue import Catalogue
from portal.errors import RegistryError
from portal.http.documents.openapi import openapi_document
from portal.http.documents.swagger_ui import CONTENT_SECURITY_POLICY, DocsPage, docs_response
from portal.serving import Listener, Request, Response

pytest.importorskip("drf_spectacular_sidecar")


def headers_of(response: Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers}


def test_without_a_slash_it_leads_to_the_page() -> None:
    response = docs_response("")
    assert response.status == 308
    assert headers_of(response)["location"] == "docs/"


def test_the_page_has_no_inline_script() -> None:
    response = docs_response("/")
    assert response.status == 200
    assert isinstance(response.body, bytes)
    text = response.body.decode()
    assert re.findall("<script([^>]*)>(.*?)</script>", text) == [
        (' src="swagger-ui-bundle.js"', ""),
        (' src="init.js"', ""),
    ]
    assert not re.search(r"<style|\son\w+=|https?://", text)


def test_title_and_document_are_escaped() -> None:
    page = DocsPage(title="<b>'", document_url='../"</script>.json')
    body = page.respond("/").body
    assert isinstance(body, bytes)
    assert b"<b>" not in body
    assert b'"</script>' not in body
    script = page.respond("/init.js").body
    assert isinstance(script, bytes)
    assert rb'url: "../\"</script>.json"' in script


@pytest.mark.parametrize(
    ("tail", "kind", "begins"),
    [
        ("/", "text/html; charset=utf-8", b"<!doctype html>"),
        ("/init.js", "text/javascript; charset=utf-8", b'"use strict"'),
        ("/swagger-ui.css", "text/css; charset=utf-8", b""),
        ("/swagger-ui-bundle.js", "text/javascript; charset=utf-8", b""),
        ("/favicon-32x32.png", "image/png", b"\x89PNG"),
    ],
)
def test_a_file_with_its_headers(tail: str, kind: str, begins: bytes) -> None:
    response = docs_response(tail)
    headers = headers_of(response)
    assert response.status == 200
    assert isinstance(response.body, bytes)
    assert response.body.startswith(begins)
    assert len(response.body) > 100
    assert headers["content-type"] == kind
    assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert headers["x-content-type-options"] == "nosniff"
    for known in (headers["etag"], f"W/{headers['etag']}", f'"x", {headers["etag"]}', "*"):
        again = docs_response(tail, known)
        assert (again.status, again.body) == (304, b"")
        assert headers_of(again)["etag"] == headers["etag"]
    assert docs_response(tail, '"x"').status == 200


@pytest.mark.parametrize(
    "tail",
    [
        "/../__init__.py",
        "/%2e%2e/__init__.py",
        "/../../../apps.py",
        "//etc/passwd",
        "/./swagger-ui.css",
        "/swagger-ui.css/",
        "/swagger-ui.css\x00",
        "/oauth2-redirect.html",
        "/nothing.js",
        "x",
    ],
)
def test_nothing_else_is_served(tail: str) -> None:
    with pytest.raises(RegistryError):
        docs_response(tail)


@pytest.mark.parametrize("tail", ["", "/", "/init.js"])
def test_without_the_package_it_says_what_to_install(tail: str) -> None:
    response = DocsPage(package="no_such_package_of_portal").respond(tail)
    assert response.status == 501
    assert isinstance(response.body, bytes)
    assert b"pip install 'portal-functions[docs]'" in response.body


def test_a_package_without_the_files_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hollow_sidecar").mkdir()
    (tmp_path / "hollow_sidecar" / "__init__.py").write_text("raise AssertionError('it must not be imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert DocsPage(package="hollow_sidecar").respond("/").status == 501
    folder = tmp_path / "partial_sidecar/static/drf_spectacular_sidecar/swagger-ui-dist"
    folder.mkdir(parents=True)
    (tmp_path / "partial_sidecar" / "__init__.py").write_text("raise AssertionError('it must not be imported')")
    (folder / "swagger-ui-bundle.js").write_text("1")
    page = DocsPage(package="partial_sidecar")
    assert page.respond("/").status == 200
    with pytest.raises(RegistryError):
        page.respond("/swagger-ui.css")


def test_the_package_is_not_imported() -> None:
    code = (
        "import sys; from portal.http.documents.swagger_ui import docs_response;"
        "assert docs_response('/swagger-ui.css').status == 200;"
        "assert not {'django', 'drf_spectacular_sidecar'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# over HTTP; tests/scenarios/test_docs_in_browser.py has what a browser makes of it


class App:
    def __init__(self) -> None:
        catalogue = Catalogue()
        for function in orders.service.functions.values():
            catalogue.add(function, ("orders",))
        document = openapi_document(catalogue.entries(), [orders.service], title="Orders")
        self.document = json.dumps(document).encode()
        self.asked: list[str] = []

    def handle(self, request: Request) -> Response:
        self.asked.append(request.path)
        if request.path == "/openapi.json":
            return Response(200, [("Content-Type", "application/json")], self.document)
        if request.path.startswith("/docs"):
            try:
                return docs_response(request.path.removeprefix("/docs"), request.headers.get("if-none-match"))
            except RegistryError:
                pass
        return Response(404)


@pytest.fixture
def served() -> Iterator[tuple[str, App]]:
    listener, app = Listener(), App()
    listener.mount("/", app)
    listener.start()
    yield f"127.0.0.1:{listener.port}", app
    listener.stop(1.0)


def test_over_http_a_client_that_knows_the_file_gets_none(served: tuple[str, App]) -> None:
    connection = http.client.HTTPConnection(served[0], timeout=10)
    connection.request("GET", "/docs/swagger-ui.css")
    first = connection.getresponse()
    assert len(first.read()) > 1000
    connection.request("GET", "/docs/swagger-ui.css", headers={"If-None-Match": first.headers["ETag"]})
    second = connection.getresponse()
    assert (second.status, second.read()) == (304, b"")
    connection.request("GET", "/docs/../openapi.json")
    assert connection.getresponse().status == 404
    connection.close()
