from __future__ import annotations

import json
from typing import Any

import pytest

from portal import Address, CallContext, ProtocolError, RateLimit, function
from portal.calls.dispatcher import Dispatcher
from portal.catalogue import Catalogue
from portal.http.documents.pages import Documents
from portal.http.server.descriptions import Descriptions
from portal.http.server.error_responses import ErrorResponses
from portal.network.charges import RequestCharges
from portal.network.listing import Listing
from portal.serving import Response
from tests.support.http_messages import headers_of, request_of

FUNCTION, LIST = "GET, HEAD, OPTIONS, POST", "GET, HEAD, OPTIONS"


@function
def add(a: float, b: float) -> float:
    return a + b


def address_of(path: tuple[str, ...]) -> Address:
    return Address.parse("http://api.example/api").child(*path)


def descriptions(*middleware: Any, protected: bool = False, published: Catalogue | None = None) -> Descriptions:
    if published is None:
        published = Catalogue()
        published.add(add)
    return Descriptions(
        published,
        Listing(published, {}, address_of),
        Documents(published, {}, base_path="/api"),
        RequestCharges(Dispatcher(middleware)),
        ErrorResponses([], debug=False),
        base_path="/api",
        protected=protected,
    )


def ask(app: Descriptions, method: str, *path: str, target: str | None = None) -> Response:
    where = "/".join(("/api", *path)) if target is None else target
    return app.respond(path, None, request_of(method, where), CallContext(request_id="r-1"))


def data(response: Response) -> Any:
    assert isinstance(response.body, bytes)
    return json.loads(response.body)


def test_get_returns_the_schema_of_a_function_or_a_list() -> None:
    app = descriptions()
    assert data(ask(app, "GET", "add")) == add.schema.to_dict()
    assert [row["name"] for row in data(ask(app, "GET"))["functions"]] == ["add"]
    missing = ask(app, "GET", "sub")
    assert (missing.status, data(missing)["code"], data(missing)["request_id"]) == (404, "registry_error", "r-1")


@pytest.mark.parametrize(
    ("target", "path", "allowed"),
    [
        ("/api/add", ("add",), FUNCTION),
        ("/api/absent", ("absent",), FUNCTION),
        ("/api", (), LIST),
        ("/api/rpc", ("rpc",), "OPTIONS, POST"),
        ("/openapi.json", ("openapi.json",), "GET, HEAD"),
    ],
)
def test_options_returns_the_methods_of_the_path(target: str, path: tuple[str, ...], allowed: str) -> None:
    response = ask(descriptions(), "OPTIONS", *path, target=target)
    assert (response.status, headers_of(response)["allow"]) == (204, allowed)


@pytest.mark.parametrize(
    ("method", "target", "status", "words"),
    [
        ("PUT", "/api/add", 405, "method PUT is not allowed here; allowed methods: GET, HEAD, OPTIONS, POST"),
        ("GET", "/api/rpc", 405, "method GET is not allowed here; allowed methods: OPTIONS, POST"),
        ("BREW", "/api/add", 501, "method BREW is not allowed here; allowed methods: GET, HEAD, OPTIONS, POST"),
    ],
)
def test_other_methods_are_rejected(method: str, target: str, status: int, words: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        ask(descriptions(), method, *target.split("/")[2:], target=target)
    assert (caught.value.status, str(caught.value)) == (status, words)


def test_a_function_named_rpc_takes_the_place_of_json_rpc() -> None:
    published = Catalogue()
    published.add(function(name="rpc")(lambda: None))
    app = descriptions(published=published)
    assert data(ask(app, "GET", "rpc"))["name"] == "rpc"
    assert headers_of(ask(app, "OPTIONS", "rpc"))["allow"] == FUNCTION


def test_lists_and_unknown_paths_count_for_limits_and_schemas_do_not() -> None:
    app = descriptions(RateLimit("2/hour"))
    assert [ask(app, "GET", "add").status for _ in range(5)] == [200] * 5
    assert [ask(app, "GET").status, ask(app, "GET", "sub").status, ask(app, "GET").status] == [200, 404, 429]


@pytest.mark.parametrize(("protected", "expected"), [(False, None), (True, "private, no-cache")])
def test_shared_caches_store_no_description_that_needs_a_credential(protected: bool, expected: str | None) -> None:
    response = ask(descriptions(protected=protected), "GET", "add")
    assert headers_of(response).get("cache-control") == expected
