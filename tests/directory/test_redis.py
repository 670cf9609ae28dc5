"""RedisStore: a server that loses its memory, and one that does not respond."""

from __future__ import annotations

import pytest

from portal import ConfigError
from portal._internal.redis_client import StoreUnavailable
from portal.directory.redis import RedisStore
from tests.support.ports import free_port
from tests.support.valkey import running


def test_tokens_grow_although_the_store_has_lost_its_memory(valkey_url: str) -> None:
    store = RedisStore(valkey_url, namespace="lost")
    first = store.register("a", "one", 60.0)
    before = store.poll(None, 0)
    store._link.client.flushdb()
    assert not store.renew("a", first, "one", 60.0)
    assert store.register("a", "one", 60.0) >= first
    after = store.poll(None, 0)
    assert before is not None
    assert after is not None
    assert before.epoch != after.epoch
    store.close()


def test_namespaces_are_apart(valkey_url: str) -> None:
    one, two = RedisStore(valkey_url, namespace="one"), RedisStore(valkey_url, namespace="two")
    one.register("a", "text", 60.0)
    found = two.poll(None, 0)
    assert found is not None
    assert found.records == ()
    one.close()
    two.close()


def test_a_password_restricts_who_may_write() -> None:
    assert RedisStore("redis://:secret@127.0.0.1:1/0").restricted
    assert not RedisStore("redis://127.0.0.1:1/0").restricted


def test_a_store_that_does_not_respond() -> None:
    store = RedisStore(f"redis://127.0.0.1:{free_port()}/0")
    with pytest.raises(StoreUnavailable):
        store.poll(None, 0)
    store.close()


def test_a_store_that_has_ended_is_unavailable() -> None:
    with running() as server:
        store = RedisStore(f"redis://127.0.0.1:{server.port}/0")
        store.register("a", "one", 60.0)
    with pytest.raises(StoreUnavailable):
        store.poll(None, 0)
    store.close()


def test_another_url_is_rejected() -> None:
    with pytest.raises(ConfigError, match=r"directory\.store must be"):
        RedisStore("http://host")


def test_a_record_that_something_else_wrote_hides_no_other(valkey_url: str) -> None:
    store = RedisStore(valkey_url, namespace="foreign")
    token = store.register("a", "one", 60.0)
    for owner, value in (("x", "no token"), ("y", "9" * 5000 + " text")):
        store._link.client.hset(store._keys[0], owner, value)
    found = store.poll(None, 0)
    assert found is not None
    kept = {(one.owner, one.token, one.text) for one in found.records}
    assert kept == {("a", token, "one"), ("x", 0, ""), ("y", 0, "")}
    store.close()
