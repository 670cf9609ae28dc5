"""ListenerMount: the apps of one portal on a listener, alone or beside others."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from portal.errors import ConfigError
from portal.network.listener_mount import ListenerMount, Place, address_on
from portal.serving import Listener, Request, Response


class Says:
    def __init__(self, text: bytes) -> None:
        self.text = text

    def handle(self, request: Request) -> Response:
        return Response(200, [("Content-Type", "text/plain")], self.text)


def mount(listener: Listener, *places: Place, owned: bool = False, listen: bool = True) -> ListenerMount:
    return ListenerMount(listener, owned=owned, listen=listen, places=places)


def get(listener: Listener, path: str) -> Any:
    response = requests.get(f"http://127.0.0.1:{listener.port}{path}", timeout=10)
    return response.text if response.status_code == 200 else response.status_code


def test_portals_share_a_listener_until_the_last_one_leaves() -> None:
    listener = Listener()
    first = mount(listener, Place("/a", Says(b"a")), Place("/docs", Says(b"a-docs"), shared=True))
    second = mount(listener, Place("/b", Says(b"b")), Place("/docs", Says(b"b-docs"), shared=True))
    first.start()
    second.start()
    second.start()
    assert [get(listener, path) for path in ("/a", "/b", "/docs")] == ["a", "b", "a-docs"]
    first.stop(1)
    assert (get(listener, "/a"), get(listener, "/b"), listener.running) == (404, "b", True)
    second.stop(1)
    assert not listener.running


def test_a_prefix_that_is_taken_is_rejected() -> None:
    listener = Listener()
    mount(listener, Place("/a", Says(b"a"))).start()
    with pytest.raises(ConfigError):
        mount(listener, Place("/a", Says(b"b"))).start()
    listener.stop(1)


def test_an_owned_listener_stops_with_its_portal() -> None:
    listener = Listener()
    own = mount(listener, Place("/", Says(b"a")), owned=True)
    own.start()
    assert own.accepting
    own.stop(1)
    assert not own.accepting


def test_without_a_socket_nothing_is_served() -> None:
    listener = Listener()
    hosted = mount(listener, Place("/", Says(b"a")), listen=False)
    hosted.start()
    assert not listener.running
    assert hosted.accepting


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1", "ws://127.0.0.1:81/ws/add"),
        ("0.0.0.0", "ws://127.0.0.1:81/ws/add"),
        ("::", "ws://[::1]:81/ws/add"),
        ("unix:/tmp/x", "ws://localhost/ws/add"),
    ],
)
def test_the_address_of_a_path(host: str, shown: str) -> None:
    assert str(address_on(Listener(host, 0 if "unix" in host else 81), ("ws", "wss"), "/ws", ("add",))) == shown
