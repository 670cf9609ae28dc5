from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from portal.calls.plugins import MIDDLEWARE, load_plugins, resolve_middleware
from portal.errors import ConfigError

MODULE = """
class Audit:
    def __call__(self, call, call_next):
        return call_next(call)

class Broken:
    def __init__(self):
        raise RuntimeError("no disk")

class Mute:
    pass

def plain(call, call_next):
    return call_next(call)
"""
POINTS = """[portal.middleware]
audit = NAME:Audit
broken = NAME:Broken
mute = NAME:Mute
plain = NAME:plain
missing = no_such_module_here:x
twice = NAME:plain

[some.group]
audit = NAME:Audit
plain = NAME:plain
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Two distributions as pip leaves them."""
    name = f"plugin_{tmp_path.parent.name}_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(MODULE)
    for number, points in enumerate((POINTS, "[portal.middleware]\ntwice = NAME:Audit\n")):
        info = tmp_path / f"{name}_{number}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}_{number}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(points.replace("NAME", name))
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


def test_names_and_objects_in_the_order_given(installed: str) -> None:
    def own(call: Any, call_next: Any) -> Any:
        return call_next(call)

    audit, mine, plain = resolve_middleware(["audit", own, "plain"])
    assert (type(audit).__name__, mine, plain.__name__) == ("Audit", own, "plain")
    assert [layer(1, lambda call: call + 1) for layer in (audit, mine, plain)] == [2, 2, 2]


def test_nothing_is_loaded_that_nobody_names(installed: str) -> None:
    assert resolve_middleware([]) == resolve_middleware(None) == ()
    assert installed not in sys.modules


def test_a_whole_group(installed: str) -> None:
    assert list(load_plugins("some.group")) == ["audit", "plain"]
    assert load_plugins("no.group") == {}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("broken", "RuntimeError: no disk"),
        ("mute", "cannot be called"),
        ("missing", "no_such_module_here"),
        ("unknown", "not installed"),
        ("twice", "offered as"),
    ],
)
def test_a_plug_in_that_fails_is_named(installed: str, name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        resolve_middleware([name])
    assert caught.value.path == f"{MIDDLEWARE}.{name}"
    assert name in str(caught.value)


@pytest.mark.parametrize("items", ["audit", len, 3, [3], [None]])
def test_what_is_no_list_of_middleware(items: Any) -> None:
    with pytest.raises(ConfigError, match="expected"):
        resolve_middleware(items)
