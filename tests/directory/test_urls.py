"""Directories by URL."""

from __future__ import annotations

from pathlib import Path

import pytest

from portal import ConfigError, HTTPPortal, function
from portal.directory import PolledDirectory, open_directory
from portal.directory.memory import MemoryStore
from portal.directory.redis import RedisStore
from portal.directory.sqlite import SQLiteStore
from portal.directory.urls import directory_at, key_of, store_at


@function
def add(a: float, b: float) -> float:
    return a + b


@pytest.mark.parametrize("kind", ["memory", "sqlite", "redis"])
def test_a_portal_and_a_consumer_of_one_url(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    url = {"memory": "memory://test-urls", "sqlite": f"sqlite://{tmp_path}/portals.sqlite"}.get(kind)
    url = url or request.getfixturevalue("valkey_url") + "#test-urls"
    directory = open_directory(url)
    with HTTPPortal(directory=url) as portal:
        address = portal.apply(add)
        portal._registration.renew()  # type: ignore[union-attr,attr-defined]
        directory.poll()
        assert [one.address for one in directory.instances("add")] == [address]
    directory.poll()
    assert directory.instances("add") == ()
    directory.close()


def test_stores_by_scheme() -> None:
    assert isinstance(store_at("memory://x"), MemoryStore)
    assert isinstance(store_at("sqlite:///tmp/x.sqlite"), SQLiteStore)
    for scheme in ("redis", "valkey"):
        assert isinstance(store_at(f"{scheme}://host:6379/0#shop"), RedisStore)


@pytest.mark.parametrize(
    "url",
    ["", "redis", "http://host", "sqlite://", "sqlite://host/x", "file://", "dns://", 5, "dns://a?x=1", "dns://a"],
)
def test_other_urls_are_rejected(url: str) -> None:
    with pytest.raises(ConfigError):
        open_directory(url)


def test_a_password_is_in_no_error() -> None:
    with pytest.raises(ConfigError) as caught:
        open_directory("mysql://user:secret@host/0")
    assert "secret" not in str(caught.value)


def test_keys() -> None:
    assert key_of("0123456789abcdef") == b"0123456789abcdef"
    assert key_of(None) is None
    for short in ("short", b"short", 16):
        with pytest.raises(ConfigError, match="at least 16 bytes"):
            key_of(short)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="does not apply to a file"):
        open_directory("file:///x.json", key="0123456789abcdef")


def test_a_directory_is_taken_as_it_is() -> None:
    made = open_directory("memory://x")
    assert directory_at(made) is made
    assert isinstance(directory_at("memory://x"), PolledDirectory)
