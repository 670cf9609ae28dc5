"""The docs page as a person meets it in headless Chromium: open, authorise, try a call, see the result or the refusal.

Under its Content-Security-Policy, and with nothing asked of another host.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest

import portal.examples.orders as orders
from portal import ApiKeyAuth, BearerAuth, HTTPPortal, function
from portal.http.server.mount import mount
from portal.schema import File
from tests.support.chromium import browser, needs_browser

pytestmark = needs_browser
pytest.importorskip("drf_spectacular_sidecar")
pytest.importorskip("selenium")

WAIT = 30.0
CREDENTIALS = {"bearer": "t0ken", "apiKey": "k3y"}


class DocsPage:
    """What a person does on the page, and sees there."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        self.driver.get(url)
        self.find(".opblock")

    def all(self, selector: str) -> list[Any]:
        return list(self.driver.find_elements("css selector", selector))

    def find(self, selector: str) -> Any:
        """The first of what a selector fits, as soon as it is there."""
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, WAIT).until(lambda _: next(iter(self.all(selector)), None), selector)

    def at_least(self, number: int, selector: str) -> list[Any]:
        """What a selector fits, as soon as there are so many."""
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, WAIT).until(lambda _: len(self.all(selector)) >= number, selector)
        return self.all(selector)

    def click(self, selector: str) -> None:
        """By the element's own click: what lies over it while the page moves does not matter."""
        self.driver.execute_script("arguments[0].click()", self.find(selector))

    def operations(self) -> list[tuple[str, str]]:
        """Method and path of each, in the order of the page."""
        return [
            (row.find_element("class name", "opblock-summary-method").text,
             row.find_element("class name", "opblock-summary-path").get_attribute("data-path"))
            for row in self.all(".opblock")
        ]  # fmt: skip

    def authorize(self, scheme: str) -> None:
        self.click(".btn.authorize")
        self.find(f"#{'auth-bearer-value' if scheme == 'bearer' else 'api_key_value'}").send_keys(CREDENTIALS[scheme])
        forms = {form.find_element("tag name", "h4").text.split()[0]: form for form in self.all(".auth-container")}
        forms[scheme].find_element("css selector", ".btn.authorize").click()
        self.click(".auth-btn-wrapper .btn-done")

    def try_out(self, operation: str, body: Any = None) -> tuple[int, str]:
        """Status and body of the answer to the example that is filled in, or to another body."""
        block = f"[id$='-{operation}']"
        if not self.all(f"{block} .opblock-body"):
            self.click(f"{block} .opblock-summary-control")
        self.find(f"{block} .opblock-body")
        if self.all(f"{block} .btn-clear"):
            self.click(f"{block} .btn-clear")
        elif not self.all(f"{block} .execute"):
            self.click(f"{block} .try-out__btn")
        text = self.find(f"{block} textarea.body-param__text")
        if body is not None:
            text.clear()
            text.send_keys(json.dumps(body))
        return self.execute(block)

    def execute(self, block: str) -> tuple[int, str]:
        """Send what is filled in, and return status and body of the answer."""
        self.click(f"{block} .execute")
        status = self.find(f"{block} .live-responses-table tr.response .response-col_status").text
        text = self.find(f"{block} .live-responses-table tr.response .response-col_description .highlight-code code")
        return int(status.split()[0]), str(text.get_attribute("textContent")).rstrip("\n")

    def console(self) -> list[str]:
        """What the console has, but for the note that a status of 400 or more came, which is no fault of the page's."""
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if not (entry["source"] == "network" and "the server responded with a status of 4" in entry["message"])
        ]

    def requested_origins(self) -> set[str]:
        """Every origin that something was asked of since the last look."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        urls = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
        # not data: URLs, and not the pages that the browser is made of
        return {"/".join(url.split("/")[:3]) for url in urls if url.startswith(("http", "ws"))}


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def page(driver: Any) -> Iterator[DocsPage]:
    shown = DocsPage(driver)
    shown.requested_origins()
    yield shown
    assert shown.console() == []


@function(version="2", timeout=5.0)
def greet(name: str, times: int = 1) -> str:
    """Greet somebody.

    As often as is asked for.
    """
    return " ".join(["hello", name] * times)


def count(to: int) -> Iterator[int]:
    """Numbers, one a line."""
    yield from range(to)


def sizes(photos: list[File]) -> dict[str, int]:
    """The size of each file."""
    return {photo.name or "": len(photo.read()) for photo in photos}


@pytest.fixture
def served() -> Iterator[str]:
    auth = [BearerAuth({"t0ken": "ann"}), ApiKeyAuth({"k3y": "reports"}, header="X-Orders-Key")]
    with HTTPPortal(auth=auth, title="Orders & more", version="2.1") as http:
        http.apply_service(orders.service)
        http.apply(greet)
        http.apply(count)
        yield f"http://127.0.0.1:{http.port}"


def test_published_functions_are_shown_by_service(page: DocsPage, served: str) -> None:
    page.open(f"{served}/docs")
    assert page.driver.current_url == f"{served}/docs/"
    assert page.driver.title == "Orders & more"
    assert page.find(".info .title").text.split() == ["Orders", "&", "more", "2.1", "OAS", "3.1"]
    groups = [group.get_attribute("data-tag") for group in page.all(".opblock-tag")]
    assert groups == ["functions", "orders", "json-rpc", "schemas"]
    calls = [path for method, path in page.operations() if method == "POST"]
    wanted = [f"/api/orders/{name}" for name in orders.service.functions]
    assert sorted(calls) == sorted([*wanted, "/api/greet", "/api/count", "/api/rpc"])
    assert len(page.operations()) == 2 * len(calls) - 1
    assert "Prices orders." in page.find(".opblock-tag[data-tag=orders]").text
    assert page.requested_origins() == {served}


def test_a_call_needs_the_token(page: DocsPage, served: str) -> None:
    page.open(f"{served}/docs/")
    status, text = page.try_out("orders_price")
    assert (status, json.loads(text)["code"]) == (401, "authentication_error")
    page.authorize("bearer")
    status, text = page.try_out("orders_price")
    assert (status, json.loads(text)["total"]) == (200, "15.70")
    status, text = page.try_out("orders_price", {"order": {"customer": {"name": ""}, "items": []}})
    problem = json.loads(text)
    assert (status, problem["code"]) == (422, "validation_error")
    assert {fault["path"] for fault in problem["errors"]} == {
        "/order/customer/email",
        "/order/customer/name",
        "/order/items",
    }
    assert page.requested_origins() == {served}


def test_an_api_key_is_sent_in_its_header(page: DocsPage, served: str) -> None:
    page.open(f"{served}/docs/")
    page.authorize("apiKey")
    assert page.try_out("orders_add") == (200, "3")
    assert "X-Orders-Key" in page.find("[id$='-orders_add'] .curl").text


def test_a_function_without_an_example_can_be_tried_unchanged(page: DocsPage, served: str) -> None:
    page.open(f"{served}/docs/")
    page.authorize("bearer")
    status, text = page.try_out("greet")
    assert (status, json.loads(text).split()[0]) == (200, "hello")
    shown = page.find("[id$='-greet'] .opblock-description").text
    assert "As often as is asked for." in shown
    assert "Version 2, at most 5 s." in shown


def test_a_stream_shows_its_lines(page: DocsPage, served: str) -> None:
    page.open(f"{served}/docs/")
    page.authorize("bearer")
    assert page.try_out("count", {"to": 3}) == (200, "0\n1\n2")


def test_several_files_are_chosen_and_sent(page: DocsPage, tmp_path: Path) -> None:
    with HTTPPortal() as http:
        http.apply(sizes)
        page.open(f"http://127.0.0.1:{http.port}/docs/")
        block = "[id$='-sizes']"
        page.click(f"{block} .opblock-summary-control")
        page.click(f"{block} .try-out__btn")
        page.click(f"{block} .json-schema-form-item-add")
        for number, field in enumerate(page.at_least(2, f"{block} input[type=file]"), 1):
            file = tmp_path / f"{number}.png"
            file.write_bytes(b"x" * number)
            field.send_keys(str(file))
        assert page.execute(block) == (200, '{\n  "1.png": 1,\n  "2.png": 2\n}')
    # The page looks for a component of its own that it does not have, and takes the usual one.
    assert {entry.partition('"JsonSchema_string_binary"')[1] for entry in page.console()} <= {
        '"JsonSchema_string_binary"'
    }


class Quiet(WSGIRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


def test_json_rpc_can_be_tried_unchanged(page: DocsPage, served: str) -> None:
    page.open(f"{served}/docs/")
    page.authorize("bearer")
    status, text = page.try_out("call_json_rpc")
    assert (status, json.loads(text)) == (200, {"jsonrpc": "2.0", "result": 3.0, "id": 1})


@pytest.fixture(params=["/api", "/rpc"])
def mounted(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """Where a Flask app is, and the path of a portal in it."""
    flask = pytest.importorskip("flask")
    with HTTPPortal(listen=False, auth=BearerAuth({"t0ken": "ann"})) as http:
        http.apply_service(orders.service)
        app = flask.Flask("shop")
        app.wsgi_app = mount(app.wsgi_app, http.wsgi, request.param)
        with make_server("127.0.0.1", 0, app, WSGIServer, Quiet) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}", request.param
            finally:
                server.shutdown()
                thread.join(WAIT)


def test_the_page_works_when_mounted_in_flask(page: DocsPage, mounted: tuple[str, str]) -> None:
    origin, path = mounted
    page.open(f"{origin}{path}/docs")
    assert ("POST", f"{path}/orders/add") in page.operations()
    assert page.try_out("orders_add")[0] == 401
    page.authorize("bearer")
    assert page.try_out("orders_add") == (200, "3")
    assert page.requested_origins() == {origin}
