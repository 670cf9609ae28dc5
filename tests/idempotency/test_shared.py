"""Claims and outcomes in a shared store, on a real server."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis

from portal._internal.background import restart_lost_loops
from portal._internal.redis_client import StoreClient, StoreUnavailable
from portal.errors import ConfigError, OverloadedError
from portal.idempotency.shared import SharedOutcomes, UnnamedOutcomes
from portal.idempotency.store import MARKER_SIZE, NO_ROOM, Bounds, Claim, Found, StoreFull
from tests.support import valkey
from tests.support.clocks import Clock


def shared(url: str, **settings: Any) -> tuple[SharedOutcomes, redis.Redis, Clock]:
    client = redis.Redis.from_url(url, socket_timeout=2, decode_responses=True)
    clock = Clock()
    store = SharedOutcomes(
        StoreClient(client, path="store", clock=clock),
        60.0,
        30.0,
        "p",
        Bounds(10, settings.get("size", 10_000), settings.get("client_entries", 10), settings.get("client_size", 1000)),
        clock,
    )
    return store, client, clock


WAIT = 10.0
CLAIM = Claim("k", "d" * 64, "token", "c")


def test_a_claim_is_recognised_after_a_retry_of_the_store_client(url: str, close: Callable[[Any], Any]) -> None:
    store, client, _ = shared(url)
    close(client), close(store)
    client.set("p:{c}:k", f"{CLAIM.digest}?token")
    assert store.claim(CLAIM) is None
    found = store.claim(CLAIM._replace(token="other"))
    assert found is not None
    assert (found.digest, found.text) == (CLAIM.digest, None)


def test_a_claim_is_renewed_or_restored_but_never_overwrites_another(url: str, close: Callable[[Any], Any]) -> None:
    store, client, _ = shared(url)
    close(client), close(store)
    assert store.claim(CLAIM) is None
    client.pexpire("p:{c}:k", 5000)
    store.renew_and_record()
    assert client.pttl("p:{c}:k") > 20_000
    client.flushall()  # a store that came back empty
    store.renew_and_record()
    assert client.get("p:{c}:k") == f"{CLAIM.digest}?token"
    client.set("p:{c}:k", f"{CLAIM.digest}?other")
    store.renew_and_record()
    store.renew_and_record()
    store.drop(CLAIM)
    assert client.get("p:{c}:k") == f"{CLAIM.digest}?other"


def test_an_outcome_does_not_overwrite_another(
    url: str, close: Callable[[Any], Any], caplog: pytest.LogCaptureFixture
) -> None:
    store, client, _ = shared(url)
    close(client), close(store)
    assert store.claim(CLAIM) is None
    client.set("p:{c}:k", f"{CLAIM.digest}=theirs")
    store.record(CLAIM, "mine")
    found = store.claim(CLAIM)
    assert found is not None
    assert found.text == "theirs"
    assert "a second call with its key may have run: key=k" in caplog.text


def test_an_outcome_is_recorded_when_the_store_responds_again(close: Callable[[Any], Any]) -> None:
    with valkey.running() as server:
        store, client, clock = shared(server.connection_url, size=10)
        close(client), close(store)
        second, third = CLAIM._replace(key="k2"), CLAIM._replace(key="k3")
        for claim in (CLAIM, second, third):
            assert store.claim(claim) is None
        port = server.port
        server.terminate()
        store.record(CLAIM, "too long for the room that is left" * 2)
        store.record(second, "mine")
        store.record(third, "old")
        with pytest.raises(StoreUnavailable):
            store.claim(CLAIM._replace(key="k4"))
        store.renew_and_record()
        server._desired_port = port
        server.start()
        clock.now += 59
        store.renew_and_record()
        assert client.get("p:{c}:k2") == f"{CLAIM.digest}=mine"
        assert 0 < client.pttl("p:{c}:k2") <= 1000
        assert client.get("p:{c}:k") == f"{CLAIM.digest}={NO_ROOM}"
        store.renew_and_record()
        assert not store._unrecorded
        assert store._bytes == 0


def test_an_outcome_is_not_recorded_after_its_window(url: str, close: Callable[[Any], Any]) -> None:
    store, client, clock = shared(url)
    close(client), close(store)
    store._closed = True  # no thread
    store._postpone(CLAIM, "late", clock.now + 10)
    clock.now += 11
    store.renew_and_record()
    assert client.get("p:{c}:k") is None
    assert not store._unrecorded


def test_a_claim_that_is_dropped_while_leases_are_renewed_stays_dropped(
    url: str, close: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, client, _ = shared(url)
    close(client), close(store)
    claims = {Claim(name, "d" * 64, "token", "c") for name in "ab"}
    for claim in claims:
        assert store.claim(claim) is None
    renew, dropped = store._renew, list[Claim]()

    def drop_the_other_one(claim: Claim) -> None:
        if not dropped:  # its call ends, in its own thread, while this one is renewed
            dropped.extend(claims - {claim})
            store.drop(dropped[0])
        renew(claim)

    monkeypatch.setattr(store, "_renew", drop_the_other_one)
    store.renew_and_record()
    assert store.claim(dropped[0]._replace(token="of the next")) is None


def no_thread(patch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(thread: threading.Thread) -> None:
        raise error

    patch.setattr(threading.Thread, "start", fail)


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError(), KeyboardInterrupt()])
def test_a_claim_is_put_back_if_no_thread_can_renew_it(
    url: str, close: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    store, client, _ = shared(url)
    close(client), close(store)
    with monkeypatch.context() as patch:
        no_thread(patch, error)
        with pytest.raises((OverloadedError, KeyboardInterrupt)):
            store.claim(CLAIM)
    assert len(store) == 0
    assert client.get("p:{c}:k") is None
    assert store.claim(CLAIM._replace(token="of the next")) is None


def test_an_outcome_waits_if_no_thread_can_be_started(
    url: str, close: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, client, _ = shared(url)
    close(client), close(store)
    with monkeypatch.context() as patch:
        no_thread(patch, RuntimeError("can't start new thread"))
        store._postpone(CLAIM, "kept", store._clock() + 60)
    assert len(store) == 1
    restart_lost_loops()
    assert store._loop.running
    store.renew_and_record()
    assert client.get("p:{c}:k") == f"{CLAIM.digest}=kept"


@pytest.mark.parametrize("error", [redis.ResponseError("wrong"), MemoryError(), TypeError("wrong"), SystemExit(1)])
def test_the_leases_of_other_claims_are_renewed_in_spite_of_an_error(
    url: str, close: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    store, client, _ = shared(url)
    close(client), close(store)
    claims = [Claim(name, "d" * 64, "token", "c") for name in "abc"]
    for claim in claims:
        assert store.claim(claim) is None
        client.pexpire(f"p:{{c}}:{claim.key}", 5000)
    renew, faults = store._renew, [error]

    def failing(claim: Claim) -> None:
        if faults:
            raise faults.pop()
        renew(claim)

    monkeypatch.setattr(store, "_renew", failing)
    with pytest.raises(type(error)):
        store.renew_and_record()
    assert sum(client.pttl(f"p:{{c}}:{claim.key}") > 20_000 for claim in claims) == 2
    store.renew_and_record()
    assert all(client.pttl(f"p:{{c}}:{claim.key}") > 20_000 for claim in claims)


def test_the_thread_goes_on_after_an_error(
    url: str, close: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it the lease would end during the call, and another call with the key would run."""
    store, client, _ = shared(url)
    close(client), close(store)
    monkeypatch.setattr(store, "_interval", 0.01)
    faults: list[BaseException] = [redis.ResponseError("wrong"), SystemExit(1), MemoryError()]
    renewed, renew = threading.Event(), store._renew

    def failing(claim: Claim) -> None:
        if faults:
            raise faults.pop()
        renew(claim)
        renewed.set()

    monkeypatch.setattr(store, "_renew", failing)
    assert store.claim(CLAIM) is None
    assert renewed.wait(WAIT)
    assert store._loop.guard.failures == 3


@pytest.mark.parametrize("error", [redis.ResponseError("OOM command not allowed"), MemoryError(), TypeError("wrong")])
def test_an_outcome_that_the_store_rejects_is_recorded_later(
    url: str, close: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    store, client, _ = shared(url)
    close(client), close(store)
    assert store.claim(CLAIM) is None
    with monkeypatch.context() as patch:

        def fail(*values: object) -> bool:
            raise error

        patch.setattr(store, "_write", fail)
        store.record(CLAIM, "mine")
    assert CLAIM not in store._held  # its lease is not renewed for ever
    store.renew_and_record()
    assert client.get("p:{c}:k") == f"{CLAIM.digest}=mine"
    assert len(store) == 0


def test_a_store_without_a_namespace_rejects_claims() -> None:
    with pytest.raises(ConfigError, match=r"idempotency\.namespace must be set for a shared store"):
        UnnamedOutcomes().claim(CLAIM)


def test_a_client_has_a_share_of_the_store(url: str, close: Callable[[Any], Any]) -> None:
    store, client, _ = shared(url, client_entries=2)
    close(client), close(store)
    mine = [CLAIM._replace(key=f"k{number}") for number in range(3)]
    assert [store.claim(claim) for claim in mine[:2]] == [None, None]
    with pytest.raises(StoreFull) as caught:
        store.claim(mine[2])
    assert caught.value.own
    assert 25 < caught.value.retry_after <= 30  # the lease of the first
    store.record(mine[0], "outcome")
    with pytest.raises(StoreFull):
        store.claim(mine[2])
    assert store.claim(mine[0]) is not None  # a key that is kept is still found
    assert store.claim(mine[2]._replace(client="other")) is None
    store.drop(mine[1])
    assert store.claim(mine[2]) is None


def test_the_bytes_of_a_client_are_counted_once_each(url: str, close: Callable[[Any], Any]) -> None:
    store, client, _ = shared(url, client_size=400)
    close(client), close(store)
    mine = [CLAIM._replace(key=f"k{number}") for number in range(10)]
    for claim, size in zip(mine, (200, 100, 200), strict=False):
        assert store.claim(claim) is None
        store.renew_and_record()
        store.record(claim, "x" * size)
    assert store.claim(mine[1]) == Found(CLAIM.digest, "x" * 100)
    assert store.claim(mine[2]) == Found(CLAIM.digest, NO_ROOM)
    with pytest.raises(StoreFull):
        store.claim(mine[3])
    assert client.hget("p:{c}:sizes", "total") == str(300 + MARKER_SIZE)
    assert 0 < client.pttl("p:{c}:sizes") <= 61_000
    assert 0 < client.pttl("p:{c}:ends") <= 61_000


def test_what_has_ended_leaves_the_share(url: str, close: Callable[[Any], Any]) -> None:
    store, client, _ = shared(url, client_entries=2)
    close(client), close(store)
    mine = [CLAIM._replace(key=f"k{number}") for number in range(3)]
    for claim in mine[:2]:
        assert store.claim(claim) is None
        store.record(claim, "x" * 100)
        client.zadd("p:{c}:ends", {claim.key: 1})  # its time is over
    assert store.claim(mine[2]) is None
    assert client.zcard("p:{c}:ends") == 1
    assert client.hgetall("p:{c}:sizes") == {"total": str(MARKER_SIZE), "k2": str(MARKER_SIZE)}
