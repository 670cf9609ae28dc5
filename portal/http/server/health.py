"""HealthChecks: the paths that tell a load balancer or Kubernetes whether to send requests, and whether to restart.

GET /health/live    200 as long as the process responds
GET /health/ready   200, or 503 while the portal takes no further calls; GET /health is the same
"""

from __future__ import annotations

from collections.abc import Callable

from ..._internal.json_encoder import encode_json
from ...serving import Request, Response
from ..messages.event_stream import JSON

__all__ = ["HealthChecks"]

_METHODS = ("GET", "HEAD")


class HealthChecks:
    """Responds to health checks. They need no credential, are not logged and count for no limit.

    They are served at the root of the listener and below the base path. A portal that is mounted in another application
    has only the second place. A function or service that is published under the name takes precedence there.

    Args:
        path: "/health", or another path; None serves none.
        base_path: of the portal.
        problem: returns why the portal is not ready, or None.
        is_published: returns whether a function or service has a name below the base path.

    Attributes:
        paths: of all checks; `find` tells which of them are not those of something published.
        root_paths: the paths at the root of the listener that nothing else can have.

    Threads: any.
    """

    def __init__(
        self,
        path: str | None,
        base_path: str,
        problem: Callable[[], str | None],
        is_published: Callable[[str], bool],
    ) -> None:
        live, ready = self._live, self._ready
        at_root = {} if path is None else {path: ready, f"{path}/ready": ready, f"{path}/live": live}
        self._checks = at_root | {f"{base_path}{place}": check for place, check in at_root.items()}
        self.paths = self._checks.keys()
        self._name = "" if path is None else path.split("/", 2)[1]
        self._problem = problem
        self._is_published = is_published
        self.root_paths = frozenset(at_root) if base_path else frozenset[str]()

    def find(self, path: str) -> Callable[[Request], Response] | None:
        """Return what responds to a request with this path; None if the path is not that of a health check."""
        check = self._checks.get(path)
        if check is None or (path not in self.root_paths and self._is_published(self._name)):
            return None
        return check

    def _live(self, request: Request) -> Response:
        return _respond(request, None)

    def _ready(self, request: Request) -> Response:
        return _respond(request, self._problem())


def _respond(request: Request, problem: str | None) -> Response:
    if request.method not in _METHODS:
        return Response(405, [("Allow", ", ".join(_METHODS))])
    state = {"status": "up"} if problem is None else {"status": "down", "reason": problem}
    headers = [("Content-Type", JSON), ("Cache-Control", "no-store")]
    return Response(200 if problem is None else 503, headers, encode_json(state))
