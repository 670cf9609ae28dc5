from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from portal import CallCancelled, CallContext
from portal.http.client.requests_session.abandoned_exchanges import AbandonedExchanges
from portal.http.client.requests_session.exchange import OneTimeBody, SessionExchange
from tests.support.scripted_transport import request_of
from tests.support.waiting import WAIT, eventually


class Pieces:
    """The raw part of a response: yields pieces, and an exception in its place."""

    def __init__(self, *pieces: bytes | Exception | Callable[[], object], left: int = 0) -> None:
        self.pieces = pieces
        self.length_remaining = left
        self.closed = False

    def stream(self, size: int, decode_content: bool) -> Iterator[bytes]:
        assert not decode_content
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            if isinstance(piece, bytes):
                yield piece
            else:
                piece()

    def close(self) -> None:
        self.closed = True

    def release_conn(self) -> None:
        pass


def response_of(raw: Any, **headers: str) -> requests.Response:
    response = requests.Response()
    response.status_code, response.raw = 200, raw
    response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return response


def started(exchange: SessionExchange, send: Callable[[], requests.Response]) -> threading.Thread:
    thread = threading.Thread(target=exchange.run, args=(send,))
    thread.start()
    return thread


def exchange_of(context: CallContext | None = None) -> tuple[SessionExchange, AbandonedExchanges]:
    abandoned = AbandonedExchanges(8)
    request = request_of()
    return SessionExchange(request if context is None else request._replace(context=context), abandoned), abandoned


def test_head_and_body() -> None:
    exchange, abandoned = exchange_of()
    raw = Pieces(*[bytes([number]) for number in range(10)])  # more than may wait
    thread = started(exchange, lambda: response_of(raw, X_Shop="a"))
    exchange.wait_for_head()
    assert (exchange.status, exchange.headers["x-shop"], exchange.read_buffered()) == (200, "a", None)
    assert b"".join(exchange.iter_body()) == bytes(range(10))
    thread.join(WAIT)
    exchange.close()
    assert raw.closed
    assert (abandoned.running, abandoned.total) == (0, 0)


@pytest.mark.parametrize("raw", [io.BytesIO(b"[1]"), None])
def test_a_body_of_another_adapter(raw: Any) -> None:
    response = response_of(raw, Content_Encoding="gzip")
    response._content = b"[1]" if raw is None else False  # type: ignore[assignment]
    response._content_consumed = raw is None
    exchange, _ = exchange_of()
    exchange.run(lambda: response)
    assert b"".join(exchange.iter_body()) == b"[1]"
    assert ("content-encoding" in exchange.headers) == (raw is not None)


def test_an_error_before_the_head() -> None:
    exchange, _ = exchange_of()

    def send() -> requests.Response:
        raise requests.ConnectionError("refused")

    exchange.run(send)
    with pytest.raises(requests.ConnectionError):
        exchange.wait_for_head()


@pytest.mark.parametrize("raw", [Pieces(b"[", requests.ConnectionError("lost")), Pieces(b"[", left=3)])
def test_an_incomplete_body(raw: Pieces) -> None:
    exchange, _ = exchange_of()
    exchange.run(lambda: response_of(raw))
    exchange.wait_for_head()
    with pytest.raises(OSError, match=r"lost|closed"):
        list(exchange.iter_body())


@pytest.mark.parametrize("reads_head", [False, True])
def test_the_caller_leaves_at_the_deadline(reads_head: bool) -> None:
    free = threading.Event()
    exchange, abandoned = exchange_of(CallContext.for_call(0.01 if not reads_head else 0.2))

    def send() -> requests.Response:
        if not reads_head:
            free.wait(WAIT)
        return response_of(Pieces(b"[", lambda: free.wait(WAIT), b"]"))

    thread = started(exchange, send)
    if reads_head:
        exchange.wait_for_head()
        with pytest.raises(TimeoutError):
            list(exchange.iter_body())
    else:
        with pytest.raises(TimeoutError):
            exchange.wait_for_head()
    assert (abandoned.running, abandoned.total) == (1, 1)
    free.set()
    thread.join(WAIT)
    assert (abandoned.running, abandoned.total) == (0, 1)


def test_a_cancelled_caller_leaves() -> None:
    context = CallContext.for_call()
    context.cancel()
    exchange, abandoned = exchange_of(context)
    with pytest.raises(CallCancelled):
        exchange.wait_for_head()
    exchange.run(lambda: pytest.fail("it was given up before it began"))
    assert abandoned.running == 0


def test_a_worker_does_not_wait_for_a_caller_that_has_left() -> None:
    exchange, abandoned = exchange_of()
    raw = Pieces(*[b"x"] * 100)
    thread = started(exchange, lambda: response_of(raw))
    exchange.wait_for_head()
    body = exchange.iter_body()
    assert next(body) == b"x"
    exchange.close()
    thread.join(WAIT)
    assert raw.closed
    eventually(lambda: abandoned.running == 0)


def test_a_body_is_sent_once() -> None:
    body = OneTimeBody(b"{}")
    assert (len(body), body.tell(), body.seek(0)) == (2, 0, 0)
    assert (list(body), body.read()) == ([b"{}"], b"")
    with pytest.raises(OSError, match="not sent again"):
        body.seek(0)
