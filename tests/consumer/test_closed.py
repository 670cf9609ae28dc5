from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from portal import Consumer, ConsumerError


@pytest.mark.parametrize(
    "use",
    [
        lambda consumer: consumer.call_at("http://127.0.0.1:1/api/add"),
        lambda consumer: consumer.call_at("local://add"),
        lambda consumer: consumer.stream_at("local://add"),
        lambda consumer: consumer.submit_at("local://add").result(10),
        lambda consumer: consumer.resolve("local://add"),
    ],
    ids=["call http", "call local", "stream", "submit", "resolve"],
)
def test_a_closed_consumer_says_what_to_do(use: Callable[[Consumer], Any]) -> None:
    consumer = Consumer()
    consumer.close()
    with pytest.raises(ConsumerError, match="the consumer is closed") as caught:
        use(consumer)
    assert caught.value.advice == "make a new Consumer"
