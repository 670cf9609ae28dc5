"""The logged-in user of Flask and of Django as Identity."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import flask
import pytest
import requests

import portal
from portal import CallContext, ConfigError, HTTPPortal, Identity
from portal.auth import DjangoSession, FlaskSession
from portal.http import mount


def application() -> flask.Flask:
    app = flask.Flask("shop")
    app.secret_key = "only for a test"

    @app.get("/login/<user>")
    def login(user: str) -> str:
        flask.session["user_id"] = user
        return "ok"

    return app


def cookie_of(app: flask.Flask, user: str) -> str:
    return app.test_client().get(f"/login/{user}").headers["Set-Cookie"].partition(";")[0]


def request_of(**headers: str) -> Any:
    given = {key.replace("_", "-"): text for key, text in headers.items()}
    return SimpleNamespace(headers={"host": "shop.example"} | given)


def whoami(context: CallContext) -> str:
    assert context.identity is not None
    return context.identity.name


def test_the_user_of_a_flask_session() -> None:
    app = application()
    auth = FlaskSession(app)
    cookie = cookie_of(app, "ann")
    assert auth.authenticate(request_of(cookie=cookie)) == Identity("ann")
    assert auth.authenticate(request_of()) is None
    assert auth.authenticate(request_of(cookie="session=forged")) is None
    assert auth.authenticate(request_of(cookie=cookie.replace("=eyJ", "=eyK"))) is None
    assert auth.authenticate(request_of(cookie=cookie + "; x=" + "y" * 20_000)) is None
    admins = FlaskSession(app, lambda session: Identity(session["user_id"], scopes=["admin"]))
    found = admins.authenticate(request_of(cookie=cookie))
    assert found is not None
    assert found.scopes == {"admin"}


def test_the_user_is_found_in_an_application_context() -> None:
    app = application()
    app.config["ACTIVE"] = {"ann"}
    ended: list[object] = []
    app.teardown_appcontext(ended.append)

    def identify(session: Any) -> Identity | None:
        return Identity(session["user_id"]) if session["user_id"] in flask.current_app.config["ACTIVE"] else None

    auth = FlaskSession(app, identify)
    cookies = [cookie_of(app, name) for name in ("ann", "bob")]
    ended.clear()
    assert [auth.authenticate(request_of(cookie=cookie)) for cookie in cookies] == [Identity("ann"), None]
    assert ended == [None, None]
    assert not flask.has_app_context()


@pytest.mark.parametrize(
    ("headers", "counts"),
    [
        ({"origin": "http://shop.example"}, True),
        ({"origin": "https://shop.example"}, True),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"sec_fetch_site": "same-origin"}, True),
        ({"sec_fetch_site": "cross-site"}, False),
        ({"sec_fetch_site": "same-site"}, False),
    ],
)
def test_a_page_of_another_origin_has_no_session(headers: dict[str, str], counts: bool) -> None:
    app = application()
    found = FlaskSession(app).authenticate(request_of(cookie=cookie_of(app, "ann"), **headers))
    assert (found is not None) == counts


def test_the_log_has_the_reason_for_an_ignored_cookie(caplog: pytest.LogCaptureFixture) -> None:
    app = application()
    request = request_of(cookie=cookie_of(app, "ann"), host="inside:8080", origin="https://shop.example")
    with caplog.at_level("DEBUG", "portal.auth"):
        assert FlaskSession(app).authenticate(request) is None
    (row,) = caplog.records
    assert row.getMessage() == (
        "ignored the cookie, because Origin is not that of the Host header: origin='https://shop.example' "
        "host='inside:8080' site='same-origin'"
    )


def test_a_flask_application_and_its_portal() -> None:
    app = application()
    http = HTTPPortal(listen=False, auth=FlaskSession(app))
    http.apply(whoami)
    app.wsgi_app = mount(app.wsgi_app, http.wsgi)  # type: ignore[method-assign,assignment]
    client = app.test_client()
    assert client.post("/api/whoami", json={}).status_code == 401
    client.get("/login/bob")
    assert client.post("/api/whoami", json={}).json == "bob"
    http.close()


@pytest.mark.parametrize("wrong", [{"app": "shop"}, {"app": application(), "identify": 3}])
def test_wrong_settings_are_rejected(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        FlaskSession(**wrong)
    with pytest.raises(ConfigError):
        DjangoSession(3)  # type: ignore[arg-type]


DJANGO = """
import django
from django.conf import settings

settings.configure(
    SECRET_KEY="only for a test",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "site.db"}},
)
django.setup()
from django.contrib.auth import get_user_model, login
from django.core.management import call_command
from django.http import HttpRequest
from importlib import import_module
from types import SimpleNamespace

from portal import Identity
from portal.auth import DjangoSession

call_command("migrate", verbosity=0)
ann = get_user_model().objects.create_user("ann", password="x")
request = HttpRequest()
request.session = import_module(settings.SESSION_ENGINE).SessionStore()
login(request, ann)
request.session.save()
cookie = f"{settings.SESSION_COOKIE_NAME}={request.session.session_key}"

def ask(cookie, auth=DjangoSession()):
    return auth.authenticate(SimpleNamespace(headers={"cookie": cookie, "host": "a"}))

assert ask(cookie) == Identity("ann"), ask(cookie)
assert ask("sessionid=forged") is None
assert ask("other=1") is None
forged = SimpleNamespace(headers={"cookie": "sessionid=forged", "host": "a"})
assert "not that of a user" in DjangoSession().ignored(forged)
assert ask(cookie, DjangoSession(lambda user: None)) is None
ann.set_password("changed")
ann.save()
assert ask(cookie) is None  # Django ends the sessions of a user whose password changes
print("done")
"""


def test_the_user_of_a_django_session(tmp_path: Path) -> None:
    root = Path(portal.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", DJANGO], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "done\n", done.stderr


def test_requests_from_a_program_have_no_origin() -> None:
    app = application()
    with HTTPPortal(auth=FlaskSession(app)) as http:
        url = str(http.apply(whoami))
        cookie = cookie_of(app, "ann")
        assert requests.post(url, json={}, headers={"Cookie": cookie}, timeout=30).json() == "ann"
        page = {"Cookie": cookie, "Origin": "http://evil.example"}
        assert requests.post(url, json={}, headers=page, timeout=30).status_code == 401


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({}, " and none was sent"),
        ({"Cookie": "theme=dark", "Origin": "http://evil.example"}, " and none was sent"),
        (
            {"Cookie": "USER", "Origin": "http://evil.example"},
            "; the session cookie was ignored, because Origin is not that of the Host header",
        ),
        (
            {"Cookie": "USER", "Sec-Fetch-Site": "cross-site"},
            "; the session cookie was ignored, because Sec-Fetch-Site says that a page of another origin sent the "
            "request",
        ),
        (
            {"Cookie": "USER; x=" + "y" * 17_000},
            "; the session cookie was ignored, because the Cookie header has more than 16,384 characters",
        ),
        (
            {"Cookie": "a=b; session=forged"},
            "; the session cookie was sent, but not that of a user who is logged in",
        ),
    ],
)
def test_a_client_learns_why_its_cookie_was_ignored(headers: dict[str, str], words: str) -> None:
    app = application()
    cookie = cookie_of(app, "ann")
    sent = {name: text.replace("USER", cookie) for name, text in headers.items()}
    with HTTPPortal(auth=FlaskSession(app)) as http:
        response = requests.post(str(http.apply(whoami)), json={}, headers=sent, timeout=30)
    assert (response.status_code, response.json()["detail"]) == (401, f"a credential is required{words}")
    assert cookie.partition("=")[2] not in response.text
