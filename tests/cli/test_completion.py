from __future__ import annotations

import pytest
from click.shell_completion import ShellComplete

from portal import BearerAuth, HTTPPortal
from portal.cli import completion
from portal.cli.main import main


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    monkeypatch.setattr(completion, "_TIMEOUT", 30.0)


def completed(*arguments: str) -> list[str]:
    *before, incomplete = arguments
    complete = ShellComplete(main, {}, "portal", "_PORTAL_COMPLETE")
    return [item.value for item in complete.get_completions(list(before), incomplete)]


def test_addresses_come_from_the_server(base):
    root = base.removesuffix("api")
    found = completed("call", root)
    assert f"{base}/orders/add" in found
    assert completed("describe", f"{base}/orders/qu") == [f"{base}/orders/quote"]
    assert completed("call", f"{base}/nothing") == []


@pytest.mark.parametrize("text", ["", "ht", "http://", "http://127.0.0.1:1", "http://127.0.0.1:1/", "local://a/b"])
def test_nothing_is_completed_without_a_server(text):
    assert completed("call", text) == []


def test_the_token_of_the_environment_is_used(monkeypatch):
    def add(a: int) -> int:
        return a

    with HTTPPortal(auth=BearerAuth({"t0ken": "ann"})) as http:
        http.apply(add)
        assert completed("call", f"{http.base}/a") == []
        monkeypatch.setenv("PORTAL_TOKEN", "t0ken")
        assert completed("call", f"{http.base}/a") == [f"{http.base}/add"]


def test_commands_are_completed():
    assert "call" in completed("ca")
