"""A headless Chromium that contacts only the server under test, driven over WebDriver (W3C)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

__all__ = ["browser", "needs_browser"]

_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_DRIVER = shutil.which("chromedriver")
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--window-size=1280,1600",
)  # fmt: skip

needs_browser = pytest.mark.skipif(
    _CHROMIUM is None or _DRIVER is None, reason="chromium or chromedriver is not installed"
)


@contextmanager
def browser(profile: Path, *flags: str) -> Iterator[Chrome]:
    """Start a browser with an empty profile in the folder `profile`; it logs its console and its requests.

    Args:
        flags: more command-line flags.
    """
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    assert _CHROMIUM is not None
    options = ChromeOptions()
    options.binary_location = _CHROMIUM
    for flag in (*_FLAGS, *flags, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # Given a driver, selenium neither searches for one nor downloads one.
    driver = Chrome(options, Service(_DRIVER))
    try:
        driver.set_page_load_timeout(240)
        driver.set_script_timeout(240)
        yield driver
    finally:
        driver.quit()
