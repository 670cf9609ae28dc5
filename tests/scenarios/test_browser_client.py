"""/portal.js in a real browser: a page that calls, subscribes, publishes, loses its server and resumes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from portal import CallContext
from portal.serving import Listener, Request, Response, ServingConfig
from portal.websocket.portal import WebSocketPortal
from tests.support.chromium import browser, needs_browser

PAGE = """<!doctype html><title>test</title><script type="module">
import { connect } from "/portal.js";
window.log = [];
window.portal = connect(`ws://${location.host}/ws`, { onState: (state) => log.push(state) });
window.events = [];
window.ticks = portal.subscribe("ticks", {
  onEvent: (event) => events.push(event.data),
  onGap: (gap) => events.push(gap.reason),
});
window.loaded = true;
</script>"""


CANCELLED = threading.Event()


class Page:
    """Serves the page."""

    def handle(self, request: Request) -> Response:
        return Response(200, [("Content-Type", "text/html; charset=utf-8")], PAGE.encode())


def add(a: float, b: float) -> float:
    return a + b


def count(to: int, context: CallContext) -> Iterator[int]:
    try:
        for number in range(to):
            if number == 3 and to == 4:
                raise ValueError("four is too many")
            yield number
    finally:
        if context.cancelled:
            CANCELLED.set()


def wait(driver: Any, condition: str) -> None:
    """Wait until an expression of the page is true."""
    script = """
    const done = arguments[arguments.length - 1];
    const look = () => { if (%s) done(true); else setTimeout(look, 10); };
    look();
    """
    assert driver.execute_async_script(script % condition)


def severe(driver: Any) -> list[Any]:
    """Take the log of the browser, and return its errors."""
    return [row for row in driver.get_log("browser") if row["level"] == "SEVERE" and "favicon" not in row["message"]]


@needs_browser
def test_a_page_that_loses_its_server_and_resumes(tmp_path: Path) -> None:
    listener = Listener(port=0, config=ServingConfig())
    listener.mount("/page", Page())
    portal = WebSocketPortal(listener=listener)
    portal.apply(add)
    ticks = portal.topic("ticks", publish_scopes=())
    with portal, browser(tmp_path / "profile") as driver:
        driver.get(f"http://127.0.0.1:{listener.port}/page")
        wait(driver, "window.loaded && ticks.position")
        run = driver.execute_async_script
        script = "const done = arguments[arguments.length - 1]; portal.call('add', {a: 1, b: 2}).then(done, done);"
        assert run(script) == 3
        rejected = (
            "const done = arguments[arguments.length - 1]; portal.call('add', {a: 'x'}).catch((e) => done(e.code));"
        )
        assert run(rejected) == "validation_error"
        published = (
            "const done = arguments[arguments.length - 1]; portal.publish('ticks', 1).then((p) => done(p.offset));"
        )
        assert run(published) == 1
        wait(driver, "events.length === 1")
        portal.disconnect(lambda _: True, code=1012, reason="the test")
        ticks.publish(2)
        ticks.publish(3)
        wait(driver, "events.length === 3")
        assert driver.execute_script("return events") == [1, 2, 3]
        assert driver.execute_script("return log") == ["connecting", "open", "waiting", "connecting", "open"]
        # A call that is made while there is no connection waits for it. One that is sent before the page knows is lost.
        portal.disconnect(lambda _: True, code=1012, reason="the test")
        wait(driver, "log.length > 5")
        assert run(script) == 3
        driver.execute_script("portal.close()")
        assert driver.execute_script("return portal.state") == "closed"
        assert severe(driver) == []


READ = """
const done = arguments[arguments.length - 1], [method, params, most, options] = arguments;
(async () => {
  const items = [];
  try {
    for await (const item of portal.stream(method, params, options)) if (items.push(item) === most) break;
  } catch (error) {
    items.push(error.code);
  }
  done(items);
})();
"""


@needs_browser
def test_a_page_reads_streams(tmp_path: Path) -> None:
    listener = Listener(port=0, config=ServingConfig())
    listener.mount("/page", Page())
    portal = WebSocketPortal(listener=listener)
    portal.apply(count)
    portal.topic("ticks")
    with portal, browser(tmp_path / "profile") as driver:
        driver.get(f"http://127.0.0.1:{listener.port}/page")
        wait(driver, "window.loaded && ticks.position")
        run = driver.execute_async_script
        assert run(READ, "count", {"to": 500}, -1, {}) == list(range(500))  # beyond its credit
        assert run(READ, "count", {"to": 0}, -1, {}) == []
        assert run(READ, "count", {"to": 4}, -1, {}) == [0, 1, 2, "function_error"]
        assert run(READ, "count", {"to": "x"}, -1, {}) == ["validation_error"]
        assert run(READ, "count", {"to": 10**9}, 70, {}) == list(range(70))
        assert CANCELLED.wait(20)
        called = (
            "const done = arguments[arguments.length - 1]; portal.call('count', {to: 2}).catch((e) => done(e.message));"
        )
        assert run(called) == "count is a stream; use stream in place of call"
        driver.execute_script("window.last = portal.stream('count', {to: 1e9}); window.first = last.next();")
        wait(driver, "window.first.then((one) => window.began = one.value === 0) && window.began")
        portal.disconnect(lambda _: True, code=1012, reason="the test")
        rest = """
        const done = arguments[arguments.length - 1];
        (async () => { try { for await (const one of last); done("ended"); } catch (e) { done(e.code); } })();
        """
        assert run(rest) == "transport_error"
        assert run(READ, "count", {"to": 2}, -1, {}) == [0, 1], "on the next connection"
        assert severe(driver) == []
        driver.execute_script("portal.subscribe('nothing')")
        wait(driver, "portal._subscriptions.size === 1")
        logged = [row["message"] for row in driver.get_log("browser")]
        assert any("the subscription to nothing has ended: there is no topic nothing" in message for message in logged)


@needs_browser
def test_the_page_of_topics_and_functions_calls_streams(tmp_path: Path) -> None:
    portal = WebSocketPortal()
    portal.apply(count)
    with portal, browser(tmp_path / "profile") as driver:
        driver.get(f"http://127.0.0.1:{portal.listener.port}/docs/websocket")
        wait(driver, "document.querySelector('.params')")
        driver.execute_script(
            "document.querySelector('.params').value = '{\"to\": 3}'; document.querySelector('.call').click()"
        )
        wait(driver, "document.querySelector('.result').textContent.includes(' ms')")
        shown = driver.execute_script("return document.querySelector('.result').textContent")
        assert [int(part) for part in shown.partition("]")[0].strip("[ ").split(",")] == [0, 1, 2]
