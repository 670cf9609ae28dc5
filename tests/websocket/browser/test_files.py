"""The client for pages: how it is served, and that its types name what it has."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import requests

from portal.websocket.browser.files import PATHS
from portal.websocket.portal import WebSocketPortal


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with WebSocketPortal() as portal:
        yield str(portal.base).replace("ws://", "http://").removesuffix("/ws")


def test_the_files_are_served_and_cached(base: str) -> None:
    kinds = ("text/javascript", "text/plain", "text/html", "text/javascript", "text/css")
    for path, kind in zip(PATHS, kinds, strict=True):
        found = requests.get(base + path, timeout=20)
        assert (found.status_code, found.headers["Content-Type"]) == (200, f"{kind}; charset=utf-8")
        assert ("export class Portal" in found.text) == path.startswith("/portal")
        again = requests.get(base + path, headers={"If-None-Match": found.headers["ETag"]}, timeout=20)
        assert (again.status_code, again.text) == (304, "")
        assert requests.head(base + path, timeout=20).status_code == 200


def test_other_requests_are_rejected(base: str) -> None:
    assert requests.post(f"{base}/portal.js", timeout=20).status_code == 405
    assert requests.get(f"{base}/portal.js/more", timeout=20).status_code == 404


def test_without_documents_there_are_no_files() -> None:
    with WebSocketPortal(documents=False) as portal:
        base = str(portal.base).replace("ws://", "http://").removesuffix("/ws")
        assert requests.get(f"{base}/portal.js", timeout=20).status_code == 404


def test_the_types_name_the_exports(base: str) -> None:
    script, types = (requests.get(base + path, timeout=20).text for path in PATHS[:2])
    exports = set(re.findall(r"^export (?:class|const) (\w+)", script, re.MULTILINE))
    assert exports == set(re.findall(r"^export (?:class|function) (\w+)", types, re.MULTILINE))
    for name in ("call", "stream", "subscribe", "publish", "close"):
        assert re.search(rf"^  (?:async \*)?{name}\(", script, re.MULTILINE)
        assert re.search(rf"^  {name}[<(]", types, re.MULTILINE)
