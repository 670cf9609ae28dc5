"""pytest-benchmark: the parts of a call, each one alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from portal import CallContext, function
from portal._internal.json_encoder import encode_json
from portal._internal.json_text import decode_json
from portal.calls.dispatcher import Dispatcher
from portal.calls.middleware import Call
from portal.function import Function
from portal.http11.chunked import ChunkedDecoder
from portal.http11.head_cache import HeadCache
from portal.http11.request_head import parse_request_head

from .profile_call import HEAD
from .workload import BODY, EXPECTED, PARAMS, add

_PIECE = b"x" * 1000
_CHUNKED = b"3e8\r\n" + _PIECE + b"\r\n"


@pytest.fixture
def target() -> Function:
    return function(add)


@pytest.fixture
def dispatcher() -> Iterator[Dispatcher]:
    made = Dispatcher()
    yield made
    made.close()


@pytest.mark.benchmark(group="head")
def test_head_is_parsed(benchmark: Any) -> None:
    assert benchmark(parse_request_head, HEAD).content_length == len(BODY)


@pytest.mark.benchmark(group="head")
def test_head_is_found_in_the_cache(benchmark: Any) -> None:
    heads = HeadCache()
    assert benchmark(heads.parse, HEAD) is heads.parse(HEAD)


@pytest.mark.benchmark(group="body")
@pytest.mark.parametrize("chunks", [1, 64])
def test_chunked_body_is_decoded(benchmark: Any, chunks: int) -> None:
    data = _CHUNKED * chunks + b"0\r\n\r\n"
    assert benchmark(lambda: ChunkedDecoder(1 << 20).feed(data)) == _PIECE * chunks


@pytest.mark.benchmark(group="JSON")
def test_parameters_are_decoded(benchmark: Any) -> None:
    assert benchmark(decode_json, BODY) == PARAMS


@pytest.mark.benchmark(group="JSON")
def test_result_is_encoded(benchmark: Any) -> None:
    assert benchmark(encode_json, EXPECTED) == b"4.0"


@pytest.mark.benchmark(group="call")
def test_schema_accepts(benchmark: Any, target: Function) -> None:
    assert benchmark(target.parameters.schema.accepts, PARAMS) is True


@pytest.mark.benchmark(group="call")
def test_function_is_invoked(benchmark: Any, target: Function) -> None:
    assert benchmark(target.invoke, PARAMS, CallContext()) == EXPECTED


@pytest.mark.benchmark(group="call")
def test_call_is_dispatched(benchmark: Any, target: Function, dispatcher: Dispatcher) -> None:
    assert benchmark(dispatcher.dispatch, Call(target, PARAMS, CallContext())) == EXPECTED
    assert dispatcher.stats()["failed"] == 0
