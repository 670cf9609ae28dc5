"""Discovery: the OpenRPC document of a WebSocket portal, with its topics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..catalogue import Catalogue
from ..jsonrpc.openrpc import openrpc_document
from .topics.topic import Topic

__all__ = ["Discovery"]


class Discovery:
    """Makes the document that rpc.discover returns.

    It is made again after something was published or removed. The member `x-topics` describes the topics.

    Args:
        catalogue, topics: what is published.
        title, version: of the document.
        url: returns the URL of the portal.

    Threads: any. Two threads may make the document at once.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        topics: Mapping[str, Topic],
        *,
        title: str,
        version: str,
        url: Callable[[], str],
    ) -> None:
        self._catalogue = catalogue
        self._topics = topics
        self._title = title
        self._version = version
        self._url = url
        self._made: tuple[Any, dict[str, Any]] | None = None

    def document(self) -> dict[str, Any]:
        """Return the document. It is cached, so the caller must not change it."""
        entries, topics = self._catalogue.entries(), list(dict(self._topics).values())
        made = self._made
        if made is None or made[0] != (entries, topics):
            document = openrpc_document(
                entries, title=self._title, version=self._version, server_url=self._url(), streams=True
            )
            document["x-topics"] = [topic.describe() for topic in topics]
            made = self._made = ((entries, topics), document)
        return made[1]
