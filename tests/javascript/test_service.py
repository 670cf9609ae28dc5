from __future__ import annotations

from pathlib import Path

import pytest

from portal import ConfigError, Consumer, JavaScriptPortal, JSFunction, RegistryError
from portal.javascript import JSService, Limits, Sandbox


def test_a_folder_is_a_service(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "double.js").write_text("p => p.n * 2")
    (rules / "half.js").write_text("p => p.n / 2")
    sandbox = Sandbox("trusted", limits=Limits(time=60.0))
    with JavaScriptPortal(sandbox=sandbox) as portal, Consumer([portal]) as consumer:
        address = portal.apply_service(JSService.from_folder(rules, trusted=True))
        assert str(address) == "js://rules"
        assert consumer.call_at("js://rules/double", {"n": 4}) == 8
        with pytest.raises(RegistryError) as caught:
            portal.apply_service(JSService("rules", [JSFunction("p => 1", "one", trusted=True)]))
        assert caught.value.kind == "conflict"
        assert consumer.call_at("js://rules/half", {"n": 4}) == 2


@pytest.mark.parametrize("functions", [5, [5], ["p => 1"]])
def test_members_must_be_functions_in_javascript(functions: object) -> None:
    with pytest.raises(ConfigError):
        JSService("rules", functions)  # type: ignore[arg-type]


def test_names_must_differ_and_be_segments() -> None:
    with pytest.raises(RegistryError):
        JSService("a b/c")
    one = JSFunction("p => 1", "one")
    with JavaScriptPortal() as portal, pytest.raises(RegistryError, match="different names"):
        portal.apply_service(JSService("rules", [one, one]))
