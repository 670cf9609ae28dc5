"""Middleware in settings: plug-ins by name, checks, and closing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from portal import Consumer, HTTPPortal, LocalPortal, RateLimit, TestingPortal, When
from portal.calls.plugins import MIDDLEWARE, bind_namespace, close_middleware, load_plugins, resolve_middleware
from portal.errors import ConfigError
from portal.http import CORS

MODULE = """
class Audit:
    def __call__(self, call, call_next):
        return call_next(call)

class Broken:
    def __init__(self):
        raise RuntimeError("the disk is full")

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
    """Two distributions, as pip installs them."""
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


def test_names_and_objects_keep_their_order(installed: str) -> None:
    def own(call: Any, call_next: Any) -> Any:
        return call_next(call)

    audit, mine, plain = resolve_middleware(["audit", own, "plain"])
    assert (type(audit).__name__, mine, plain.__name__) == ("Audit", own, "plain")
    assert [layer(1, lambda call: call + 1) for layer in (audit, mine, plain)] == [2, 2, 2]


def test_a_plug_in_without_a_name_in_settings_is_not_loaded(installed: str) -> None:
    assert resolve_middleware([]) == resolve_middleware(None) == ()
    assert installed not in sys.modules


def test_all_plug_ins_of_a_group_can_be_loaded(installed: str) -> None:
    assert list(load_plugins("some.group")) == ["audit", "plain"]
    assert load_plugins("no.group") == {}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("broken", "RuntimeError: the disk is full"),
        ("mute", "is not callable"),
        ("missing", "no_such_module_here"),
        ("unknown", "not installed"),
        ("twice", "must be offered by one distribution"),
    ],
)
def test_the_error_names_the_plug_in(installed: str, name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        resolve_middleware([name])
    assert caught.value.path == f"{MIDDLEWARE}.{name}"
    assert name in str(caught.value)


def test_middleware_is_bound_to_the_name_of_its_portal() -> None:
    class Namespaced:
        def __init__(self, name: str | None = None) -> None:
            self.name = name

        def bind_namespace(self, name: str | None) -> Namespaced:
            return Namespaced(name)

        def __call__(self, call: Any, call_next: Any) -> Any:
            return call_next(call)

    item = Namespaced()
    assert [layer.name for layer in resolve_middleware([item, item], name="shop")] == ["shop", "shop"]
    assert bind_namespace(item, None) is not item
    assert bind_namespace(len, "shop") is len


@pytest.mark.parametrize("items", ["audit", len, 3, [3], [None]])
def test_middleware_must_be_a_list(items: Any) -> None:
    with pytest.raises(ConfigError, match="must be a list of callables and names of plug-ins, got") as caught:
        resolve_middleware(items)
    assert caught.value.path == "middleware"


class Layer:
    """A middleware that counts how often it was closed."""

    def __init__(self) -> None:
        self.closed = 0

    def __call__(self, call: Any, call_next: Any) -> Any:
        return call_next(call)

    def close(self) -> None:
        self.closed += 1


OWNERS = {
    "local": lambda layers: LocalPortal(middleware=layers),
    "testing": lambda layers: TestingPortal(middleware=layers),
    "http": lambda layers: HTTPPortal(middleware=layers),
    "http, around requests": lambda layers: HTTPPortal(http_middleware=layers),
    "consumer": lambda layers: Consumer(middleware=layers),
    "consumer, later": lambda layers: use_all(Consumer(), layers),
}
owners = pytest.mark.parametrize("make", OWNERS.values(), ids=OWNERS)


def use_all(consumer: Consumer, layers: Any) -> Consumer:
    for layer in layers:
        consumer.use(layer)
    return consumer


@owners
def test_every_owner_closes_its_middleware(make: Any) -> None:
    layer, inner = Layer(), Layer()
    owner = make([layer, When(inner, if_=callable)])
    assert (layer.closed, inner.closed) == (0, 0)
    owner.close()
    assert (layer.closed, inner.closed) == (1, 1)


@owners
def test_every_owner_loads_plug_ins_by_name(make: Any, installed: str) -> None:
    with pytest.raises(ConfigError, match="not installed"):
        make(["unknown"])
    if make is not OWNERS["http, around requests"]:
        make(["audit"]).close()
        assert installed in sys.modules


@owners
@pytest.mark.parametrize("wrong", [Layer, 3, None])
def test_every_owner_checks_its_middleware(make: Any, wrong: Any) -> None:
    with pytest.raises(ConfigError, match="middleware must be a list of"):
        make([wrong])


@owners
@pytest.mark.parametrize("conditional", [False, True])
def test_every_owner_rejects_middleware_of_the_other_kind(make: Any, conditional: bool) -> None:
    layer: Any = RateLimit("5/minute") if make is OWNERS["http, around requests"] else CORS("*")
    if conditional:
        layer = When(layer, functions="add")
    with pytest.raises(ConfigError, match=r"which applies to a (call|request): pass it in"):
        make([layer])


def test_paths_do_not_apply_to_calls() -> None:
    with pytest.raises(ConfigError, match="holds When, which applies to a request: pass it in http_middleware="):
        LocalPortal(middleware=[When(Layer(), paths="/api")])


def test_middleware_that_fails_to_close_does_not_keep_the_rest_open(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Layer):
        def close(self) -> None:
            raise RuntimeError("the disk is full")

    last = Layer()
    close_middleware([Failing(), object(), last, last])
    assert last.closed == 1
    assert [record.getMessage() for record in caplog.records] == ["closing the middleware Failing failed"]
