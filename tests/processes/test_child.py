"""The program of a worker process."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest

from portal.processes.child import load_main, run_packed


def run(function: object, *arguments: object) -> object:
    return pickle.loads(run_packed(pickle.dumps((None, pickle.dumps((function, arguments))))))


def test_a_job_is_run() -> None:
    assert run(max, 3, 5) == 5


def test_an_exception_becomes_a_reply() -> None:
    kind, name, text, trace = run(divmod, 1, 0)  # type: ignore[misc]
    assert (kind, name) == ("broken", "ZeroDivisionError")
    assert "by zero" in text
    assert "Traceback" in trace


def test_bytes_that_are_no_job() -> None:
    assert pickle.loads(run_packed(b"x"))[0] == "broken"


def test_the_script_of_the_parent_is_loaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "script.py"
    script.write_text("count = globals().get('count', 0) + 1\nname = __name__\n")
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    monkeypatch.setitem(sys.modules, "__mp_main__", sys.modules["__main__"])
    load_main(str(script))
    loaded = sys.modules["__main__"]
    load_main(str(script))
    assert sys.modules["__main__"] is loaded
    assert (loaded.name, loaded.count) == ("__mp_main__", 1)
