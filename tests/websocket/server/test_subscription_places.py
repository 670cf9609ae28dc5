"""The places for subscriptions, of each client and of all."""

from __future__ import annotations

import threading

import pytest

from portal.errors import OverloadedError, RateLimitError
from portal.websocket.server.subscription_places import SubscriptionPlaces


def test_a_full_client_does_not_stop_another() -> None:
    places = SubscriptionPlaces(10, 1)
    places.take("ann")
    with pytest.raises(RateLimitError) as caught:
        places.take("ann")
    assert caught.value.retry_after == 1.0
    places.take("bob")
    places.leave("ann")
    places.take("ann")
    assert places.stats() == {"open": 2, "clients": 2, "rejected": 1}


def test_the_limit_of_all() -> None:
    places = SubscriptionPlaces(1, 1)
    places.take("ann")
    with pytest.raises(OverloadedError):
        places.take("bob")
    places.leave("ann")
    places.take("bob")


def test_many_threads_take_no_more_than_there_are() -> None:
    places, start, taken = SubscriptionPlaces(50, 30), threading.Barrier(8), []

    def work(client: str) -> None:
        start.wait(10)
        for _ in range(20):
            try:
                places.take(client)
            except (OverloadedError, RateLimitError):
                continue
            taken.append(client)

    threads = [threading.Thread(target=work, args=(f"client {number % 2}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(taken) == 50
    assert max(taken.count("client 0"), taken.count("client 1")) <= 30
    assert places.stats()["open"] == 50
