from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

INIT = """
from portal._internal.lazy import lazy_exports
eager = 1
__getattr__, __dir__ = lazy_exports(__name__, {"first": "one", "missing": "one"})
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    folder = tmp_path / "lazy_package"
    folder.mkdir()
    (folder / "__init__.py").write_text(INIT)
    (folder / "one.py").write_text("first = object()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield import_module("lazy_package")
    for name in [name for name in sys.modules if name.split(".")[0] == "lazy_package"]:
        del sys.modules[name]


def test_a_name_loads_its_module_on_first_use(package: ModuleType) -> None:
    assert "lazy_package.one" not in sys.modules
    first = package.first
    assert first is sys.modules["lazy_package.one"].first  # type: ignore[attr-defined]
    assert vars(package)["first"] is first  # the second use finds it without __getattr__


def test_dir_lists_loaded_and_unloaded_names(package: ModuleType) -> None:
    assert {"eager", "first", "missing"} <= set(dir(package))
    assert dir(package) == sorted(dir(package))
    assert "lazy_package.one" not in sys.modules


@pytest.mark.parametrize(
    ("name", "message"), [("other", "no attribute 'other'"), ("missing", "no attribute 'missing'")]
)
def test_an_absent_name_is_an_attribute_error(package: ModuleType, name: str, message: str) -> None:
    with pytest.raises(AttributeError, match=message):
        getattr(package, name)
