"""The page at /docs/websocket in a browser: a call, a subscription, and a server that is killed and comes back."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from portal import HTTPPortal, WebSocketPortal
from tests.support.chromium import browser, needs_browser
from tests.support.ports import free_port

_SERVER = """
import sys
from portal import WebSocketPortal

def add(a: float, b: float) -> float:
    "Add two numbers."
    return a + b

portal = WebSocketPortal(port=int(sys.argv[1]), title="Shop")
portal.apply(add)
ticks = portal.topic("ticks", description="Prices as they change.", publish_scopes=())
portal.start()
print("ready", flush=True)
for line in sys.stdin:
    print(ticks.publish(line.strip()).offset, flush=True)
"""


class Server:
    """A portal in a process of its own, which publishes what it is told."""

    def __init__(self, port: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SERVER, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def publish(self, data: str) -> int:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{data}\n")
        self.process.stdin.flush()
        return int(self._line())

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def serving(port: int) -> Iterator[Server]:
    server = Server(port)
    try:
        yield server
    finally:
        server.kill()


def wait(driver: Any, condition: str) -> None:
    script = """
    const done = arguments[arguments.length - 1];
    const card = (name) => document.querySelector(`details[data-name="${name}"]`);
    const text = (name, part) => card(name)?.querySelector(part)?.textContent ?? "";
    const look = () => { if (%s) done(true); else setTimeout(look, 10); };
    look();
    """
    assert driver.execute_async_script(script % condition)


def click(driver: Any, name: str, button: str) -> None:
    card = f"document.querySelector('details[data-name=\"{name}\"]')"
    driver.execute_script(f"{card}.open = true; {card}.querySelector('{button}').click()")


@needs_browser
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)], ids=["desktop", "phone"])
def test_the_page_calls_and_subscribes(width: int, height: int, tmp_path: Path) -> None:
    port = free_port()
    with serving(port) as server, browser(tmp_path / "profile") as driver:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        driver.get(f"http://127.0.0.1:{port}/docs/websocket")
        wait(driver, "text('add', '.about') === 'Add two numbers.'")
        click(driver, "add", ".call")
        wait(driver, "text('add', '.result').startsWith('0')")
        driver.execute_script('document.querySelector(\'.params\').value = \'{"a": 1, "b": "x"}\'')
        click(driver, "add", ".call")
        wait(driver, "text('add', '.result').includes('/b: ')")
        click(driver, "ticks", ".subscribe")
        click(driver, "ticks", ".publish")
        wait(driver, "text('ticks', '.result') === 'published at offset 1'")
        server.publish("from the server")
        wait(driver, "text('ticks', '.events').includes('2  \"from the server\"')")
        assert driver.execute_script("return document.documentElement.scrollWidth") <= width
        folder = os.environ.get("PORTAL_SCREENSHOTS")
        if folder:
            driver.save_screenshot(f"{folder}/docs-websocket-{width}.png")
        assert [row for row in driver.get_log("browser") if row["level"] == "SEVERE"] == []


@needs_browser
def test_the_page_goes_on_after_its_server_was_killed(tmp_path: Path) -> None:
    port = free_port()
    with browser(tmp_path / "profile") as driver:
        with serving(port) as server:
            driver.get(f"http://127.0.0.1:{port}/docs/websocket")
            wait(driver, "card('ticks')")
            click(driver, "ticks", ".subscribe")
            wait(driver, "document.getElementById('state').textContent === 'open'")
            click(driver, "ticks", ".publish")
            wait(driver, "text('ticks', '.events').includes('1  ')")
            server.publish("before")
            wait(driver, "text('ticks', '.events').includes('\"before\"')")
        wait(driver, "document.getElementById('state').textContent !== 'open'")
        with serving(port) as server:
            wait(driver, "document.getElementById('state').textContent === 'open'")
            # The events of the first process are gone with it, and the page says so.
            wait(driver, "text('ticks', '.events').includes('(epoch)')")
            server.publish("after")
            wait(driver, "text('ticks', '.events').includes('\"after\"')")
            click(driver, "add", ".call")
            wait(driver, "text('add', '.result').startsWith('0')")


@needs_browser
def test_a_link_to_the_page_does_not_choose_its_server(tmp_path: Path) -> None:
    """With another server behind the address, the page would send it the token that its reader enters."""
    with WebSocketPortal() as portal, browser(tmp_path / "profile") as driver:
        own = portal.base.authority
        for path in ("@127.0.0.1:1/ws", ".evil.example/ws", "0/ws", "//evil.example/ws", "/ws"):
            driver.get(f"http://{own}/docs/websocket?path={path}")
            host = "return new URL(document.getElementById('address').value.replace('ws:', 'http:')).host"
            assert driver.execute_script(host) == own, path


def test_the_page_of_the_http_portal_has_a_link_to_it() -> None:
    http = HTTPPortal()
    with http:
        alone = requests.get(f"http://{http.base.authority}/docs/", timeout=20)
    http = HTTPPortal()
    websocket = WebSocketPortal(listener=http.listener)
    with http, websocket:
        origin = f"http://{http.base.authority}"
        both = requests.get(f"{origin}/docs/", timeout=20)
        page = requests.get(f"{origin}/docs/websocket", timeout=20)
    if both.status_code == 501:
        pytest.skip("the files of Swagger UI are not installed")
    assert 'href="/docs/websocket"' in both.text
    assert "websocket" not in alone.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
