"""Put a WSGI application beside another one, below a path.

application = mount(get_wsgi_application(), http.wsgi)      # wsgi.py of a Django project
app.wsgi_app = mount(app.wsgi_app, http.wsgi)               # Flask
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from ..._internal.settings import callback
from ...errors import ConfigError
from .wsgi_path import is_below

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

__all__ = ["Mounted", "mount"]


class Mounted(Protocol):
    """A WSGI application with the parameters that `app.wsgi_app` of Flask has, for checkers."""

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Respond to a request."""


def mount(outer: WSGIApplication, portal: WSGIApplication, at: str | None = None) -> Mounted:
    """Return a WSGI application that passes paths below `at` to `portal`, and all other paths to `outer`.

    Args:
        outer: an existing application, of any framework.
        portal: `HTTPPortal.wsgi`, or any other WSGI application.
        at: a path such as "/api"; None takes the portal's base path.
    Raises: ConfigError if there is no path to mount at, or if one of the two is not a WSGI application.
    """
    callback("wsgi.outer", outer, expected="a WSGI application")
    callback("wsgi.portal", portal, expected="a WSGI application, such as the `wsgi` of a portal")
    prefix = getattr(portal, "base_path", "") if at is None else at
    if not isinstance(prefix, str) or not _is_prefix(prefix):
        words = ", because the second application has no base path: pass the `wsgi` of a portal" if at is None else ""
        raise ConfigError.invalid("wsgi.at", prefix, f'a path such as "/api", without a slash at its end{words}')

    def mounted(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        info = environ.get("PATH_INFO", "")
        if not is_below(info, prefix):
            return outer(environ, start_response)
        moved = {"SCRIPT_NAME": environ.get("SCRIPT_NAME", "") + prefix, "PATH_INFO": info[len(prefix) :]}
        return portal({**environ, **moved}, start_response)

    return mounted


def _is_prefix(path: str) -> bool:
    return path.startswith("/") and not path.endswith("/")
