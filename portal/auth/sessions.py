"""FlaskSession and DjangoSession: authenticate a browser by the session of the application that it has logged in to.

A browser sends the session's cookie with every request, also with those that pages of other origins cause. So a cookie
counts only if the request comes from a page of the same origin, or from no page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .._internal.log import get_logger
from .._internal.settings import callback
from ..context import Identity
from ..errors import ConfigError
from .authenticators import CredentialSource

if TYPE_CHECKING:
    from flask import Flask

__all__ = ["DjangoSession", "FlaskSession"]

_log = get_logger("portal.auth")
_CHALLENGE = 'Session realm="portal"'
_MAX_COOKIE = 16 * 1024  # characters
#: Keys of a Flask session that have the user: of Flask-Login, and of Flask's tutorial.
_USER_KEYS = ("_user_id", "user_id")


def _cookie_of(request: CredentialSource) -> str | None:
    """Return the Cookie header of a request that no page of another origin has caused."""
    headers = request.headers
    cookie = headers.get("cookie")
    if cookie is None:
        return None
    reason = _reason_to_ignore(headers, cookie)
    if reason is None:
        return cookie
    # Not a warning: any page can cause it.
    _log.debug(
        "ignored the cookie, because %s: origin=%.100r host=%.100r site=%.40r",
        reason,
        headers.get("origin"),
        headers.get("host", ""),
        headers.get("sec-fetch-site", "same-origin"),
    )
    return None


def _reason_to_ignore(headers: Mapping[str, str], cookie: str) -> str | None:
    if len(cookie) > _MAX_COOKIE:
        return f"the Cookie header has more than {_MAX_COOKIE:,} characters"
    site, origin, host = headers.get("sec-fetch-site", "same-origin"), headers.get("origin"), headers.get("host", "")
    is_own = site in ("same-origin", "none")
    if not is_own:
        return "Sec-Fetch-Site says that a page of another origin sent the request"
    if origin is not None and origin.lower().partition("://")[2] != host.lower():
        return "Origin is not that of the Host header"
    return None


def _ignored(request: CredentialSource, name: str) -> str | None:
    """Return what became of the session's cookie in a request without an identity, or None if it has no such cookie."""
    cookie = request.headers.get("cookie", "")
    if all(part.partition("=")[0].strip() != name for part in cookie.split(";")):
        return None
    reason = _reason_to_ignore(request.headers, cookie)
    if reason is None:
        return "the session cookie was sent, but not that of a user who is logged in"
    return f"the session cookie was ignored, because {reason}"


class FlaskSession:
    """Authenticate by the session of a Flask application.

    Args:
        app: the application. Its session interface reads the cookie, so sessions on a server work as well.
        identify: returns the Identity of a session, or None if nobody is logged in. It runs in a context of the
            application. By default the name is the user id of Flask-Login, or `session["user_id"]`.

    Raises: ConfigError for an object that is not a Flask application.

    Threads: any.
    """

    challenge = _CHALLENGE

    def __init__(self, app: Flask, identify: Callable[[Mapping[str, Any]], Identity | None] | None = None) -> None:
        if not callable(getattr(getattr(app, "session_interface", None), "open_session", None)):
            raise ConfigError.invalid("auth.app", type(app), "a Flask application")
        expected = "a callable (session) -> Identity or None"
        self._app = app
        self._identify = callback("auth.identify", identify, expected=expected, optional=True) or _flask_identity

    def authenticate(self, request: CredentialSource) -> Identity | None:
        """Return the identity of the user who is logged in, or None."""
        cookie = _cookie_of(request)
        if cookie is None:
            return None
        environ = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "HTTP_HOST": request.headers.get("host", "localhost"),
            "wsgi.url_scheme": "http",
            "HTTP_COOKIE": cookie,
        }
        with self._app.app_context():  # sessions and users may be in a database
            session = self._app.session_interface.open_session(self._app, self._app.request_class(environ))
            return None if not session else self._identify(session)

    def ignored(self, request: CredentialSource) -> str | None:
        """Return why the cookie of the session was ignored, or None."""
        return _ignored(request, self._app.config["SESSION_COOKIE_NAME"])


def _flask_identity(session: Mapping[str, Any]) -> Identity | None:
    for key in _USER_KEYS:
        user = session.get(key)
        if isinstance(user, str | int) and not isinstance(user, bool) and str(user):
            return Identity(str(user))
    return None


class DjangoSession:
    """Authenticate by the session of a Django project: the user that `django.contrib.auth` has logged in.

    Args:
        identify: returns the Identity of an active user, or None to reject it. By default the name is that of
            `user.get_username()`.

    Raises: ConfigError for a wrong setting. Django must have been set up by the first request.

    Threads: any. The database connection of the thread is closed as after a request of Django.
    """

    challenge = _CHALLENGE

    def __init__(self, identify: Callable[[Any], Identity | None] | None = None) -> None:
        expected = "a callable (user) -> Identity or None"
        self._identify = callback("auth.identify", identify, expected=expected, optional=True) or _django_identity

    def authenticate(self, request: CredentialSource) -> Identity | None:
        """Return the identity of the user who is logged in, or None."""
        cookie = _cookie_of(request)
        if cookie is None:
            return None
        from importlib import import_module

        from django.conf import settings
        from django.contrib.auth import get_user
        from django.db import close_old_connections
        from django.http import HttpRequest
        from django.http.cookie import parse_cookie

        key = parse_cookie(cookie).get(settings.SESSION_COOKIE_NAME)
        if not key:
            return None
        of_session = HttpRequest()
        close_old_connections()
        try:
            of_session.session = import_module(settings.SESSION_ENGINE).SessionStore(key)
            user = get_user(of_session)
            if not user.is_authenticated or not user.is_active:
                return None
            return self._identify(user)
        finally:
            close_old_connections()

    def ignored(self, request: CredentialSource) -> str | None:
        """Return why the cookie of the session was ignored, or None."""
        from django.conf import settings

        return _ignored(request, settings.SESSION_COOKIE_NAME)


def _django_identity(user: Any) -> Identity:
    return Identity(user.get_username())
