"""Close resources and iterators."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from portal._internal.closing import ClosingIterator, close_and_log, close_resource, run_all


class Resource:
    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def test_a_resource_is_closed() -> None:
    resource = Resource()
    close_resource(resource)
    assert resource.closed == 1


@pytest.mark.parametrize("thing", [None, 3, iter([1]), type("Odd", (), {"close": 3})()])
def test_other_objects_are_left_alone(thing: object) -> None:
    close_resource(thing)


class Failing:
    def close(self) -> None:
        raise OSError("the disk is full")


def test_an_error_of_close_is_raised() -> None:
    with pytest.raises(OSError, match="the disk is full"):
        close_resource(Failing())


def test_an_error_of_close_is_logged_where_nobody_handles_it(caplog: pytest.LogCaptureFixture) -> None:
    resource = Resource()
    close_and_log(resource, "the resource")
    assert (resource.closed, caplog.records) == (1, [])
    with caplog.at_level(logging.ERROR, "portal.calls"):
        close_and_log(Failing(), "the middleware Failing")
    assert [record.getMessage() for record in caplog.records] == ["closing the middleware Failing failed"]
    assert "the disk is full" in caplog.text


def test_an_interrupt_during_a_close_is_raised() -> None:
    class Interrupted:
        def close(self) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        close_and_log(Interrupted(), "the resource")


def test_an_iterator_closes_the_one_inside_and_ends() -> None:
    closed: list[bool] = []

    def items() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.append(True)

    outer = ClosingIterator(items())
    assert iter(outer) is outer
    assert next(outer) == 1
    outer.close()
    assert closed == [True]
    assert list(outer) == []
    outer.close()
    assert closed == [True]


def test_a_step_that_raises_once_is_called_again() -> None:
    called: list[str] = []

    def first() -> None:
        called.append("first")
        if called.count("first") == 1:
            raise MemoryError

    def second() -> None:
        called.append("second")
        raise SystemExit(1)

    with pytest.raises(SystemExit):
        run_all(first, second, lambda: called.append("third"), attempts=2)
    assert called == ["first", "first", "second", "second", "third"]
