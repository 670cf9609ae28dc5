from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from portal import HTTPPortal, RateLimit, function
from portal.cli.main import main


@pytest.fixture
def numbers() -> list[int]:
    return []


@pytest.fixture
def address(numbers: list[int]) -> Iterator[str]:
    @function(idempotent=True)
    def square(n: int) -> int:
        numbers.append(n)
        if n == 3:
            raise ValueError("unlucky")
        return n * n

    with HTTPPortal() as http:
        yield str(http.apply(square))


class Files:
    """The files of one batch."""

    def __init__(self, folder: Path) -> None:
        self.input, self.output = folder / "in.jsonl", folder / "out.jsonl"
        self.failures = folder / "out.jsonl.failures"

    def give(self, values: list[Any]) -> None:
        self.input.write_text("".join(json.dumps({"n": value}) + "\n" for value in values))

    def run(self, address: str, *options: str) -> Result:
        arguments = ["map", address, "--input", str(self.input), "-o", str(self.output), *options]
        return CliRunner().invoke(main, arguments)

    @property
    def results(self) -> list[Any]:
        return [json.loads(line) for line in self.output.read_text().splitlines()]

    @property
    def failed(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.failures.read_text().splitlines()]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_results_are_in_the_order_of_the_input(address: str, files: Files) -> None:
    files.give([5, 1, 4, 2])
    done = files.run(address)
    assert (done.exit_code, done.output) == (0, "")
    assert files.results == [25, 1, 16, 4]
    assert files.failed == []


def test_failures_go_to_a_file(address: str, files: Files) -> None:
    files.give([1, 3, "x", 2])
    done = files.run(address)
    assert done.exit_code == 1
    assert "2 calls failed" in done.output
    assert files.results == [1, None, None, 4]
    assert [(row["line"], row["params"], row["error"]["code"]) for row in files.failed] == [
        (2, {"n": 3}, "function_error"),
        (3, {"n": "x"}, "validation_error"),
    ]


def test_an_interrupted_run_goes_on(address: str, files: Files, numbers: list[int]) -> None:
    files.give([1, 3, 5, 6])
    files.output.write_text("1\nnull\n2")  # the third line was not completed
    rows = [{"line": 2, "params": {"n": 3}, "error": {}}, {"line": 3, "params": {"n": 5}, "error": {}}]
    files.failures.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"line"')
    done = files.run(address)
    assert done.exit_code == 2
    assert "--resume" in done.output
    assert files.run(address, "--resume").exit_code == 0
    assert files.results == [1, None, 25, 36]
    assert files.failed == rows[:1]
    assert sorted(numbers) == [5, 6]
    assert files.run(address, "--resume").exit_code == 0
    assert len(files.results) == 4


def test_a_line_that_is_no_object_is_reported_with_its_number(address: str, files: Files) -> None:
    files.input.write_text('{"n": 1}\n[]\n')
    done = files.run(address)
    assert done.exit_code == 2
    assert "line 2 of --input" in done.output


def test_a_wrong_line_loses_no_earlier_result(address: str, files: Files, numbers: list[int]) -> None:
    files.input.write_text('{"n": 2}\n{"n": 3}\n\n{"n": 4}\n')
    done = files.run(address)
    assert done.exit_code == 2
    assert "line 3 of --input: must be a JSON object, got an empty line" in done.output
    assert files.results == [4, None]
    assert [row["line"] for row in files.failed] == [2]
    files.give([2, 3, 4])
    assert files.run(address, "--resume").exit_code == 0
    assert files.results == [4, None, 16]
    assert sorted(numbers) == [2, 3, 4]


def test_a_server_that_limits_the_rate(files: Files) -> None:
    @function
    def echo(n: int) -> int:
        return n

    with HTTPPortal(middleware=[RateLimit("100/s", burst=5)]) as http:
        files.give(list(range(40)))
        assert files.run(str(http.apply(echo))).exit_code == 0
    assert files.results == list(range(40))
