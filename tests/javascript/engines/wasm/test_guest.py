from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from portal import ConfigError
from portal.javascript.engines.wasm import guest

pytestmark = pytest.mark.skipif(guest.guest_version() == "", reason="wasmtime or quickjs-rs is not installed")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "cache"
    monkeypatch.setenv("PORTAL_CACHE_DIR", str(folder))
    monkeypatch.setattr(guest, "_temporary", None)
    yield folder
    guest._remove_temporary(os.getpid())


def test_the_guest_is_the_one_that_was_tested() -> None:
    assert guest.load_guest() is guest.load_guest()
    assert "quickjs-rs==0.2.6" in (Path(__file__).parents[4] / "setup.cfg").read_text()


def test_another_file_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest, "DIGEST", "0" * 64)
    with pytest.raises(ConfigError, match=r"must have the SHA-256 0{64}.*quickjs-rs==0.2.6"):
        guest._verified()


def test_the_compiled_module_is_kept_for_the_next_process(cache: Path) -> None:
    path = Path(guest.module_path())
    assert path.parent == cache
    made = path.stat()
    assert made.st_mode & 0o077 == 0
    assert guest.module_path() == str(path)
    assert path.stat().st_ino == made.st_ino
    code = f"from portal.javascript.engines.wasm.guest import load_guest; load_guest({str(path)!r}); print('loaded')"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert found.stdout == "loaded\n"


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has no modes of files")
def test_a_module_that_others_could_have_written_is_not_loaded(cache: Path) -> None:
    path = Path(guest.module_path())
    old = path.stat().st_ino
    path.chmod(0o666)
    assert guest.module_path() == str(path)
    assert path.stat().st_ino != old
    assert path.stat().st_mode & 0o077 == 0


def test_half_a_module_is_compiled_again(cache: Path) -> None:
    path = Path(guest.module_path())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    guest.module_path()
    assert path.read_bytes() == whole


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has no modes of files")
def test_a_folder_that_others_can_write_is_not_used(cache: Path) -> None:
    cache.mkdir()
    cache.chmod(0o777)
    path = Path(guest.module_path())
    assert path.parent != cache
    assert list(cache.iterdir()) == []
    assert path.parent.stat().st_mode & 0o077 == 0


def test_no_cache_is_kept_if_the_variable_is_empty(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTAL_CACHE_DIR", "")
    folder = Path(guest.module_path()).parent
    assert folder != cache
    guest._remove_temporary(os.getpid() + 1)
    assert folder.exists()
    guest._remove_temporary(os.getpid())
    assert not folder.exists()
