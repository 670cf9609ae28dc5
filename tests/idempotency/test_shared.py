"""Claims and outcomes in a shared store, on a real server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

from portal._internal.redis_client import StoreClient, StoreUnavailable
from portal.errors import ConfigError
from portal.idempotency.shared import SharedOutcomes, UnnamedOutcomes
from portal.idempotency.store import Claim
from tests.support import valkey
from tests.support.clocks import Clock


def shared(url: str, **settings: Any) -> tuple[SharedOutcomes, redis.Redis, Clock]:
    client = redis.Redis.from_url(url, socket_timeout=2, decode_responses=True)
    clock = Clock()
    store = SharedOutcomes(
        StoreClient(client, path="store", clock=clock), 60.0, 30.0, "p", settings.get("max_bytes", 1000), clock
    )
    return store, client, clock


CLAIM = Claim("k", "d" * 64, "token")


def test_a_claim_is_recognised_after_a_retry_of_the_store_client(url: str, close: Callable[[Any], Any]) -> None:
    store, client, _ = shared(url)
    close(client), close(store)
    client.set("p:k", f"{CLAIM.digest}?token")
    assert store.claim(CLAIM) is None
    found = store.claim(CLAIM._replace(token="other"))
    assert found is not None
    assert (found.digest, found.text) == (CLAIM.digest, None)


def test_a_claim_is_renewed_or_restored_but_never_overwrites_another(url: str, close: Callable[[Any], Any]) -> None:
    store, client, _ = shared(url)
    close(client), close(store)
    assert store.claim(CLAIM) is None
    client.pexpire("p:k", 5000)
    store.renew_and_record()
    assert client.pttl("p:k") > 20_000
    client.flushall()  # a store that came back empty
    store.renew_and_record()
    assert client.get("p:k") == f"{CLAIM.digest}?token"
    client.set("p:k", f"{CLAIM.digest}?other")
    store.renew_and_record()
    store.renew_and_record()
    store.drop(CLAIM)
    assert client.get("p:k") == f"{CLAIM.digest}?other"


def test_an_outcome_does_not_overwrite_another(
    url: str, close: Callable[[Any], Any], caplog: pytest.LogCaptureFixture
) -> None:
    store, client, _ = shared(url)
    close(client), close(store)
    assert store.claim(CLAIM) is None
    client.set("p:k", f"{CLAIM.digest}=theirs")
    store.record(CLAIM, "mine")
    found = store.claim(CLAIM)
    assert found is not None
    assert found.text == "theirs"
    assert "another call may have run: key=k" in caplog.text


def test_an_outcome_is_recorded_when_the_store_responds_again(close: Callable[[Any], Any]) -> None:
    with valkey.running() as server:
        store, client, clock = shared(server.connection_url, max_bytes=10)
        close(client), close(store)
        second, third = CLAIM._replace(key="k2"), CLAIM._replace(key="k3")
        for claim in (CLAIM, second, third):
            assert store.claim(claim) is None
        port = server.port
        server.terminate()
        store.record(CLAIM, "too long for all three")
        store.record(second, "mine")
        store.record(third, "old")
        with pytest.raises(StoreUnavailable):
            store.claim(CLAIM._replace(key="k4"))
        store.renew_and_record()
        server._desired_port = port
        server.start()
        clock.now += 59
        store.renew_and_record()
        assert client.get("p:k2") == f"{CLAIM.digest}=mine"
        assert 0 < client.pttl("p:k2") <= 1000
        assert client.get("p:k") is None
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
    assert client.get("p:k") is None
    assert not store._unrecorded


def test_a_claim_that_is_dropped_while_leases_are_renewed_stays_dropped(
    url: str, close: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, client, _ = shared(url)
    close(client), close(store)
    claims = {Claim(name, "d" * 64, "token") for name in "ab"}
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


def test_a_store_without_a_namespace_rejects_claims() -> None:
    with pytest.raises(ConfigError, match=r"idempotency\.namespace must be set for a shared store"):
        UnnamedOutcomes().claim(CLAIM)
