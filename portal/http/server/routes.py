"""Routes: the functions that requests with the same head lead to, so that each head is looked up once."""

from __future__ import annotations

from typing import NamedTuple

from ...catalogue import Catalogue, Entry
from ...errors import ProtocolError
from ...http11.request_head import RequestHead
from ...schema import FunctionSchema
from ...serving import Request
from ..messages.event_stream import JSON
from .negotiation import json_type

__all__ = ["Route", "Routes"]

_MAX_ROUTES = 512


class Route(NamedTuple):
    """The function that requests with one template lead to.

    Attributes:
        entry: the function.
        is_plain: whether parameters and result are JSON, as both headers of the client say, and the function has no
            settings of its own for requests.
        generation: of the catalogue in which the function was found.
    """

    entry: Entry
    is_plain: bool
    generation: int


class Routes:
    """Remembers where POST requests lead, by the templates of their heads; see `RequestHead.template`.

    Args:
        catalogue: has the functions. A change of it makes all routes void.

    Threads: any; each operation on the table is one step.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._routes: dict[RequestHead | None, Route] = {}

    def find(self, request: Request) -> Route | None:
        """Return where a request leads; None if that is to be looked up."""
        head = request.head
        route = self._routes.get(head.template)
        if route is None or route.generation != self._catalogue.generation or not _is_unchanged(request):
            return None
        return route

    def add(self, request: Request, entry: Entry, generation: int) -> None:
        """Remember where a request leads.

        Args:
            generation: of the catalogue before the function was looked up.
        """
        template = request.head.template
        if template is None or not _is_unchanged(request) or "content-encoding" in request.headers:
            return
        if len(self._routes) >= _MAX_ROUTES:
            self._routes.clear()
        self._routes[template] = Route(entry, _is_plain(request, entry.function.schema), generation)


def _is_unchanged(request: Request) -> bool:
    """Return whether no middleware has changed what the head says."""
    head = request.head
    return request.headers is head.headers and request.path is head.path and request.query is head.query


def _is_plain(request: Request, schema: FunctionSchema) -> bool:
    if schema.transfer is not None or schema.streaming or schema.cacheable:
        return False
    if schema.max_body is not None or schema.timeout is not None or request.headers.get("content-type") != JSON:
        return False
    try:
        return json_type(request.headers.get("accept", "*/*")) == JSON
    except ProtocolError:
        return False
