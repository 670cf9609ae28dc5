"""The documents of a portal, over HTTP."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest

import portal.examples.orders as orders
from portal import HTTPPortal, function
from portal.catalogue import Catalogue
from portal.errors import PortalError
from portal.http.documents.pages import DOCUMENT_PATHS, Documents
from portal.serving import Listener, Request, Response
from tests.support.wsgi_calls import reply


class App:
    def __init__(self, documents: Documents) -> None:
        self.documents = documents

    def handle(self, request: Request) -> Response:
        try:
            return self.documents.respond(request, request.path)
        except PortalError as error:
            return Response(error.status)


@pytest.fixture
def catalogue() -> Catalogue:
    made = Catalogue()
    for one in orders.service.functions.values():
        made.add(one, ("orders",))
    return made


@pytest.fixture
def port(catalogue: Catalogue) -> Iterator[int]:
    listener = Listener()
    documents = Documents(
        catalogue,
        {"orders": orders.service},
        base_path="/api",
        rpc_url=lambda: f"http://127.0.0.1:{listener.port}/api/rpc",
        title="Orders",
    )
    app = App(documents)
    for path in (*DOCUMENT_PATHS, "/other"):
        listener.mount(path, app)
    listener.start()
    yield listener.port
    listener.stop(1.0)


def ask(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body


@pytest.mark.parametrize(("path", "member"), [("/openapi.json", "openapi"), ("/openrpc.json", "openrpc")])
def test_a_document_follows_what_is_published(port: int, catalogue: Catalogue, path: str, member: str) -> None:
    status, headers, body = ask(port, path)
    found: Any = json.loads(body)
    assert (status, headers["content-type"]) == (200, "application/json")
    assert found[member]
    assert found["info"]["title"] == "Orders"
    assert ask(port, path, If_None_Match=headers["etag"])[0] == 304

    def added() -> None:
        pass

    entry = catalogue.add(function(added))
    status, changed, body = ask(port, path, If_None_Match=headers["etag"])
    assert status == 200
    assert b"added" in body
    assert changed["etag"] != headers["etag"]
    catalogue.discard(entry)
    assert ask(port, path)[1]["etag"] == headers["etag"]


def test_the_documents_name_the_rpc_endpoint(port: int) -> None:
    assert "/api/rpc" in json.loads(ask(port, "/openapi.json")[2])["paths"]
    assert json.loads(ask(port, "/openrpc.json")[2])["servers"][0]["url"] == f"http://127.0.0.1:{port}/api/rpc"


def test_without_the_endpoint_they_do_not(catalogue: Catalogue) -> None:
    documents = Documents(catalogue, {}, base_path="")
    assert "/rpc" not in documents.openapi()["paths"]
    assert "/orders/price" in documents.openapi()["paths"]
    assert "servers" not in documents.openrpc()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/openapi.json", 200),
        ("POST", "/openapi.json", 405),
        ("DELETE", "/docs", 405),
        ("GET", "/docs/../openapi.json", 404),
        ("GET", "/openapi.json/more", 404),
        ("GET", "/other", 404),
    ],
)
def test_what_else_is_asked(port: int, method: str, path: str, status: int) -> None:
    assert ask(port, path, method)[0] == status


def test_the_docs_page_is_there(port: int) -> None:
    pytest.importorskip("drf_spectacular_sidecar")
    assert ask(port, "/docs")[1]["location"] == "docs/"
    assert b"<title>Orders</title>" in ask(port, "/docs/")[2]


def test_a_function_or_service_of_a_document_s_name_goes_first_below_the_base_path() -> None:
    catalogue = Catalogue()
    documents = Documents(catalogue, {}, base_path="/api")
    bare = Documents(catalogue, {}, base_path="")
    assert documents.find("/api/docs/init.js") == "/docs/init.js"
    assert documents.find("/docs/init.js") == bare.find("/docs/init.js") == "/docs/init.js"
    assert documents.find("/api/openapi.json") == "/openapi.json"
    for path in ("/api/docsearch", "/docsearch", "/api/x/docs", "/api", "/x/docs"):
        assert documents.find(path) is bare.find(path) is None
    catalogue.add(function(name="docs")(lambda: None))
    assert documents.find("/api/docs") is bare.find("/docs") is None
    assert documents.find("/docs") == "/docs"
    for_services = Documents(Catalogue(), {"openapi.json": orders.service}, base_path="/api")
    assert for_services.find("/api/openapi.json/price") is None


def test_documents_below_the_base_path() -> None:
    with HTTPPortal(title="Orders", version="3") as http:
        http.apply_service(orders.service)
        status, _, body = ask(http.port, "/api/openapi.json")
        assert (status, json.loads(body)["info"]["version"]) == (200, "3")
        assert body == ask(http.port, "/openapi.json")[2]
        assert ask(http.port, "/docs/more", "POST")[0] == ask(http.port, "/docs/orders/add", "POST")[0] == 404
    with HTTPPortal(documents=False) as http:
        http.start()
        assert ask(http.port, "/api/openapi.json")[0] == 404


def test_documents_can_be_switched_off() -> None:
    with HTTPPortal(listen=False, documents=False) as http:
        for path in ("/openapi.json", "/api/openapi.json", "/docs", "/api/docs/"):
            assert reply(http.wsgi, PATH_INFO=path)[0] == 404


def test_the_number_of_cached_documents_is_bounded() -> None:
    with HTTPPortal(listen=False) as http:
        for number in range(40):
            assert reply(http.wsgi, SCRIPT_NAME=f"/{number}", PATH_INFO="/openapi.json")[0] == 200
        assert len(http._app._documents._made) <= 16
