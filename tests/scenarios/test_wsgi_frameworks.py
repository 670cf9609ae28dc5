"""A portal inside a Flask application and a Django project."""

from __future__ import annotations

import pathlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from portal import Consumer, RegistryError, ValidationError
from portal.http.server.mount import mount
from portal.http.server.wsgi import WSGIApp
from tests.support.ports import free_port, wait_for_port
from tests.support.wsgi_servers import (
    FUNCTIONS,
    WAIT,
    ask,
    environment,
    make_portal,
    under_gunicorn,
    under_werkzeug,
)


@pytest.fixture
def published() -> Iterator[WSGIApp]:
    http_portal, app = make_portal()
    with http_portal:
        yield app


def flask_app() -> Any:
    flask = pytest.importorskip("flask")
    app = flask.Flask("outer")
    app.add_url_rule("/hello", view_func=lambda: "hello", endpoint="hello")
    return app


def by_mount(portal_app: WSGIApp) -> Any:
    app = flask_app()
    app.wsgi_app = mount(app.wsgi_app, portal_app)
    return app


def by_dispatcher(portal_app: WSGIApp) -> Any:
    middleware = pytest.importorskip("werkzeug.middleware.dispatcher")
    app = flask_app()
    app.wsgi_app = middleware.DispatcherMiddleware(app.wsgi_app, {"/api": portal_app})
    return app


def by_route(portal_app: WSGIApp) -> Any:
    app = flask_app()
    app.add_url_rule(
        "/api/<path:below>", view_func=lambda below: portal_app, endpoint="api", methods=["GET", "HEAD", "POST"]
    )
    return app


@pytest.mark.parametrize("mounted", [by_mount, by_dispatcher, by_route])
def test_inside_flask(mounted: Callable[[WSGIApp], Any], published: WSGIApp) -> None:
    with under_werkzeug(mounted(published)) as port, Consumer() as consumer:
        assert ask(f"127.0.0.1:{port}", "GET", "/hello")[2] == b"hello"
        at = f"http://127.0.0.1:{port}/api"
        assert consumer.call_at(f"{at}/add", {"a": 1, "b": 2}) == 3.0
        assert consumer.call_at(f"{at}/größe", {"a": 1, "b": 2}) == 3.0
        assert list(consumer.stream_at(f"{at}/count", {"to": 3})) == [0, 1, 2]
        with pytest.raises(ValidationError):
            consumer.call_at(f"{at}/add", {"a": 1})
        assert ask(f"127.0.0.1:{port}", "POST", "/api/unknown", {})[0] == 404


DJANGO = {
    "project/__init__.py": "",
    "project/settings.py": """
SECRET_KEY = "only for a test"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"
USE_TZ = True
""",
    "project/urls.py": """
from django.http import HttpResponse
from django.urls import path

urlpatterns = [path("hello", lambda request: HttpResponse("hello"))]
""",
    "project/wsgi.py": """
import os
from django.core.wsgi import get_wsgi_application
from portal.http.server.mount import mount
from wsgi_functions import application as portal_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
application = mount(get_wsgi_application(), portal_application)
""",
    "wsgi_functions.py": FUNCTIONS,
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A Django project's directory."""
    pytest.importorskip("django")
    directory = tmp_path_factory.mktemp("django")
    (directory / "project").mkdir()
    for name, text in DJANGO.items():
        (directory / name).write_text(text)
    return directory


def check_django(host: str) -> None:
    assert ask(host, "GET", "/hello")[2] == b"hello"
    with Consumer() as consumer:
        assert consumer.call_at(f"http://{host}/api/add", {"a": 1, "b": 2}) == 3.0
        assert list(consumer.stream_at(f"http://{host}/api/count", {"to": 3})) == [0, 1, 2]
        assert consumer.call_at(f"http://{host}/api/nothing") is None
        with pytest.raises(RegistryError):
            consumer.call_at(f"http://{host}/api/unknown")


def test_inside_django_under_gunicorn(project: pathlib.Path) -> None:
    with under_gunicorn(project, "project.wsgi", "--worker-class", "gthread", "--threads", "4") as port:
        check_django(f"127.0.0.1:{port}")


def test_inside_django_under_runserver(project: pathlib.Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "django", "runserver", "--noreload", f"127.0.0.1:{port}"],
        env=environment(project) | {"DJANGO_SETTINGS_MODULE": "project.settings"},
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=project,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "Quit the server" in line:
                break
        wait_for_port(port)
        check_django(f"127.0.0.1:{port}")
    finally:
        process.terminate()
        process.communicate(timeout=WAIT)
