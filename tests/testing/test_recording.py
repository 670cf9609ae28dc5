from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from portal import Consumer, FunctionError, HTTPPortal, Portal, RegistryError, SerializationError, ValidationError
from portal.testing import Recorder, Replay, TestingPortal


def add(a: float, b: float) -> float:
    return a + b


def fail() -> None:
    raise ValueError("no")


def countdown(n: int) -> Iterator[int]:
    while n:
        yield n
        n -= 1
    raise ValueError("below nothing")


@pytest.mark.parametrize("kind", [HTTPPortal, TestingPortal])
def test_a_recording_answers_as_the_real_thing(kind: type[Portal], tmp_path: Path) -> None:
    path = tmp_path / "calls.json"
    with kind() as portal, Recorder(path) as recorder, Consumer([portal], middleware=[recorder]) as consumer:
        at = {one.__name__: str(portal.apply(one)) for one in (add, fail, countdown)}
        assert consumer.call_at(at["add"], {"a": 1, "b": 2}) == 3.0
        with pytest.raises(FunctionError):
            consumer.call_at(at["fail"])
        with pytest.raises(FunctionError):
            list(consumer.stream_at(at["countdown"], {"n": 2}))
    with Consumer([Replay(path)]) as consumer:
        for _ in range(2):
            assert consumer.call_at(at["add"], {"b": 2, "a": 1}) == 3.0
        with pytest.raises(FunctionError):
            consumer.call_at(at["fail"])
        stream = consumer.stream_at(at["countdown"], {"n": 2})
        assert [next(stream), next(stream)] == [2, 1]
        with pytest.raises(FunctionError):
            next(stream)
        with pytest.raises(RegistryError, match="was not recorded with"):
            consumer.call_at(at["add"], {"a": 5, "b": 5})
        with pytest.raises(RegistryError, match="nothing was recorded"):
            consumer.call_at(at["add"].replace("add", "sub"), {})


def test_equal_calls_are_answered_in_order(tmp_path: Path) -> None:
    path = tmp_path / "calls.json"
    with TestingPortal() as portal, Recorder(path) as recorder, Consumer([portal], middleware=[recorder]) as consumer:
        portal.mock("next").returns(1, 2)
        portal.mock("bad").returns(1)
        portal.mock(add)
        assert [consumer.call_at("test://next") for _ in range(2)] == [1, 2]
        with pytest.raises(ValidationError):
            consumer.call_at("test://add", {"a": "x"})
    with Consumer([Replay(path)]) as consumer:
        assert [consumer.call_at("test://next") for _ in range(3)] == [1, 2, 2]
        with pytest.raises(ValidationError):
            consumer.call_at("test://add", {"a": "x"})


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 99}'])
def test_what_is_no_recording(text: str, tmp_path: Path) -> None:
    path = tmp_path / "calls.json"
    path.write_text(text)
    with pytest.raises(SerializationError, match="is no recording"):
        Replay(path)
