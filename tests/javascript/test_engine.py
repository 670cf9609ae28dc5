from __future__ import annotations

from typing import Any

import pytest

from portal.javascript import EngineError


def test_an_error_travels_as_data() -> None:
    error = EngineError("execute", "no x", name="TypeError", line=3, column=7, stack="at f (<input>:3:7)", broken=True)
    again = EngineError.from_dict(error.to_dict())
    assert again.to_dict() == error.to_dict()
    assert (again.stage, str(again), again.line, again.broken) == ("execute", "no x", 3, True)


@pytest.mark.parametrize(
    "forged",
    [None, 5, {}, {"stage": "own"}, {"stage": []}, {"stage": {}, "line": "1", "name": [], "message": {}, "more": 1}],
)
def test_a_forged_error_becomes_one_that_breaks_the_child(forged: Any) -> None:
    error = EngineError.from_dict(forged)
    assert (error.stage, error.line, error.column, error.broken) == ("execute", None, None, True)
    assert isinstance(error.name, str)
    assert isinstance(error.message, str)


def test_the_text_of_a_forged_error_is_shortened() -> None:
    error = EngineError.from_dict({"stage": "execute", "name": "n" * 9999, "message": "m" * 9999, "stack": "s" * 99999})
    assert len(error.name) + len(error.message) + len(error.stack) < 20_000
    assert not error.broken
