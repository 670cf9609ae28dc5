from __future__ import annotations

import click
import pytest

from portal.cli.secrets import secret


def test_a_value_is_taken_as_it_is() -> None:
    assert secret("t0ken", "--token") == "t0ken"
    assert secret("", "--token") == ""


def test_a_name_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "t0ken$")
    assert secret("$SHOP_TOKEN", "--token") == "t0ken$"


@pytest.mark.parametrize("value", [None, ""])
def test_a_variable_without_a_value_is_rejected(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOP_TOKEN", raising=False)
    if value is not None:
        monkeypatch.setenv("SHOP_TOKEN", value)
    with pytest.raises(click.BadParameter, match="SHOP_TOKEN is not set or empty") as caught:
        secret("$SHOP_TOKEN", "--token")
    assert caught.value.param_hint == "--token"
