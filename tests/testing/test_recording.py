from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from portal import (
    Consumer,
    HTTPPortal,
    LocalPortal,
    OverloadedError,
    Portal,
    RegistryError,
    SerializationError,
    Service,
    TestingPortal,
    ValidationError,
    function,
)
from portal.testing import Recorder, RecordingPortal, Replay, recording


def add(a: float, b: float = 1) -> float:
    return a + b


def busy() -> None:
    raise OverloadedError("busy", retry_after=3)


def feed(n: int) -> Iterator[int]:
    yield from range(n)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls.json"


@pytest.mark.parametrize("kind", [LocalPortal, HTTPPortal, TestingPortal])
def test_a_recording_portal_behaves_like_the_recorded_one(kind: type[Portal], path: Path) -> None:
    with kind() as real:
        with RecordingPortal(real, path) as portal, Consumer([portal]) as consumer:
            at = {one.__name__: portal.apply(one) for one in (add, busy, feed)}
            portal.apply_service(Service("shop", [add]))
            shop = next(iter(portal.services()))
            assert portal.functions() == real.functions()
            assert portal.generate_address("add") == real.generate_address("add")
            assert (portal.health(), portal.stats()["functions"]) == (real.health(), 4)
            assert portal.schemes == real.schemes
            want = outcomes(consumer, at)
            if kind is not HTTPPortal:
                assert portal.resolve_service(shop).functions["add"](a=1) == 2.0
            portal.remove(shop)
            assert len(portal.functions()) == 3
        portal.close()  # twice does no harm
        assert not real.closed
        assert path.exists()
    with Replay(path) as replay, Consumer([replay]) as consumer:
        assert outcomes(consumer, at) == want
        assert set(at.values()) <= set(replay.functions())
        assert str(replay.generate_address("add")) == "test://add"
        with pytest.raises(RegistryError, match="takes no functions"):
            replay.apply(add)


def outcomes(consumer: Consumer, at: Any) -> list[Any]:
    found: list[Any] = [consumer.call_at(at["add"], {"a": 1}), consumer.resolve(at["add"])(a=2, b=2)]
    for params in ({"a": "x"}, {}):
        with pytest.raises(ValidationError) as rejected:
            consumer.call_at(at["add"], params)
        found.append([fault.to_dict() for fault in rejected.value.errors])
    with pytest.raises(OverloadedError) as caught:
        consumer.call_at(at["busy"])
    return [*found, caught.value.retry_after, list(consumer.stream_at(at["feed"], {"n": 3}))]


def test_the_calls_of_a_block_are_recorded(path: Path) -> None:
    with TestingPortal() as portal, Consumer([portal]) as consumer:
        portal.apply(add)
        consumer.call_at("test://add", {"a": 1})
        with portal.recording(path, consumer):
            consumer.call_at("test://add", {"a": 2})
        consumer.call_at("test://add", {"a": 3})
    assert [row["params"] for row in json.loads(path.read_text())["calls"]] == [{"a": 2}]


def test_a_block_that_fails_is_recorded(path: Path) -> None:
    with LocalPortal() as real:
        address = real.apply(add)

        def block() -> None:
            with recording(path, real) as recorded, Consumer([recorded]) as consumer:
                consumer.call_at(address, {"a": 2})
                raise KeyError("in the block")

        with pytest.raises(KeyError):
            block()
        assert not real.closed
    assert Consumer([Replay(path)]).call_at(address, {"a": 2}) == 3.0


def write(path: Path, turns: list[float]) -> str:
    ticks = iter(range(100))
    with TestingPortal() as portal, Consumer([portal]) as consumer:
        portal.apply(add)
        portal.apply(busy)
        with recording(path, consumer, clock=lambda: next(ticks) / 4):
            for a in turns:
                consumer.call_at("test://add", {"a": a})
            with pytest.raises(OverloadedError):
                consumer.call_at("test://busy")
    return path.read_text(encoding="utf-8")


def test_equal_calls_write_an_equal_file(path: Path) -> None:
    text = write(path, [3, 1, 2])
    assert text == write(path, [2, 3, 1])
    data = json.loads(text)
    assert data["version"] == 1
    assert [row["params"].get("a") for row in data["calls"]] == [1, 2, 3, None]
    assert {row["duration"] for row in data["calls"]} == {0.25}
    assert "request_id" not in text
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("params", [{"a": b"x"}, {"a": float("nan")}, {"a": "\ud800"}, [1]])
def test_calls_with_parameters_that_are_not_json_are_left_out(params: Any, path: Path) -> None:
    with TestingPortal() as portal, Consumer([portal]) as consumer, recording(path, consumer):
        portal.apply(add)
        consumer.call_at("test://add", {"a": 1})
        with pytest.raises(ValidationError):
            consumer.call_at("test://add", params)
    assert len(json.loads(path.read_text())["calls"]) == 1
    with Consumer([Replay(path)]) as consumer, pytest.raises(ValidationError):
        consumer.call_at("test://add", params)


def test_errors_with_lone_surrogates_are_recorded(path: Path) -> None:
    with TestingPortal() as portal, Consumer([portal]) as consumer, recording(path, consumer):
        portal.mock("f").raises(OverloadedError("half \ud800, whole \U0001f600, é"))
        with pytest.raises(OverloadedError):
            consumer.call_at("test://f")
    with Consumer([Replay(path)]) as consumer, pytest.raises(OverloadedError) as caught:
        consumer.call_at("test://f")
    assert caught.value.message == "half \ud800, whole \U0001f600, é"


@pytest.mark.parametrize("result", [{1, 2}, float("nan")])
def test_a_result_that_is_not_json_leaves_the_file_unchanged(result: Any, path: Path) -> None:
    path.write_text("the old one")

    @function(validate_output="off")
    def loose() -> int:
        return result  # type: ignore[no-any-return]

    with LocalPortal() as portal, Consumer([portal], middleware=[recorder := Recorder(path)]) as consumer:
        consumer.call_at(portal.apply(loose))
        with pytest.raises(SerializationError, match="not JSON data"):
            recorder.save()
    assert path.read_text() == "the old one"


def test_eight_threads_record_and_save(path: Path) -> None:
    failures: list[BaseException] = []
    with TestingPortal() as portal, Recorder(path) as recorder, Consumer([portal], middleware=[recorder]) as consumer:
        portal.apply(add)

        def work(number: int) -> None:
            try:
                for turn in range(25):
                    consumer.call_at("test://add", {"a": number, "b": turn})
                    if turn % 5 == 0:
                        recorder.save()
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert failures == []
    assert len(json.loads(path.read_text())["calls"]) == 200
    assert list(path.parent.iterdir()) == [path]
