"""Lines that have failed are called again by `portal map --resume`, if that is safe and may help."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from portal import CallTimeout, HTTPPortal, function
from portal.cli.batches.failed_lines import complete_lines, error_of, merge_lines
from portal.cli.main import main

REFUSED = {"code": "transport_error", "delivery": "not_sent", "retryable": True}
LOST = {"code": "transport_error", "delivery": "unknown", "retryable": False}
WRONG = {"code": "validation_error", "delivery": "not_sent", "retryable": False}
BROKEN = {"code": "function_error", "delivery": "executed", "retryable": False}


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


def write(path: Path, *rows: Any) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


@pytest.mark.parametrize(("idempotent", "expected"), [(True, [20, 30]), (False, [20])])
def test_temporary_failures_are_called_again_where_that_is_safe(
    tmp_path: Path, idempotent: bool, expected: list[int]
) -> None:
    ran: list[int] = []

    @function(idempotent=idempotent)
    def half(n: int, text: str) -> str:
        ran.append(n)
        return f"{n // 2}{text}"

    odd = "\u2028"  # a line separator for Python, not for JSON lines
    params = [{"n": n, "text": odd} for n in (10, 20, 30, 40, 50, 60)]
    source, output, failures = (tmp_path / name for name in ("in", "out", "out.failures"))
    write(source, *params)
    write(output, "5", None, None, None, None)
    errors = {2: REFUSED, 3: LOST, 4: WRONG, 5: BROKEN}
    write(failures, *({"line": n, "params": params[n - 1], "error": error} for n, error in errors.items()))
    with HTTPPortal() as http:
        address = str(http.apply(half))
        arguments = ["map", address, "--input", str(source), "--output", str(output), "--resume"]
        done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert sorted(ran) == [*expected, 60]
    third = f"15{odd}" if idempotent else None
    assert lines(output) == ["5", f"10{odd}", third, None, None, f"30{odd}"]
    assert [row["line"] for row in lines(failures)] == ([4, 5] if idempotent else [3, 4, 5])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out", "out.failures"]


def test_a_line_that_fails_again_has_its_new_error(tmp_path: Path) -> None:
    @function
    def fail(n: int) -> int:
        raise ValueError("no")

    source, output, failures = (tmp_path / name for name in ("in", "out", "out.failures"))
    write(source, {"n": 1})
    write(output, None)
    write(failures, {"line": 1, "params": {"n": 1}, "error": REFUSED})
    with HTTPPortal() as http:
        arguments = ["map", str(http.apply(fail)), "--input", str(source), "--output", str(output), "--resume"]
        done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 1
    assert "1 calls failed" in done.output
    assert [row["error"]["code"] for row in lines(failures)] == ["function_error"]
    assert lines(output) == [None]


def test_results_of_an_interrupted_run_are_put_in_place_and_not_called_again(tmp_path: Path) -> None:
    output, failures, again = (tmp_path / name for name in ("out", "out.failures", "out.again"))
    write(output, 1, None, None)
    rows = [{"line": n, "params": {}, "error": REFUSED} for n in (2, 3)]
    write(failures, *rows)
    write(again, {"line": 2, "result": 4})
    with again.open("a") as file:
        file.write('{"line": 3, "resu')  # the run was killed here
    for _ in range(2):  # the second time there is nothing to do
        merge_lines(output, failures)
        assert lines(output) == [1, 4, None]
        assert lines(failures) == rows[1:]
        assert not again.exists()


def test_complete_lines_cuts_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"one\ntwo\nthr")
    assert complete_lines(path) == 2
    assert path.read_bytes() == b"one\ntwo\n"
    path.write_bytes(b"")
    assert complete_lines(path) == 0


def test_every_error_has_a_code(caplog: pytest.LogCaptureFixture) -> None:
    assert error_of(CallTimeout("late"))["code"] == "timeout"
    assert caplog.records == []
    found = error_of(KeyError("x"))
    assert (found["code"], found["message"]) == ("portal_error", "internal error: KeyError: 'x'")
    [record] = caplog.records
    assert record.exc_info is not None
