"""A WSGI application on the listener of a portal."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import flask
import pytest
import requests

import portal
from portal import ConfigError, Consumer, HTTPPortal
from portal.http import host
from portal.http.hosted import HostedWSGI, environ_of
from tests.support.http_messages import headers_of, request_of


def add(a: int, b: int) -> int:
    return a + b


def test_flask_and_a_portal_on_one_listener() -> None:
    app = flask.Flask("shop")

    @app.route("/hello/<name>", methods=["GET", "POST"])
    def hello(name: str) -> Any:
        return {"name": name, "q": flask.request.args.get("q"), "body": flask.request.get_data(as_text=True)}

    @app.get("/stream")
    def stream() -> Any:
        return flask.Response((f"{number}\n" for number in range(3)), mimetype="text/plain")

    with HTTPPortal() as http, Consumer() as consumer:
        assert host(http, app) is http
        root = f"http://127.0.0.1:{http.port or http.apply(add).port}"
        address = http.apply(add)
        assert consumer.call_at(address, {"a": 1, "b": 2}) == 3
        found = requests.post(f"{root}/hello/Zo%C3%AB?q=1", data="x", timeout=30)
        assert found.json() == {"name": "Zoë", "q": "1", "body": "x"}
        assert requests.get(f"{root}/stream", timeout=30).text == "0\n1\n2\n"
        assert requests.get(f"{root}/nothing", timeout=30).status_code == 404
        assert requests.head(f"{root}/hello/a", timeout=30).status_code == 200
        with pytest.raises(ConfigError):
            host(http, app)
        with pytest.raises(ConfigError, match="must be an HTTPPortal, got <Flask"):
            host(app, http)  # type: ignore[arg-type]


DJANGO = """
import sys
import django
import requests
from django.conf import settings

settings.configure(
    SECRET_KEY="only for a test",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "site.db"}},
)
django.setup()
from django.contrib.auth import get_user_model, login
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

from portal import CallContext, Consumer, HTTPPortal, WebSocketPortal
from portal.auth import DjangoSession
from portal.http import host


def enter(request):
    login(request, get_user_model().objects.get(username="ann"))
    return HttpResponse("welcome")


def upload(request):
    return HttpResponse(f"{request.method} {len(request.body)} by {request.user}")


urlpatterns = [path("login", enter), path("upload", upload)]
call_command("migrate", verbosity=0)
get_user_model().objects.create_user("ann", password="x")


def whoami(context: CallContext) -> str:
    return context.identity.name


def add(a: int, b: int) -> int:
    return a + b


http = HTTPPortal(auth=DjangoSession())
url = str(http.apply(whoami))
root = url.partition("/api/")[0]
host(http, get_wsgi_application())
ws = WebSocketPortal(listener=http.listener)
with http, ws, Consumer() as consumer:
    browser = requests.Session()
    assert browser.post(url, json={}, timeout=30).status_code == 401
    assert browser.get(f"{root}/login", timeout=30).text == "welcome"
    assert browser.post(url, json={}, timeout=30).json() == "ann"
    assert browser.post(f"{root}/upload", data=b"x" * 1000, timeout=30).text == "POST 1000 by ann"
    assert browser.get(f"{root}/nothing", timeout=30).status_code == 404
    address = ws.apply(add)
    assert address.port == http.listener.port
    assert consumer.call_at(address, {"a": 1, "b": 2}) == 3
print("done")
"""


def test_django_with_a_portal_and_websockets_on_one_listener(tmp_path: Path) -> None:
    """In a process of its own: Django has one configuration for each process."""
    pytest.importorskip("django")
    environment = {**os.environ, "PYTHONPATH": str(Path(portal.__file__).parents[1])}
    (tmp_path / "site_of_ann.py").write_text(DJANGO)
    command = [sys.executable, "site_of_ann.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout == "done\n", done.stderr


def respond(application: Any) -> Any:
    return HostedWSGI(application).handle(request_of("GET", "/a"))


def test_an_application_that_writes() -> None:
    def writes(environ: Any, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2"), ("Date", "x")])
        write(b"a")
        return [b"b"]

    response = respond(writes)
    assert (response.status, response.body, headers_of(response)) == (200, b"ab", {"content-type": "text/plain"})


def test_an_iterable_is_read_once() -> None:
    class Page:
        """The response of Django is iterable, and begins anew for each iterator."""

        def __iter__(self) -> Iterator[bytes]:
            return iter([b"a", b"b"])

    def application(environ: Any, start_response: Any) -> Page:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return Page()

    body = respond(application).body
    assert not isinstance(body, bytes)
    assert b"".join(body) == b"ab"


def test_a_stream_is_closed() -> None:
    class Body:
        closed = 0

        def __iter__(self) -> Iterator[bytes]:
            yield b""
            yield b"a"
            yield b"b"

        def close(self) -> None:
            self.closed += 1

    body = Body()

    def streams(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("201 Created", [("Content-Length", "2")])
        return iter_of(body)

    def iter_of(source: Body) -> Any:
        made = iter(source)

        class Wrapped:
            def __iter__(self) -> Iterator[bytes]:
                return made

            close = source.close

        return Wrapped()

    response = respond(streams)
    assert (response.status, response.body.length) == (201, 2)
    assert b"".join(response.body) == b"ab"
    response.body.close()
    assert body.closed == 1


@pytest.mark.parametrize("kind", ["raises", "silent", "twice"])
def test_a_failure_is_500(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        if kind == "raises":
            raise ValueError("secret")
        if kind == "twice":
            start_response("200 OK", [])
            start_response("200 OK", [])
        return []

    response = respond(application)
    assert (response.status, b"secret" in response.body) == (500, False)
    assert "the application failed" in caplog.text


def test_the_environ_has_the_parts_of_the_request() -> None:
    request = request_of("POST", "/a%20b?x=1", b"body", content_type="text/plain", x_event="push", host="[::1]:80")
    environ = environ_of(request)
    assert (environ["PATH_INFO"], environ["QUERY_STRING"], environ["HTTP_X_EVENT"]) == ("/a b", "x=1", "push")
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"], environ["CONTENT_TYPE"]) == ("[::1]", "80", "text/plain")
    assert environ["wsgi.input"].read() == b"body"
    assert environ["CONTENT_LENGTH"] == "4"
