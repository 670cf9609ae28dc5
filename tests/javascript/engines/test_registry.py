from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint

import pytest

from portal import ConfigError
from portal.javascript.engines import registry
from portal.javascript.engines.quickjs import QuickJSEngine


class AbsentEngine(QuickJSEngine):
    name = "absent"
    install = "absent-engine"

    @staticmethod
    def is_available() -> bool:
        return False


@pytest.fixture
def plug_ins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    offered = {"absent": f"{__name__}:AbsentEngine", "broken": "json:dumps"}
    entries = [EntryPoint(name, value, registry.GROUP) for name, value in offered.items()]
    monkeypatch.setattr(registry, "entry_points", lambda group: entries)
    registry._offered.cache_clear()
    yield
    registry._offered.cache_clear()


def test_the_engines_that_come_with_portal() -> None:
    assert registry.find_engine("quickjs") is QuickJSEngine
    assert registry.available_engines()[0] == "quickjs"
    assert registry.require_engine("quickjs").capabilities().edition == 2023


@pytest.mark.usefixtures("plug_ins")
def test_engines_of_other_packages() -> None:
    assert {"absent", "broken", "quickjs"} <= set(registry.engine_names())
    assert registry.find_engine("absent") is not QuickJSEngine
    with pytest.raises(ConfigError, match="pip install absent-engine"):
        registry.require_engine("absent")
    with pytest.raises(ConfigError, match="must be a subclass of Engine"):
        registry.find_engine("broken")


def test_an_unknown_engine_is_rejected_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"quickjs.*got 'netscape'"):
        registry.find_engine("netscape")
