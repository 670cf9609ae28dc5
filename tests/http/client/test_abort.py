from __future__ import annotations

import threading

import pytest

from portal import Consumer, HTTPPortal, function
from portal.context import CallContext
from portal.errors import CallCancelled
from portal.http.client.connection import HTTPConnection

WAIT = 10.0


def test_a_cancelled_call_ends_its_request() -> None:
    arrived, go = threading.Event(), threading.Event()

    @function
    def hang() -> int:
        arrived.set()
        assert go.wait(WAIT)
        return 1

    @function
    def echo(n: int) -> int:
        return n

    context = CallContext()
    context.abortable = True
    errors: list[BaseException] = []
    with HTTPPortal() as http, Consumer() as consumer:
        address, other = http.apply(hang), http.apply(echo)

        def run() -> None:
            with pytest.raises(CallCancelled) as caught:
                consumer.call_at(address, {}, context=context)
            errors.append(caught.value)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        assert arrived.wait(WAIT)
        context.cancel()
        thread.join(WAIT)
        assert not thread.is_alive()
        assert not go.is_set()
        go.set()
        assert consumer.call_at(other, {"n": 1}) == 1
    assert len(errors) == 1


def test_a_cancellation_after_the_response_leaves_the_connection_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    aborted: list[HTTPConnection] = []
    monkeypatch.setattr(HTTPConnection, "abort", aborted.append)

    @function
    def echo(n: int) -> int:
        return n

    with HTTPPortal() as http, Consumer() as consumer:
        address = http.apply(echo)
        for n in range(3):
            context = CallContext()
            context.abortable = True
            assert consumer.call_at(address, {"n": n}, context=context) == n
            context.cancel()
        assert consumer.call_at(address, {"n": 9}) == 9
    assert aborted == []
