"""A page at a name that comes to mean 127.0.0.1 calls a portal, in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from portal import HTTPPortal
from portal.serving import Request, Response
from tests.support.chromium import browser, needs_browser

_CALL = """
const done = arguments[arguments.length - 1];
fetch(arguments[0], {method: "POST", body: "{}", headers: {"content-type": "application/json"}})
  .then(async response => done([response.status, await response.json()]), error => done([String(error)]));
"""


def refund() -> str:
    return "refunded"


class Page:
    """The page of the attacker. The browser has loaded it before the name changes its meaning."""

    def handle(self, request: Request) -> Response:
        return Response(200, [("Content-Type", "text/html")], b"<!doctype html><title>attack</title>")


@needs_browser
def test_a_page_at_a_rebound_name_calls_no_function(tmp_path: Path) -> None:
    calls: list[str] = []

    def counted() -> str:
        calls.append("call")
        return "refunded"

    with HTTPPortal() as portal, HTTPPortal(allowed_hosts=["rebind.example"]) as named:
        address, also = portal.apply(counted), named.apply(refund)
        portal.listener.mount("/page", Page())
        named.listener.mount("/page", Page())
        rules = "--host-resolver-rules=MAP rebind.example 127.0.0.1"
        with browser(tmp_path / "profile", rules, "--no-proxy-server") as chromium:

            def call_from(host: str, port: int | None, path: str) -> Any:
                chromium.get(f"http://{host}:{port}/page")
                return chromium.execute_async_script(_CALL, path)

            attack = call_from("rebind.example", portal.port, address.path)
            assert (attack[0], attack[1]["code"]) == (421, "protocol_error")
            assert call_from("rebind.example", portal.port, "/api/rpc")[0] == 421
            assert calls == []
            assert call_from("127.0.0.1", portal.port, address.path) == [200, "refunded"]
            assert call_from("localhost", portal.port, address.path) == [200, "refunded"]
            assert call_from("rebind.example", named.port, also.path) == [200, "refunded"]
        assert calls == ["call", "call"]
