"""/portal.js in a real browser: a page that calls, subscribes, publishes, loses its server and resumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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


class Page:
    """Serves the page."""

    def handle(self, request: Request) -> Response:
        return Response(200, [("Content-Type", "text/html; charset=utf-8")], PAGE.encode())


def add(a: float, b: float) -> float:
    return a + b


def wait(driver: Any, condition: str) -> None:
    """Wait until an expression of the page is true."""
    script = """
    const done = arguments[arguments.length - 1];
    const look = () => { if (%s) done(true); else setTimeout(look, 10); };
    look();
    """
    assert driver.execute_async_script(script % condition)


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
        assert [
            row for row in driver.get_log("browser") if row["level"] == "SEVERE" and "favicon" not in row["message"]
        ] == []
