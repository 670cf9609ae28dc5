"""The pricing page: a user edits a rule, and a hostile rule is rejected while other users place orders."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from portal import Consumer, JavaScriptError
from portal.examples.pricing import Pricing
from portal.javascript import Limits
from tests.support.chromium import browser, needs_browser

WAIT = 60.0
ORDER = {"amount": 100, "tier": "bronze"}
SLOW = "must take at most"  # on a busy machine any rule may be too slow
#: Hostile rules, and what the user is told.
HOSTILE = {
    "o => { while (true) {} }": "never ends",
    "o => { let go = 1; while (go) {} }": SLOW,
    "o => new Array(1e9).join('x').length": SLOW,
    "function f(o) { return f(o) + 1 }": "call stack",
    "o => { const a = []; for (let i = 1; i; i++) a.push('x'.repeat(1e5) + i) }": "limit",
    "o => fetch('http://169.254.169.254/')": "fetch is not defined",
    "o => -1": "at least 0",
    "o => 'free'": "at least 0",
    "o => {": "yntax",  # or Syntax
}


@pytest.fixture
def pricing() -> Iterator[Pricing]:
    made = Pricing(limits=Limits(time=60.0, memory=16 * 2**20), trial_time=3.0)
    with made:
        yield made


class Customer:
    """Places orders one after the other in a thread of its own, and notes what it gets."""

    def __init__(self, pricing: Pricing, orders: int = 3) -> None:
        self.prices: list[Any] = []
        self._pricing = pricing
        self._stopped, self._enough = threading.Event(), threading.Event()
        self._orders = orders
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with Consumer() as consumer:
            while not self._stopped.is_set():
                try:
                    self.prices.append(consumer.call_at(self._pricing.price, ORDER))
                except Exception as error:
                    self.prices.append(error)
                if len(self.prices) >= self._orders:
                    self._enough.set()

    def __enter__(self) -> Customer:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._enough.wait(WAIT)
        self._stopped.set()
        self._thread.join(WAIT)


def test_the_next_order_uses_the_rule_that_was_saved(pricing: Pricing) -> None:
    with Consumer() as consumer:
        base = str(pricing.price).partition("/price")[0]
        assert consumer.call_at(pricing.price, ORDER) == 95
        assert consumer.call_at(f"{base}/save_rule", {"code": "o => o.amount / 2"})["version"] == 2
        assert consumer.call_at(pricing.price, ORDER) == 50
        assert consumer.call_at(f"{base}/read_rule", {}) == {"code": "o => o.amount / 2", "version": 2}


def test_a_hostile_rule_is_rejected_and_nobody_else_notices(pricing: Pricing) -> None:
    with Consumer() as consumer:
        save = str(pricing.price).partition("/price")[0] + "/save_rule"
        with Customer(pricing) as customer:
            for code, words in HOSTILE.items():
                with pytest.raises(JavaScriptError, match=f"{words}|{SLOW}"):
                    consumer.call_at(save, {"code": code})
    assert set(map(str, customer.prices)) == {"95"}
    assert pricing.read_rule().version == 1
    assert set(pricing.javascript.health()["scripts"]) == {"price"}


def test_the_page(pricing: Pricing) -> None:
    page = f"http://{pricing.price.authority}/pricing"
    assert requests.get(page, timeout=WAIT).headers["Content-Type"] == "text/html; charset=utf-8"
    assert requests.post(page, timeout=WAIT).status_code == 405


@needs_browser
def test_the_page_in_a_browser(pricing: Pricing, tmp_path: Path) -> None:
    page = f"http://{pricing.price.authority}/pricing"
    with browser(tmp_path / "profile") as driver:

        def after(place: str, action: str, *arguments: str) -> str:
            """Do something on the page; return the text of a place when it has changed."""
            script = """
            const [place, action, ...rest] = [...arguments].slice(0, -1), done = arguments[arguments.length - 1];
            const target = document.getElementById(place), before = target.dataset.done;
            const look = () => (target.dataset.done !== before ? done(target.textContent) : setTimeout(look, 10));
            new Function("argument", action)(rest[0]);
            look();
            """
            return str(driver.execute_async_script(script, place, action, *arguments))

        def save(code: str) -> str:
            action = "document.getElementById('code').value = argument; document.getElementById('save').click()"
            return after("state", action, code)

        def order() -> str:
            return after("price", "document.querySelector('#order button').click()")

        driver.get(page)
        driver.execute_async_script(
            "const done = arguments[0];"
            "(function look() { document.getElementById('code').value ? done(1) : setTimeout(look, 10) })()"
        )
        assert order() == "95.00"
        assert save("order => order.amount / 2") == "version 2 is in use"
        assert order() == "50.00"
        for code, words in HOSTILE.items():
            with Customer(pricing) as customer:
                told = save(code)
            assert words in told or SLOW in told, code
            assert set(customer.prices) == {50}
            assert order() == "50.00"
        assert driver.execute_script("return document.getElementById('state').className") == "failed"
        folder = os.environ.get("PORTAL_SCREENSHOTS")
        if folder:
            driver.save_screenshot(f"{folder}/pricing.png")
        messages = [row["message"] for row in driver.get_log("browser")]
        assert [one for one in messages if "the server responded with a status" not in one] == []
