from __future__ import annotations

from portal.javascript import EngineError


def test_an_error_travels_as_data() -> None:
    error = EngineError("execute", "no x", name="TypeError", line=3, column=7, stack="at f (<input>:3:7)", broken=True)
    again = EngineError.from_dict(error.to_dict())
    assert again.to_dict() == error.to_dict()
    assert (again.stage, str(again), again.line, again.broken) == ("execute", "no x", 3, True)
