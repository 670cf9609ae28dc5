"""`mount` passes the paths below a prefix to one application, and all others to another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast
from wsgiref.util import setup_testing_defaults

import pytest

from portal import ConfigError, HTTPPortal
from portal.http import mount
from portal.http.server.wsgi import WSGIApp, WSGIRequest
from portal.serving import Response


class Recording:
    """An application of a portal that records its requests."""

    def __init__(self) -> None:
        self.requests: list[WSGIRequest] = []

    def handle(self, request: Any) -> Response:
        self.requests.append(request)
        return Response(200, [], b"inner")


def outer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [b"outer"]


def get(app: Any, **changes: str) -> bytes:
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    environ.update({"SCRIPT_NAME": "", **changes})
    return b"".join(app(environ, lambda status, headers: None))


@pytest.mark.parametrize("at", ["", "api", "/api/", 3])
def test_invalid_paths(at: Any) -> None:
    with pytest.raises(ConfigError):
        mount(outer, WSGIApp(Recording()), at)


def test_a_portal_without_a_base_path_needs_one() -> None:
    with pytest.raises(ConfigError):
        mount(outer, WSGIApp(Recording(), base_path=""))


def test_other_objects_in_place_of_an_application() -> None:
    for one, other, words in (
        (outer, None, "wsgi.portal must be a WSGI application"),
        (None, outer, "wsgi.outer must be a WSGI application"),
        (outer, HTTPPortal(listen=False), "has no base path: pass the `wsgi` of a portal"),
        (WSGIApp(Recording()), outer, "has no base path: pass the `wsgi` of a portal"),
    ):
        first, second = cast(Any, one), cast(Any, other)
        with pytest.raises(ConfigError, match=words):
            mount(first, second)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/rpc", b"inner"),
        ("/rpc/add", b"inner"),
        ("/rpcs", b"outer"),
        ("/", b"outer"),
        ("/site/rpc/add", b"outer"),
    ],
)
def test_the_prefix_chooses_the_application(path: str, body: bytes) -> None:
    app = mount(outer, WSGIApp(Recording()), "/rpc")
    assert get(app, PATH_INFO=path) == body


def test_the_portal_sees_its_own_paths() -> None:
    inner = Recording()
    app = mount(outer, WSGIApp(inner), "/rpc")
    get(app, PATH_INFO="/rpc/add")
    get(app, PATH_INFO="/rpc/a/b", RAW_URI="/site/rpc/a%2Fb", SCRIPT_NAME="/site")
    assert [request.path for request in inner.requests] == ["/api/add", "/api/a%2Fb"]
    assert inner.requests[1].base == "http://127.0.0.1/site/rpc"
