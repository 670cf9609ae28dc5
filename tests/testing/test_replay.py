from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from portal import (
    CallTimeout,
    Consumer,
    FunctionError,
    HTTPPortal,
    LocalPortal,
    OverloadedError,
    Portal,
    RegistryError,
    TestingPortal,
    ValidationError,
)
from portal.testing import Recorder, Replay, recording


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls.json"


def busy() -> None:
    raise OverloadedError("busy", retry_after=3)


def feed(n: int) -> Iterator[int]:
    yield from range(n)


def add(a: float, b: float = 1) -> float:
    return a + b


def fail() -> None:
    raise ValueError("no")


def countdown(n: int) -> Iterator[int]:
    while n:
        yield n
        n -= 1
    raise ValueError("below nothing")


@pytest.fixture
def recorded(path: Path) -> Path:
    """The file of a recording: add(a=10), add(a=25), and busy(), which was rejected."""
    with TestingPortal() as portal, Consumer([portal]) as consumer:
        portal.apply(add)
        portal.apply(busy)
        with recording(path, consumer):
            consumer.call_at("test://add", {"a": 10})
            consumer.call_at("test://add", {"a": 25})
            with pytest.raises(OverloadedError):
                consumer.call_at("test://busy")
    return path


@pytest.mark.parametrize("kind", [HTTPPortal, TestingPortal])
def test_a_replay_has_the_outcomes_of_the_recorded_portal(kind: type[Portal], path: Path) -> None:
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
        with pytest.raises(RegistryError, match=r"no call of .* was recorded"):
            consumer.call_at(at["add"].replace("add", "sub"), {})


def test_equal_calls_get_their_results_in_order(path: Path) -> None:
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


def test_a_replay_in_the_history_of_a_testing_portal(recorded: Path) -> None:
    with TestingPortal() as portal, Consumer([portal]) as consumer:
        replay = portal.replay(recorded)
        consumer.register_portal(replay)
        portal.expect("add").with_params(a=10).times(1)
        portal.expect("busy")
        assert consumer.call_at("test://add", {"a": 10}) == 11.0
        with pytest.raises(OverloadedError) as caught:
            consumer.call_at("test://busy")
        assert caught.value.request_id == portal.calls("busy")[0].request_id
        portal.verify()
    assert replay.closed


def test_a_replay_of_other_schemes_in_the_history(path: Path) -> None:
    with LocalPortal() as real, recording(path, real) as recorder_portal, Consumer([recorder_portal]) as consumer:
        address = recorder_portal.apply(add)
        consumer.call_at(address, {"a": 1})
    with TestingPortal() as portal, Consumer([portal.replay(path)]) as consumer:
        assert consumer.call_at(address, {"a": 1}) == 2.0
        assert [(call.name, call.result) for call in portal.calls()] == [("add", 2.0)]


def test_each_call_gets_its_own_copy_of_the_result(path: Path) -> None:
    with TestingPortal() as portal, Consumer([portal]) as consumer, recording(path, consumer):
        portal.stub("f", {"list": []})
        consumer.call_at("test://f")
    with Consumer([Replay(path)]) as consumer:
        consumer.call_at("test://f")["list"].append(1)
        assert consumer.call_at("test://f") == {"list": []}


def test_the_nearest_recorded_call_is_shown(recorded: Path) -> None:
    with Consumer([Replay(recorded)]) as consumer:
        with pytest.raises(RegistryError, match=r'not recorded with \{"a": 26\}; nearest recorded call: \{"a": 25\}'):
            consumer.call_at("test://add", {"a": 26})
        with pytest.raises(
            RegistryError, match="no call of test://ad was recorded; nearest recorded address: test://add"
        ):
            consumer.call_at("test://ad", {"a": 1})


def test_a_partial_stream_reports_where_it_ends(path: Path) -> None:
    with TestingPortal() as portal, Consumer([portal]) as consumer, recording(path, consumer):
        portal.apply(feed)
        stream = consumer.stream_at("test://feed", {"n": 9})
        assert [next(stream), next(stream)] == [0, 1]
        stream.close()  # type: ignore[attr-defined]
    with Consumer([Replay(path)]) as consumer:
        stream = consumer.stream_at("test://feed", {"n": 9})
        assert [next(stream), next(stream)] == [0, 1]
        with pytest.raises(RegistryError, match="up to item 2 only"):
            next(stream)


def test_a_rejected_stream_is_replayed(path: Path) -> None:
    with TestingPortal() as portal, Consumer([portal]) as consumer, recording(path, consumer):
        portal.apply(feed)
        with pytest.raises(ValidationError):
            consumer.stream_at("test://feed", {"n": "x"})
    with Consumer([Replay(path)]) as consumer, pytest.raises(ValidationError):
        consumer.stream_at("test://feed", {"n": "x"})


def test_a_replay_keeps_deadlines(recorded: Path) -> None:
    with Replay(recorded) as replay, Consumer([replay]) as consumer:
        assert consumer.call_at("test://add", {"a": 10}, timeout=30) == 11.0
        with pytest.raises(CallTimeout):
            consumer.call_at("test://add", {"a": 10}, timeout=0)


def test_functions_that_raise_come_back_as_function_errors(path: Path) -> None:
    def fail() -> None:
        raise KeyError("k")

    with LocalPortal() as real, recording(path, real) as recorder_portal, Consumer([recorder_portal]) as consumer:
        address = real.apply(fail)
        with pytest.raises(FunctionError):
            consumer.call_at(address)
    with Consumer([Replay(path)]) as consumer, pytest.raises(FunctionError) as caught:
        consumer.call_at(address)
    assert caught.value.type == "KeyError"
