"""Responses of JSON-RPC as text."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest

from portal._internal import json_encoder
from portal.errors import CallTimeout, ProtocolError, SerializationError, ValidationError
from portal.jsonrpc.encoding import encode_batch, encode_error, encode_response, may_be_deep, require_shallow
from portal.schema.jsondata import MAX_DEPTH


def test_a_result_is_encoded_with_its_meta() -> None:
    assert json.loads(encode_response(1, [2])) == {"jsonrpc": "2.0", "result": [2], "id": 1}
    assert json.loads(encode_response(1, None, {"a": 1}))["meta"] == {"a": 1}


def test_other_threads_run_while_a_large_response_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """One copy of 5 MB keeps the interpreter's lock for three milliseconds."""
    pauses: list[float] = []
    monkeypatch.setattr(json_encoder, "sleep", pauses.append)
    json_encoder.encode_json("x" * 5_000_000)
    of_result = len(pauses)
    assert of_result >= 8
    text = encode_response(1, "x" * 5_000_000)
    assert len(pauses) >= of_result + 2 * 8
    assert json.loads(text) == {"jsonrpc": "2.0", "result": "x" * 5_000_000, "id": 1}


def test_a_result_that_json_cannot_carry_has_been_executed() -> None:
    with pytest.raises(SerializationError) as caught:
        encode_response(1, float("nan"))
    assert caught.value.delivery == "executed"


def test_an_error_is_encoded_with_its_meta() -> None:
    found = json.loads(encode_error("a", CallTimeout("late", timeout=2.0), meta={"a": 1}))
    assert (found["id"], found["error"]["code"], found["meta"]) == ("a", -32004, {"a": 1})


def test_an_error_that_json_cannot_carry_becomes_a_plain_one() -> None:
    meta: Any = {"offset": object()}
    found = json.loads(encode_error(1, ProtocolError("no", context={"request_id": "r1"}), meta=meta))
    assert found["error"]["message"] == "internal error"
    assert found["error"]["data"]["request_id"] == "r1"


def test_a_lone_surrogate_in_an_error_is_written_as_its_escape() -> None:
    found = json.loads(encode_error(1, ProtocolError("no text: \ud800")))
    assert found["error"]["message"] == "no text: \\ud800"


@pytest.mark.parametrize("sizes", [(0,), (5, 0, 3), (3_000_000, 10, 600_000)])
def test_a_batch_is_the_list_of_its_responses(sizes: tuple[int, ...]) -> None:
    texts = ["x" * size for size in sizes]
    assert json.loads(encode_batch([json.dumps(text).encode() for text in texts])) == texts


def test_a_large_batch_is_joined_in_one_buffer() -> None:
    responses = [bytes(5_000_000), bytes(5_000_000)]
    tracemalloc.start()
    try:
        batch = encode_batch(responses)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(batch) == 10_000_003
    assert peak < 12_000_000


@pytest.mark.parametrize("kind", [str, str.encode])
def test_only_text_with_many_brackets_may_be_deep(kind: type) -> None:
    assert not may_be_deep(kind("[" * MAX_DEPTH))
    assert may_be_deep(kind("[" * MAX_DEPTH + "{"))


def test_deep_parameters_are_rejected() -> None:
    value: list[object] = []
    for _ in range(MAX_DEPTH - 1):
        value = [value]
    require_shallow(value)
    with pytest.raises(ValidationError):
        require_shallow([value])
