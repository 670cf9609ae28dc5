"""The rules of gRPC's proposal A6 for retry throttling."""

from __future__ import annotations

import threading

import pytest

from portal.errors import ConfigError
from portal.resilience.retry_budget import RetryBudget, RetryTokens

WAIT = 10.0


# capacity and ratio; attempts ("-" failed, "+" succeeded); tokens after them; whether a retry is allowed
@pytest.mark.parametrize(
    ("budget", "attempts", "tokens", "allowed"),
    [
        ((10, 0.1), "", 10.0, True),  # full at first
        ((10, 0.1), "+++", 10.0, True),  # and never fuller
        ((10, 0.1), "----", 6.0, True),
        ((10, 0.1), "-----", 5.0, False),  # at the half: no retries
        ((10, 0.1), "-----+", 5.1, True),  # above it again
        ((10, 0.1), "------", 4.0, False),
        ((10, 0.1), "------" + "+" * 10, 5.0, False),
        ((10, 0.1), "------" + "+" * 11, 5.1, True),
        ((10, 0.1), "-" * 30, 0.0, False),  # never below 0
        ((10, 0.1), "-" * 30 + "+", 0.1, False),
        ((1, 1.0), "-", 0.0, False),
        ((1, 1.0), "-+", 1.0, True),
        ((3, 0.5), "-", 2.0, True),
        ((3, 0.5), "--+", 1.5, False),  # half of an odd capacity
        ((1000, 1000), "-" * 999 + "+", 1000.0, True),
    ],
)
def test_tokens(budget: tuple[float, float], attempts: str, tokens: float, allowed: bool) -> None:
    bucket = RetryTokens(RetryBudget(budget[0], token_ratio=budget[1]))
    for attempt in attempts:
        (bucket.succeed if attempt == "+" else bucket.fail)()
    assert bucket.stats()["tokens"] == pytest.approx(tokens)
    assert bucket.allow_retry() is allowed
    assert bucket.stats()["rejected"] == (0 if allowed else 1)
    assert bucket.is_full is (tokens == budget[0])


def test_threads_count_every_attempt() -> None:
    bucket = RetryTokens(RetryBudget(1000, token_ratio=0.5))
    go = threading.Barrier(8)

    def run() -> None:
        go.wait(WAIT)
        for _ in range(100):
            bucket.fail()
        for _ in range(100):
            bucket.succeed()

    threads = [threading.Thread(target=run, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert bucket.stats()["tokens"] == 1000 - 800 + 400


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"max_tokens": 0}, "retry_budget.max_tokens"),
        ({"max_tokens": 1001}, "retry_budget.max_tokens"),
        ({"max_tokens": True}, "retry_budget.max_tokens"),
        ({"token_ratio": 0}, "retry_budget.token_ratio"),
        ({"token_ratio": None}, "retry_budget.token_ratio"),
    ],
)
def test_wrong_settings_are_rejected(options: dict[str, float], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RetryBudget(**options)
    assert caught.value.path == path
