from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from portal import (
    CallTimeout,
    ConfigError,
    Consumer,
    OverloadedError,
    PortalError,
    Retry,
    TransportError,
    function,
)
from portal.resilience import RetryBudget
from portal.testing import Mock, TestingPortal


@pytest.fixture
def portal() -> Iterator[TestingPortal]:
    with TestingPortal(seed=3) as one:
        yield one


@pytest.fixture
def consumer(portal: TestingPortal) -> Iterator[Consumer]:
    with Consumer([portal]) as one:
        yield one


def outcomes(consumer: Consumer, number: int, address: str = "test://charge") -> list[str]:
    found = []
    for _ in range(number):
        try:
            found.append(str(consumer.call_at(address)))
        except PortalError as error:
            found.append(type(error).__name__)
    return found


def test_a_share_of_the_calls_fails_by_the_seed() -> None:
    rounds = []
    for seed in (7, 7, 8):
        with TestingPortal(seed=seed) as portal, Consumer([portal]) as consumer:
            portal.mock("charge").returns("ok").fails(0.3, TransportError)
            rounds.append(outcomes(consumer, 200))
    assert rounds[0] == rounds[1] != rounds[2]
    assert 30 < rounds[0].count("TransportError") < 90
    assert set(rounds[0]) == {"ok", "TransportError"}


def test_two_mocks_of_one_seed_draw_apart(portal: TestingPortal, consumer: Consumer) -> None:
    for name in ("charge", "refund"):
        portal.mock(name).returns("ok").fails(0.5)
    assert outcomes(consumer, 50) != outcomes(consumer, 50, "test://refund")


def test_a_failed_call_does_not_reach_the_mock(portal: TestingPortal, consumer: Consumer) -> None:
    mock = portal.mock("charge").returns("ok").fails(1.0, OverloadedError("busy", retry_after=2.0))
    with pytest.raises(OverloadedError) as caught:
        consumer.call_at("test://charge")
    assert (caught.value.retry_after, mock.calls, len(portal.calls("charge"))) == (2.0, 0, 1)


def test_an_idempotent_call_is_repeated_until_it_succeeds() -> None:
    @function(idempotent=True)
    def level(sku: str) -> int:
        raise AssertionError(sku)

    retry = Retry(attempts=20, initial_backoff=0.0001, max_backoff=0.0002, budget=RetryBudget(max_tokens=1000))
    with TestingPortal() as portal, Consumer([portal], middleware=[retry]) as consumer:
        mock = portal.mock(level).returns(7).fails(0.5)
        assert [consumer.call_at("test://level", {"sku": "PEN"}) for _ in range(20)] == [7] * 20
        assert mock.calls == 20 < len(portal.calls("level"))


def test_a_dropped_response_comes_after_execution(portal: TestingPortal, consumer: Consumer) -> None:
    effects: list[dict[str, Any]] = []
    portal.mock("charge").side_effect(lambda **params: effects.append(params)).drops_after_execution()
    with pytest.raises(TransportError) as caught:
        consumer.call_at("test://charge", {"cents": 3})
    assert effects == [{"cents": 3}]
    assert caught.value.may_have_executed
    assert not caught.value.retryable
    assert isinstance(portal.calls("charge")[0].error, TransportError)


def test_a_dropped_error_is_lost_too(portal: TestingPortal, consumer: Consumer) -> None:
    portal.mock("charge").raises(ValueError("no")).drops_after_execution()
    with pytest.raises(TransportError, match="lost"):
        consumer.call_at("test://charge")


def test_a_dropped_stream_has_no_items(portal: TestingPortal, consumer: Consumer) -> None:
    mock = portal.mock("feed").yields([1, 2]).drops_after_execution()
    with pytest.raises(TransportError, match="lost"):
        list(consumer.stream_at("test://feed"))
    assert mock.calls == 1


def test_a_slow_call_ends_at_its_deadline(portal: TestingPortal, consumer: Consumer) -> None:
    mock = portal.mock("charge").returns("ok").slow(3600)
    with pytest.raises(CallTimeout):
        consumer.call_at("test://charge", timeout=0.01)
    with pytest.raises(CallTimeout):
        list(consumer.stream_at("test://charge", timeout=0.01))
    assert mock.calls == 0


def test_a_slow_call_takes_longer(portal: TestingPortal, consumer: Consumer) -> None:
    portal.mock("charge").returns("ok").slow(0.02)
    assert consumer.call_at("test://charge", timeout=30) == "ok"
    assert portal.calls("charge")[0].duration >= 0.02


def test_threads_share_the_draws(portal: TestingPortal, consumer: Consumer) -> None:
    portal.mock("charge").returns("ok").fails(0.5)
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.extend(outcomes(consumer, 50))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with TestingPortal(seed=3) as alone, Consumer([alone]) as other:
        alone.mock("charge").returns("ok").fails(0.5)
        assert sorted(found) == sorted(outcomes(other, 200))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda mock: mock.fails(1.5),
        lambda mock: mock.fails(-0.1),
        lambda mock: mock.fails(0.5, ValueError("no")),
        lambda mock: mock.fails(0.5, "no"),
        lambda mock: mock.slow(-1),
        lambda mock: mock.slow(1, share=True),
        lambda mock: mock.drops_after_execution(2),
    ],
)
def test_wrong_settings_are_rejected(portal: TestingPortal, wrong: Any) -> None:
    mock: Mock = portal.mock("charge")
    with pytest.raises(ConfigError):
        wrong(mock)
