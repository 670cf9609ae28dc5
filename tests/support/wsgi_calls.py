"""Calls of a WSGI application without a server."""

from __future__ import annotations

from typing import Any
from wsgiref.util import setup_testing_defaults

from portal.serving import Request, Response

__all__ = ["RecordingApp", "environ", "reply"]


def environ(**changes: Any) -> dict[str, Any]:
    """Return the environ of a request for /api/add; a change to None removes a key."""
    values: dict[str, Any] = {"PATH_INFO": "/api/add", "REMOTE_ADDR": "192.0.2.1"} | changes
    setup_testing_defaults(values)
    return {name: value for name, value in values.items() if value is not None}


class RecordingApp:
    """An app that records its requests and returns the same response to each."""

    def __init__(self, response: Response | None = None) -> None:
        self.requests: list[Any] = []
        self.response = response or Response(200, [("Content-Type", "text/plain")], b"recorded")

    def handle(self, request: Request) -> Response:
        assert request.share() is None
        self.requests.append(request)
        return self.response


def reply(app: Any, **changes: Any) -> tuple[int, list[tuple[str, str]], list[bytes]]:
    """Call an application; return the status, the headers, and the pieces of the body."""
    told: list[Any] = []
    pieces = app(environ(**changes), lambda status, headers: told.extend((status, headers)))
    try:
        data = list(pieces)
    finally:
        getattr(pieces, "close", lambda: None)()
    return int(told[0].split()[0]), told[1], data
