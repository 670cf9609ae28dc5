"""Results that are loaded into a type of the caller."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from portal import ConfigError, LocalPortal, ValidationError, function
from portal.function.returns import load_items, load_result, returned_text


@function
def tomorrow(day: date) -> date:
    """Return the next day."""
    return day.replace(day=day.day + 1)


def test_a_function_returns_another_type() -> None:
    day = date(2026, 1, 1)
    assert tomorrow(day) == date(2026, 1, 2)
    assert tomorrow.returning()(day) == "2026-01-02"
    assert tomorrow.returning(str)(day) == "2026-01-02"
    assert tomorrow.returning(date)(day) == date(2026, 1, 2)
    assert tomorrow(day) == date(2026, 1, 2)
    with pytest.raises(ValidationError, match="the result of tomorrow does not fit returns=int"):
        tomorrow.returning(int)(day)
    with pytest.raises(ConfigError):
        tomorrow.returning(complex)


def test_a_compiled_call_is_compiled_again() -> None:
    def double(number: int) -> float:
        return 2 * number

    with LocalPortal() as local:
        found: Any = local.resolve_function(local.apply(double))
        assert found(number=2) == 4.0
        assert found.returning(list[int]) is not found
        with pytest.raises(ValidationError, match="does not fit returns=list"):
            found.returning(list[int])(number=2)
        assert found(number=2) == 4.0


def test_items_of_a_stream_are_loaded_and_the_stream_is_closed() -> None:
    closed = []

    def source() -> Iterator[str]:
        try:
            yield from ("2026-01-01", "x")
        finally:
            closed.append(True)

    items = load_items(source(), date, "days")
    assert next(items) == date(2026, 1, 1)
    with pytest.raises(ValidationError, match="the result of days does not fit returns=date"):
        next(items)
    assert closed == [True]
    assert list(load_items(iter(["2026-01-01"]), date, "days")) == [date(2026, 1, 1)]


def test_a_message_names_the_hint_of_the_result() -> None:
    assert returned_text(None) == " returning JSON data"
    assert returned_text(list[int]) == " returning list[int]"
    assert returned_text(date | None) == " returning datetime.date | None"
    with pytest.raises(ValidationError) as caught:
        load_result("x", int, "add")
    assert caught.value.errors[0].path == ""
