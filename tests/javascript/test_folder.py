from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from portal import ConfigError, Consumer, HTTPPortal, JavaScriptPortal, RegistryError
from portal.javascript import Limits, Sandbox
from portal.javascript.folder import RulesFolder
from tests.support.races import fast_switches, in_threads
from tests.support.raising import raising_once
from tests.support.thread_list import new_threads


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[tuple[Path, RulesFolder, HTTPPortal, JavaScriptPortal]]:
    (tmp_path / "price.js").write_text("/** @param {number} n */ export default (n) => n * 2")
    (tmp_path / "notes.txt").write_text("no code")
    threads = threading.enumerate()
    javascript, http = JavaScriptPortal(sandbox=Sandbox(limits=Limits(time=10.0))), HTTPPortal()
    rules = RulesFolder(tmp_path, javascript, portals=[http], interval=60.0)
    rules.start()
    http.start()
    yield tmp_path, rules, http, javascript
    rules.close()
    rules.close()
    http.close()
    assert new_threads(threads) == []


def test_edits_are_followed(
    folder: tuple[Path, RulesFolder, HTTPPortal, JavaScriptPortal], caplog: pytest.LogCaptureFixture
) -> None:
    path, rules, http, javascript = folder
    with Consumer() as consumer:
        there = http.generate_address("price")
        assert consumer.call_at(there, {"n": 4}) == 8
        (path / "price.js").write_text("(n) => n * 3")
        rules.refresh()
        assert consumer.call_at(there, {"n": 4}) == 12
        (path / "price.js").write_text("(n) => {")
        rules.refresh()
        assert "price.js was not loaded" in caplog.text
        assert consumer.call_at(there, {"n": 4}) == 12
        (path / "tax.mjs").write_text("export default () => 0.2")
        rules.refresh()
        assert consumer.call_at(http.generate_address("tax"), {}) == 0.2
        (path / "price.js").unlink()
        rules.refresh()
        with pytest.raises(RegistryError):
            consumer.call_at(there, {"n": 4})
        assert [address.segments[1] for address in javascript.functions()] == ["tax"]


def test_a_changed_comment_is_told(
    folder: tuple[Path, RulesFolder, HTTPPortal, JavaScriptPortal], caplog: pytest.LogCaptureFixture
) -> None:
    path, rules, http, _ = folder
    (path / "price.js").write_text("/** @param {number} n */ export default (n) => n * 3")
    rules.refresh()
    assert "declares other parameters" not in caplog.text
    (path / "price.js").write_text("/** @param {string} n */ export default (n) => n * 3")
    rules.refresh()
    assert "price.js declares other parameters or another result" in caplog.text
    with Consumer() as consumer:
        assert consumer.call_at(http.generate_address("price"), {"n": 4}) == 12


def test_a_path_that_is_not_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be a folder"):
        RulesFolder(tmp_path / "none", JavaScriptPortal())


def test_the_thread_looks_at_the_folder(tmp_path: Path) -> None:
    (tmp_path / "one.js").write_text("() => 1")
    javascript = JavaScriptPortal()
    looked = threading.Event()

    class Watched(RulesFolder):
        def refresh(self) -> None:
            looked.set()
            raise OSError("gone")

    rules = Watched(tmp_path, javascript, interval=0.01)
    rules.start()
    try:
        assert looked.wait(30)
        looked.clear()
        assert looked.wait(30)
    finally:
        rules.close()


def test_threads_that_look_at_the_folder_at_once_publish_each_function_once(
    folder: tuple[Path, RulesFolder, HTTPPortal, JavaScriptPortal],
) -> None:
    path, rules, _, javascript = folder
    for turn in range(5):
        names = [f"one{turn}{number}" for number in range(4)]
        for name in names:
            (path / f"{name}.js").write_text(f"function {name}() {{ return {turn} }}")
        with fast_switches():
            in_threads(3, lambda _: rules.refresh())
        assert set(names) <= {schema.name for schema in javascript.functions().values()}
        for name in names:
            (path / f"{name}.js").unlink()
        with fast_switches():
            in_threads(3, lambda _: rules.refresh())
        assert not set(names) & {schema.name for schema in javascript.functions().values()}


# faults inside


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("injected"), OSError("injected")])
def test_an_edit_is_loaded_after_a_step_has_raised(
    folder: tuple[Path, RulesFolder, HTTPPortal, JavaScriptPortal], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    path, rules, http, javascript = folder
    (path / "price.js").write_text("(n) => n * 3")
    raising_once(monkeypatch, javascript, "replace", error)
    with pytest.raises(type(error)):
        rules.refresh()
    rules.refresh()
    with Consumer() as consumer:
        assert consumer.call_at(http.generate_address("price"), {"n": 4}) == 12


def test_a_function_that_one_portal_cannot_publish_is_published_later(
    folder: tuple[Path, RulesFolder, HTTPPortal, JavaScriptPortal], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, rules, http, javascript = folder
    (path / "tax.mjs").write_text("export default () => 0.2")
    raising_once(monkeypatch, http, "apply", MemoryError())
    with pytest.raises(MemoryError):
        rules.refresh()
    assert [address.segments[1] for address in javascript.functions()] == ["price"]
    rules.refresh()
    with Consumer() as consumer:
        assert consumer.call_at(http.generate_address("tax"), {}) == 0.2


@pytest.mark.parametrize("where", ["http", "javascript"])
def test_a_function_that_cannot_be_removed_is_removed_later(
    folder: tuple[Path, RulesFolder, HTTPPortal, JavaScriptPortal], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    path, rules, http, javascript = folder
    (path / "price.js").unlink()
    raising_once(monkeypatch, http if where == "http" else javascript, "remove", MemoryError())
    with pytest.raises(MemoryError):
        rules.refresh()
    rules.refresh()
    assert len(http.functions()) == len(javascript.functions()) == 0


def test_the_functions_stay_while_the_folder_is_replaced(
    folder: tuple[Path, RulesFolder, HTTPPortal, JavaScriptPortal], caplog: pytest.LogCaptureFixture
) -> None:
    path, rules, http, _ = folder
    path.rename(path.with_name("away"))
    for _turn in range(3):
        rules.refresh()
    assert caplog.text.count("the folder cannot be read") == 1
    with Consumer() as consumer:
        assert consumer.call_at(http.generate_address("price"), {"n": 4}) == 8
    path.with_name("away").rename(path)
    (path / "price.js").unlink()
    rules.refresh()
    assert len(http.functions()) == 0
