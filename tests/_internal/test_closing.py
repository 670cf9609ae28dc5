"""Closing what has a `close`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from portal._internal.closing import ClosingIterator, close_resource


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


def test_an_error_of_close_is_raised() -> None:
    class Failing:
        def close(self) -> None:
            raise OSError("no")

    with pytest.raises(OSError, match="no"):
        close_resource(Failing())


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
