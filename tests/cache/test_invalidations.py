"""SharedInvalidations: what one process drops, the caches of others drop; a lost store loses no invalidation."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from portal import ConfigError, Consumer, HTTPPortal, ResponseCache, function
from portal.cache import Invalidation, SharedInvalidations
from portal.cache.response_cache import key_of
from tests.support import valkey
from tests.support.ports import free_port
from tests.support.waiting import eventually

ADDRESS = "http://shop:1/api/price"
Make = Callable[..., ResponseCache]


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes a cache as a process of its own would have it."""
    made: list[SharedInvalidations] = []

    def cache(url: str, **options: Any) -> ResponseCache:
        made.append(SharedInvalidations(url, **{"namespace": "shop", **options}))
        return ResponseCache(default_age=3600.0, invalidations=made[-1])

    yield cache
    for one in made:
        one.close()
        one.close()


@pytest.fixture
def namespace() -> str:
    return uuid.uuid4().hex


def put(cache: ResponseCache, n: int, tag: str = "prices") -> bool:
    key = key_of(ADDRESS, {"n": n})
    assert key is not None
    return cache.store(key, n, tags=(tag,))


def has(cache: ResponseCache, n: int) -> bool:
    key = key_of(ADDRESS, {"n": n})
    assert key is not None
    return cache.lookup(key) is not None


def fill(cache: ResponseCache) -> None:
    eventually(lambda: put(cache, 1, "prices"))
    assert put(cache, 2, "stock")
    assert put(cache, 3, "stock")


@pytest.mark.parametrize(
    ("invalidate", "left"),
    [
        (lambda cache: cache.invalidate(tag="stock"), [1]),
        (lambda cache: cache.invalidate(ADDRESS, {"n": 2}), [1, 3]),
        (lambda cache: cache.invalidate(ADDRESS), []),
        (lambda cache: cache.invalidate("http://shop:1/api/other"), [1, 2, 3]),
        (lambda cache: cache.invalidate(), []),
    ],
)
def test_others_drop_what_one_invalidates(
    valkey_url: str, make: Make, namespace: str, invalidate: Callable[[ResponseCache], int], left: list[int]
) -> None:
    caches = [make(valkey_url, namespace=namespace) for _ in range(3)]
    for cache in caches:
        fill(cache)
    epochs = [cache.epoch for cache in caches]
    assert invalidate(caches[0]) == 3 - len(left)
    for cache, epoch in zip(caches, epochs, strict=True):
        eventually(lambda: cache.epoch > epoch)  # noqa: B023 - it is called at once
        assert [n for n in (1, 2, 3) if has(cache, n)] == left
    assert caches[0].epoch == epochs[0] + 1, "a process does not hear of its own invalidations"


def test_a_response_that_was_requested_before_is_not_kept(valkey_url: str, make: Make, namespace: str) -> None:
    one, two = make(valkey_url, namespace=namespace), make(valkey_url, namespace=namespace)
    fill(two)
    epoch = two.epoch
    one.invalidate(tag="prices")
    eventually(lambda: two.epoch > epoch)
    key = key_of(ADDRESS, {"n": 9})
    assert key is not None
    assert not two.store(key, 9, epoch=epoch)


def test_another_process_invalidates(valkey_url: str, make: Make, namespace: str) -> None:
    cache = make(valkey_url, namespace=namespace)
    fill(cache)
    process = valkey.program(
        "import sys\n"
        "from portal.cache import Invalidation, SharedInvalidations\n"
        "SharedInvalidations(sys.argv[1], namespace=sys.argv[2]).publish(Invalidation(tag='stock'))\n"
        "print('[]')\n",
        valkey_url,
        namespace,
    )
    out, _ = process.communicate(timeout=120)
    assert (process.returncode, json.loads(out)) == (0, [])
    eventually(lambda: not has(cache, 2))
    assert has(cache, 1)


def test_namespaces_are_apart(valkey_url: str, make: Make) -> None:
    one, two = (make(valkey_url, namespace=uuid.uuid4().hex) for _ in range(2))
    fill(one)
    fill(two)
    third = make(valkey_url, namespace=one._shared._key.split(":")[-2])  # type: ignore[union-attr]
    third.invalidate()
    eventually(lambda: not has(one, 1))
    assert has(two, 1)


@pytest.mark.parametrize("on_lost_store", ["closed", "open"])
def test_a_lost_store_is_survived_and_found_again(make: Make, on_lost_store: str) -> None:
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    with valkey.running(port=port):
        one, two = (make(url, on_lost_store=on_lost_store) for _ in range(2))
        fill(one)
        fill(two)
    if on_lost_store == "closed":  # what was invalidated meanwhile is not known, so nothing is used or kept
        eventually(lambda: not has(two, 1))
        assert not put(two, 4)
    else:
        assert has(two, 1)
        assert put(two, 4)
    one.invalidate(tag="stock")
    epoch = two.epoch
    with valkey.running(port=port):
        eventually(lambda: two.epoch > epoch)
        eventually(lambda: put(two, 5))
        assert not has(two, 1), "the cache begins anew"
        eventually(lambda: put(one, 5))
        one.invalidate()
        eventually(lambda: not has(two, 5))


def test_an_invalidation_without_a_store_is_sent_later(make: Make) -> None:
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    sender = make(url)
    sender.invalidate(tag="stock")
    with valkey.running(port=port) as server:
        import redis

        client = redis.Redis(port=server.port)
        key = sender._shared._key  # type: ignore[union-attr]
        eventually(lambda: any(b"i" in fields for _, fields in client.xrange(key)))
        client.close()


def test_what_was_trimmed_before_it_was_read_drops_everything(
    valkey_url: str, make: Make, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that was stopped for long misses entries of the stream."""
    cache = make(valkey_url, namespace=namespace)
    fill(cache)
    shared = cache._shared
    assert shared is not None
    shared._loop.stop(None)
    shared._link.client.delete(shared._key)
    epoch = cache.epoch
    shared._step()
    shared._step()
    assert cache.epoch > epoch
    assert not has(cache, 1)


def test_an_entry_that_cannot_be_read_drops_everything(valkey_url: str, make: Make, namespace: str) -> None:
    cache = make(valkey_url, namespace=namespace)
    fill(cache)
    shared = cache._shared
    assert shared is not None
    shared._link.client.xadd(shared._key, {"p": "other", "i": "no JSON"})
    eventually(lambda: not has(cache, 1))


def test_many_unsent_invalidations_become_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.cache.invalidations._MAX_UNSENT", 3)
    shared = SharedInvalidations(f"redis://127.0.0.1:{free_port()}/0", namespace="shop", pause=lambda _: None)
    monkeypatch.setattr(shared, "start", lambda: None)
    for number in range(5):
        shared.publish(Invalidation(tag=str(number)))
    assert shared._unsent == (Invalidation(), Invalidation(tag="4"))
    shared.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_begins_anew(valkey_url: str, make: Make, namespace: str) -> None:
    cache = make(valkey_url, namespace=namespace)
    fill(cache)
    child = os.fork()
    if child == 0:  # pragma: no cover - measured in the parent only
        try:
            empty = not has(cache, 1)
            eventually(lambda: put(cache, 7))
            os._exit(0 if empty else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert has(cache, 1)


def test_a_consumer_of_another_process_sees_a_change(valkey_url: str, make: Make, namespace: str) -> None:
    """The price changes, and the process that changed it invalidates its tag."""
    prices = {"PEN": 1.0}

    @function(cacheable=True, tags=["prices"])
    def price(sku: str) -> float:
        return prices[sku]

    cache = make(valkey_url, namespace=namespace)
    server = SharedInvalidations(valkey_url, namespace=namespace)
    with HTTPPortal(max_age=3600) as portal, Consumer(cache=cache) as consumer:
        address = portal.apply(price)
        eventually(lambda: consumer.call_at(address, {"sku": "PEN"}) == 1.0 and cache.stats()["entries"] == 1)
        prices["PEN"] = 2.0
        assert consumer.call_at(address, {"sku": "PEN"}) == 1.0
        server.publish(Invalidation(tag="prices"))
        eventually(lambda: consumer.call_at(address, {"sku": "PEN"}) == 2.0)
    server.close()


def test_wrong_settings_are_rejected() -> None:
    for options in ({"namespace": ""}, {"on_lost_store": "maybe"}, {"key_prefix": ""}):
        with pytest.raises(ConfigError):
            SharedInvalidations("redis://127.0.0.1:1/0", **{"namespace": "shop", **options})  # type: ignore[arg-type]
    with pytest.raises(ConfigError):
        ResponseCache(invalidations="redis://127.0.0.1:1/0")  # type: ignore[arg-type]
