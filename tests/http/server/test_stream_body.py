from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from portal import CallContext, PortalError, ValidationError
from portal.http.messages.event_stream import EVENTS, NDJSON
from portal.http.server.stream_body import encode_items, failure_piece


class Items:
    """Yields items, then raises an error; records that it was closed."""

    def __init__(self, *items: Any, error: Exception | None = None) -> None:
        self._left = iter(items)
        self._error = error
        self.closed = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._left)
        except StopIteration:
            if self._error is not None:
                raise self._error from None
            raise

    def close(self) -> None:
        self.closed += 1


def problem(error: PortalError, context: CallContext) -> bytes:
    return f'{{"code":"{error.code}"}}'.encode()


def test_items_as_lines() -> None:
    items, context = Items(1, {"a": None}), CallContext()
    assert list(encode_items(items, NDJSON, context, problem)) == [b"1\n", b'{"a":null}\n']
    assert items.closed == 1
    assert context.cancelled


def test_items_as_events_end_with_complete() -> None:
    pieces = list(encode_items(Items(1, 2), EVENTS, CallContext(), problem))
    assert pieces == [b"data: 1\n\n", b"data: 2\n\n", b"event: complete\ndata: null\n\n"]


def test_a_failed_stream_of_lines_has_no_end() -> None:
    body = encode_items(Items(1, error=ValidationError()), NDJSON, CallContext(), problem)
    assert [next(body), next(body)] == [b"1\n", b'{"problem":{"code":"validation_error"}}\n']
    with pytest.raises(ConnectionAbortedError):
        next(body)


def test_a_failed_stream_of_events_ends_with_the_problem() -> None:
    items = Items(1, error=ValidationError())
    pieces = list(encode_items(items, EVENTS, CallContext(), problem))
    assert pieces[1:] == [b'event: error\ndata: {"code":"validation_error"}\n\n']
    assert items.closed == 1


def test_an_item_that_is_not_json_data_ends_the_stream() -> None:
    body = encode_items(Items({1, 2}), EVENTS, CallContext(), problem)
    assert list(body) == [b'event: error\ndata: {"code":"serialization_error"}\n\n']


def test_closing_the_body_cancels_the_call_and_closes_the_items() -> None:
    items, context = Items(1, 2, 3), CallContext()
    body = encode_items(items, NDJSON, context, problem)
    next(body)
    body.close()  # type: ignore[attr-defined]
    assert context.cancelled
    assert items.closed == 1


def test_the_piece_of_a_failure() -> None:
    assert failure_piece(b"{}", NDJSON) == b'{"problem":{}}\n'
    assert failure_piece(b"{}", EVENTS) == b"event: error\ndata: {}\n\n"
