"""The OpenRPC document of a WebSocket portal."""

from __future__ import annotations

from collections.abc import Iterator

from portal import function
from portal.catalogue import Catalogue
from portal.websocket.discovery import Discovery
from portal.websocket.topics.topic import Topic


def test_the_document_has_functions_and_topics_and_follows_them() -> None:
    catalogue, topics = Catalogue(), {"ticks": Topic("ticks", item=int)}
    catalogue.add(function(name="add")(lambda: 1))
    discovery = Discovery(catalogue, topics, title="Shop", version="2", url=lambda: "ws://x/ws")
    first = discovery.document()
    assert discovery.document() is first
    assert (first["info"], first["servers"][0]["url"]) == ({"title": "Shop", "version": "2"}, "ws://x/ws")
    assert [method["name"] for method in first["methods"]] == ["add"]
    assert [topic["topic"] for topic in first["x-topics"]] == ["ticks"]
    topics["prices"] = Topic("prices")
    assert [topic["topic"] for topic in discovery.document()["x-topics"]] == ["ticks", "prices"]
    catalogue.add(function(name="sub")(lambda: 1))
    assert [method["name"] for method in discovery.document()["methods"]] == ["add", "sub"]


def test_the_document_has_streams() -> None:
    catalogue = Catalogue()

    @function
    def count() -> Iterator[int]:
        yield 1

    catalogue.add(count)
    (method,) = Discovery(catalogue, {}, title="Shop", version="2", url=lambda: "ws://x/ws").document()["methods"]
    assert (method["name"], method["x-streaming"]) == ("count", True)
