"""NetworkPortal: addresses, start and stop of a portal that speaks anything."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from portal import Consumer, HTTPPortal, WebSocketPortal
from portal.errors import ConfigError, RegistryError, TransportError
from portal.http import HTTPClient, HTTPResolver
from portal.network.listener_mount import Place
from portal.network.portal import NetworkPortal
from portal.service import Service
from portal.serving import Listener, Request, Response


def add(a: int) -> int:
    return a


class Says:
    def handle(self, request: Request) -> Response:
        return Response(200, [("Content-Type", "text/plain")], request.path.encode())


class Speaking(NetworkPortal):
    schemes = ("http", "https")

    def __init__(self, host: str = "127.0.0.1", **options: Any) -> None:
        given: dict[str, Any] = dict.fromkeys(("name", "allowed_hosts", "executor", "listener", "serving"))
        given |= {"trusted_proxies": (), "middleware": (), "unique_ids": "fingerprint", "listen": True}
        given |= {"base_path": "/say", "resolver": HTTPResolver()} | options
        super().__init__("say", host, 0, **given)
        self._serve_at([Place(given["base_path"], Says())])


def test_it_serves_from_start_to_stop() -> None:
    with Speaking() as portal:
        address = portal.apply(add)
        assert portal.owns(address)
        assert address.segments[:2] == ("say", "add")
        assert requests.get(str(address), timeout=10).text.startswith("/say/add/")
        assert (portal.accepting, portal.base.segments, portal.port) == (True, ("say",), address.port)
        portal.stop(1)
        assert not portal.accepting
        portal.start()
        assert portal.accepting
        portal.remove(address)
        with pytest.raises(RegistryError):
            portal.remove("http://other/say/add")
    assert not portal.accepting


def test_two_portals_share_a_listener() -> None:
    listener = Listener()
    with Speaking(listener=listener) as first, Speaking(listener=listener, base_path="/other") as second:
        assert first.port == second.port == listener.port
        assert requests.get(f"{second.base}/x", timeout=10).text == "/other/x"


def test_a_service_that_fails_leaves_nothing_running() -> None:
    def fail() -> None:
        raise OSError("no database")

    portal = Speaking()
    portal.apply_service(Service("shop", [add], on_start=fail))
    with pytest.raises(OSError, match="no database"):
        portal.start()
    assert not portal.accepting
    portal.close()


class Rejects:
    """A registration that rejects its settings."""

    def start(self, portal: Any) -> None:
        assert portal.accepting
        raise ConfigError("directory.advertise must be set")

    def stop(self) -> None: ...

    def close(self) -> None: ...


def test_a_registration_that_fails_leaves_nothing_running() -> None:
    portal = Speaking(registration=Rejects())
    with pytest.raises(ConfigError, match="advertise"):
        portal.start()
    assert not portal.accepting
    portal.close()


def test_a_registration_that_fails_leaves_a_shared_listener_to_the_others() -> None:
    listener = Listener()
    with Speaking(listener=listener) as first:
        second = Speaking(listener=listener, base_path="/other", registration=Rejects())
        with pytest.raises(ConfigError, match="advertise"):
            second.start()
        assert requests.get(f"{first.base}/x", timeout=10).text == "/say/x"
        assert requests.get(f"{second.base}/x", timeout=10).status_code == 404
        second.close()


@pytest.mark.parametrize("portal_class", [HTTPPortal, WebSocketPortal])
def test_a_call_before_start_says_that_the_portal_is_not_started(portal_class: type[NetworkPortal]) -> None:
    portal = portal_class()
    unbound = portal.generate_address("add")
    address = portal.apply(add)
    with Consumer() as consumer:
        for _ in range(2):
            with pytest.raises(TransportError, match=r"not started; use `with portal:` or portal\.start\(\)") as caught:
                consumer.call_at(address, {"a": 1}, timeout=30)
            assert caught.value.delivery == "not_sent"
        with pytest.raises(TransportError, match="port 0 stands for a free port"):
            consumer.call_at(unbound, {"a": 1}, timeout=30)
        with portal:
            assert consumer.call_at(address, {"a": 1}, timeout=30) == 1


def test_a_session_of_requests_learns_that_a_portal_is_not_started() -> None:
    portal = HTTPPortal()
    address = portal.apply(add)
    session = HTTPClient(session=requests.Session())
    with Consumer(http=session) as consumer, pytest.raises(TransportError, match="not started"):
        consumer.call_at(address, {"a": 1}, timeout=30)
    portal.close()


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        ({"listen": 1}, "say.listen"),
        ({"listener": 5}, "say.listener"),
        ({"base_path": "say"}, "say.base_path"),
        ({"host": "http://x:80"}, "say.host"),
        ({"host": "ws://x:80/"}, "say.host"),
        ({"host": "x:80"}, "say.host"),
        ({"allowed_hosts": ["a b"]}, "say.allowed_hosts"),
    ],
)
def test_wrong_settings_are_rejected(options: Any, setting: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Speaking(**options)
    assert setting in str(caught.value)
