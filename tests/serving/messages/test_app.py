"""What a listener finds out about an application."""

from __future__ import annotations

from portal import HTTPPortal
from portal.serving import Request, Response
from portal.serving.messages.app import Authenticating, ProxyAware


class Plain:
    def handle(self, request: Request) -> Response:
        return Response(200)


def test_a_plain_app_has_no_authentication_and_knows_no_proxies() -> None:
    assert not isinstance(Plain(), Authenticating)
    assert not isinstance(Plain(), ProxyAware)


def test_the_app_of_a_portal_authenticates_early_and_knows_its_proxies() -> None:
    portal = HTTPPortal(trusted_proxies=["192.0.2.0/24"])
    try:
        portal.start()
        app = portal.listener._apps.find("/api")
    finally:
        portal.close()
    assert isinstance(app, Authenticating)
    assert isinstance(app, ProxyAware)
