"""Fixtures: a real server as the store, and a function that closes objects after the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from tests.support import valkey


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    """Run a store server for the tests of a module."""
    with valkey.running() as server:
        yield server


@pytest.fixture
def url(server: Any) -> str:
    """Empty the store and return its URL."""
    with redis.Redis.from_url(server.connection_url) as client:
        client.flushall()
    return str(server.connection_url)


@pytest.fixture
def close() -> Iterator[Callable[[Any], Any]]:
    """Yield a function that registers an object to be closed after the test, and returns it."""
    opened: list[Any] = []

    def add(one: Any) -> Any:
        opened.append(one)
        return one

    yield add
    for one in opened:
        one.close()
