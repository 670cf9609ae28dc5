"""Where a WSGI request leads, and the paths that its client sees."""

from __future__ import annotations

import json

import pytest

from portal import HTTPPortal
from portal.http.server.wsgi import WSGIApp
from tests.support.wsgi_calls import RecordingApp, reply
from tests.support.wsgi_servers import make_portal


def len_of(text: str) -> int:
    return len(text)


@pytest.mark.parametrize(
    ("base", "script", "info", "raw", "path", "seen"),
    [
        ("/api", "", "/api/add/1", None, "/api/add/1", "/api"),
        ("/api", "", "/api", None, "/api", "/api"),
        ("/api", "/api", "/add", None, "/api/add", "/api"),
        ("/api", "/api", "", None, "/api", "/api"),
        ("/api", "/api", "/api/x", None, "/api/api/x", "/api"),  # a service named as the base path
        ("/api", "/site/api", "/add", None, "/api/add", "/site/api"),
        ("/api", "/site", "/api/add", None, "/api/add", "/site/api"),
        ("/api", "/rpc", "/add", None, "/api/add", "/rpc"),
        ("/api", "/rpc", "", None, "/api", "/rpc"),
        ("", "", "/add", None, "/add", ""),
        ("", "", "", None, "/", ""),
        ("", "/rpc", "/add", None, "/add", "/rpc"),
        ("/api", "", "/api/a b/\xc3\xa9?#", None, "/api/a%20b/%C3%A9%3F%23", "/api"),
        ("/api", "", "/api/a/b", "/api/a%2Fb?q=%2F", "/api/a%2Fb", "/api"),
        ("/api", "/\xc3\xa9", "/api/a/b", "/%C3%A9/api/a%2Fb", "/api/a%2Fb", "/%C3%A9/api"),
        ("/api", "", "/api/a/b", "http://x:1/api/a%2Fb", "/api/a%2Fb", "/api"),
        ("/api", "", "/api/a", "/other%2Fb", "/api/a", "/api"),  # the outer application has rewritten the path
    ],
)
def test_the_path_is_found_in_what_the_server_passes(
    base: str, script: str, info: str, raw: str | None, path: str, seen: str
) -> None:
    for name in ("RAW_URI", "REQUEST_URI"):
        app = RecordingApp()
        status, _, _ = reply(
            WSGIApp(app, base_path=base), SCRIPT_NAME=script, PATH_INFO=info, HTTP_HOST="shop:81", **{name: raw}
        )
        assert status == 200
        assert app.requests[0].path == path
        assert app.requests[0].base == f"http://shop:81{seen}"


@pytest.mark.parametrize(
    ("script", "info", "raw"),
    [
        ("", "/api/add", "/api/%61dd"),
        ("", "/api/add", "/%61pi/add"),
        ("/api", "/add", "/%61pi/add"),  # the prefix that `mount` has taken
        ("/api", "/add", "http://shop/api/%61dd?a=b"),
        ("/site", "/api/add", "/%73ite/api/add"),
        ("", "/api/add@1", "/api/add%401"),
        ("", "/api/add%", "/api/add%"),
        ("", "/api/add@>=1", "/api/add@>=1"),
        ("", "/api/add@>=1", "/api/add@%3e=1"),
        ("", "/api/add/", None),
        ("", "/api//add", None),
        ("/api", "//add", None),
        ("", "/api/add", "//api/add"),  # as waitress removes the first slash
        ("", "/api/add", "/api//add"),
        ("", "/api/add", "/api/x/../add"),  # as uWSGI resolves dot segments
        ("", "/api/add", "/api/./add"),
        ("", "/api/add", "/api/%2e/add"),
    ],
)
def test_another_spelling_of_a_path_is_not_served(script: str, info: str, raw: str | None) -> None:
    with HTTPPortal(listen=False) as portal:
        portal.apply(len_of)
        for name in ("RAW_URI", "REQUEST_URI"):
            changes = {
                "SCRIPT_NAME": script,
                "PATH_INFO": info.replace("add", "len_of"),
                "CONTENT_TYPE": "application/json",
            }
            if raw is not None:
                changes[name] = raw.replace("%61dd", "%6cen_of").replace("add", "len_of")
            assert reply(portal.wsgi, REQUEST_METHOD="GET", **changes)[0] == 404
            changes.pop(name, None)
            changes["PATH_INFO"] = "/len_of" if script == "/api" else "/api/len_of"
            assert reply(portal.wsgi, REQUEST_METHOD="GET", **changes)[0] == 200


@pytest.mark.parametrize("raw", ["/api/len_of#x", "/api/len_of?a#x", "http://shop/api/len_of#"])
def test_a_fragment_is_rejected(raw: str) -> None:
    with HTTPPortal(listen=False) as portal:
        portal.apply(len_of)
        assert reply(portal.wsgi, PATH_INFO="/api/len_of", RAW_URI=raw)[0] == 400
        assert reply(portal.wsgi, PATH_INFO="/api/len_of", QUERY_STRING="a#x")[0] == 400


@pytest.mark.parametrize("info", ["", "/", "/other", "/apix", "*", "/ap"])
def test_nothing_is_served_outside_of_the_base_path(info: str) -> None:
    app = RecordingApp()
    status, headers, data = reply(WSGIApp(app), PATH_INFO=info, REQUEST_METHOD="OPTIONS")
    assert (status, app.requests) == (404, [])
    assert dict(headers)["X-Request-ID"] == json.loads(data[0])["request_id"]


@pytest.mark.parametrize(
    ("script", "info", "seen"),
    [
        ("", "/openapi.json", "/api"),  # a WSGI server has nothing but the portal
        ("", "/api/openapi.json", "/api"),
        ("/api", "/openapi.json", "/api"),
        ("/rpc", "/openapi.json", "/rpc"),
        ("/site/api", "/openapi.json", "/site/api"),
    ],
)
def test_documents_have_the_paths_that_the_client_sees(script: str, info: str, seen: str) -> None:
    served, application = make_portal()
    with served:
        for _ in range(2):
            status, _, data = reply(application, SCRIPT_NAME=script, PATH_INFO=info)
            assert status == 200
            assert {f"{seen}/add", f"{seen}/rpc"} <= json.loads(data[0])["paths"].keys()
        status, _, data = reply(application, SCRIPT_NAME=script, PATH_INFO=info.replace("openapi", "openrpc"))
        assert json.loads(data[0])["servers"][0]["url"] == f"{seen}/rpc"
