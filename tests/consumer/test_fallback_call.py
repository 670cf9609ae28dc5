from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from portal import Consumer, Fallback, HTTPPortal, LocalPortal, Policy, TransportError, function
from tests.support.ports import free_port


@function
def rates(currency: str) -> list[str]:
    return [currency]


@function
def ticks() -> Iterator[int]:
    yield from (1, 2)


@pytest.mark.parametrize("portal", [LocalPortal, HTTPPortal])
def test_a_call_falls_back_to_another_address(portal: type[Any]) -> None:
    nobody = f"http://127.0.0.1:{free_port()}/api"
    with portal() as published, Consumer() as consumer:
        other = Policy(fallback=Fallback(address=published.apply(rates)))
        assert consumer.call_at(f"{nobody}/rates", {"currency": "EUR"}, policy=other) == ["EUR"]
        assert consumer.call([f"{nobody}/rates"], {"currency": "EUR"}, policy=other) == ["EUR"]
        streamed = Policy(fallback=Fallback(address=published.apply(ticks)))
        assert list(consumer.stream_at(f"{nobody}/ticks", {}, policy=streamed)) == [1, 2]


def test_the_error_of_the_call_is_raised_if_the_fallback_fails_too() -> None:
    nobody = f"http://127.0.0.1:{free_port()}/api/rates"
    with Consumer(policy=Policy(fallback=Fallback(address="local://no_such_rates"))) as consumer:
        with pytest.raises(TransportError) as caught:
            consumer.call_at(nobody, {"currency": "EUR"})
        assert "registry_error" in caught.value.context["fallback"]
