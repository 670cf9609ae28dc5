"""The dashboard: in a browser, at the width of a desktop and of a phone."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests

from portal import Consumer
from portal.examples.dashboard import Dashboard, read_load
from portal.websocket import Event
from tests.support.chromium import browser, needs_browser

WAIT = 20.0


def rising() -> Callable[[], float]:
    numbers = count(1)
    return lambda: float(next(numbers))


def test_a_subscriber_gets_the_last_values_and_each_new_one() -> None:
    dashboard = Dashboard(read=rising())
    with dashboard as page, Consumer() as consumer:
        dashboard.publish()
        with consumer.subscribe(dashboard.load.address, returns=None) as values:
            first = values.next(WAIT)
            assert isinstance(first, Event)
            assert first.snapshot
            assert [point["load"] for point in first.data] == [1.0]
            dashboard.publish()
            second = values.next(WAIT)
            assert isinstance(second, Event)
            assert second.data["load"] == 2.0
        assert requests.get(page, timeout=WAIT).headers["Content-Type"] == "text/html; charset=utf-8"
        assert requests.post(page, timeout=WAIT).status_code == 405


def test_the_load_is_not_negative() -> None:
    assert read_load() >= 0


def wait(driver: Any, condition: str) -> None:
    script = """
    const done = arguments[arguments.length - 1];
    const look = () => { if (%s) done(true); else setTimeout(look, 10); };
    look();
    """
    assert driver.execute_async_script(script % condition)


@needs_browser
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)], ids=["desktop", "phone"])
def test_the_page_in_a_browser(width: int, height: int, tmp_path: Path) -> None:
    dashboard = Dashboard(read=rising())
    with dashboard as page, browser(tmp_path / "profile") as driver:
        for _ in range(30):
            dashboard.publish()
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        driver.get(page)
        wait(driver, "document.getElementById('now').textContent === '30.00'")
        assert driver.execute_script("return document.getElementById('state').textContent") == "live"
        dashboard.publish()
        wait(driver, "document.getElementById('now').textContent === '31.00'")
        drawn = driver.execute_script("return document.querySelector('polyline').getAttribute('points')")
        assert len(drawn.split()) == 31
        # The page is not wider than the screen.
        assert driver.execute_script("return document.documentElement.scrollWidth") <= width
        folder = os.environ.get("PORTAL_SCREENSHOTS")
        if folder:
            driver.save_screenshot(f"{folder}/dashboard-{width}.png")
        dashboard.portal.disconnect(lambda _: True, code=1012, reason="the test")
        dashboard.publish()
        wait(driver, "document.getElementById('now').textContent === '32.00'")
