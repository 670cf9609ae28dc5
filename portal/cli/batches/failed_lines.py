"""The failed lines of `portal map`: which are called again, and how their results get into the output file.

A line that was called again is written to a third file at once. Its lines are put in place at the end, or by the next
`--resume` if the command was interrupted. So no call is made again after its result has come.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..._internal.log import get_logger

if TYPE_CHECKING:
    from ...consumer import Consumer

__all__ = ["call_again", "complete_lines", "error_of", "forget_lines", "keep_failures", "merge_lines", "write_line"]

_log = get_logger("portal.cli")
#: Codes of errors that say nothing about the parameters.
_TEMPORARY = frozenset(("transport_error", "timeout", "overloaded", "rate_limited", "circuit_open", "cancelled"))

Row = dict[str, Any]


def complete_lines(path: Path) -> int:
    """Return the number of complete lines of a file, and cut a line that an interrupted run has not completed."""
    count = end = 0
    with path.open("rb+") as file:
        for line in file:
            if line.endswith(b"\n"):
                count += 1
                end += len(line)
        file.truncate(end)
    return count


def write_line(file: IO[str], value: Any) -> None:
    """Write a value as one line of JSON."""
    file.write(json.dumps(value, ensure_ascii=False) + "\n")
    file.flush()


def error_of(error: Exception) -> Row:
    """Return an error as JSON data, with the same members for each class. One that is not a PortalError is logged."""
    from ...errors import PortalError

    if isinstance(error, PortalError):
        return error.to_dict()
    _log.error("a call failed with an error that is not one of Portal", exc_info=error)
    return PortalError(f"internal error: {type(error).__name__}: {error}", cause=error).to_dict()


def call_again(consumer: Consumer, address: str, output: Path, failures: Path, options: Row) -> int:
    """Call the failed lines again whose failure was temporary. Return how many of them have failed again.

    A call that may have run is made again only if the function is idempotent.

    Args:
        output: the file of results.
        failures: the file of failed lines.
        options: for `map_at`.
    """
    if not failures.exists():
        return 0
    rows = [row for row in _rows_of(failures) if _is_temporary(row["error"])]
    if any(_may_have_run(row["error"]) for row in rows) and not consumer.resolve(address).schema.idempotent:
        rows = [row for row in rows if not _may_have_run(row["error"])]
    if not rows:
        return 0
    failed = 0
    again = _again(output)
    try:
        with open(again, "a", encoding="utf-8") as file:
            results: Iterator[Any] = consumer.map_at(address, [row["params"] for row in rows], **options)
            for row, result in zip(rows, results, strict=True):
                if isinstance(result, Exception):
                    failed += 1
                    write_line(file, {"line": row["line"], "error": error_of(result)})
                else:
                    write_line(file, {"line": row["line"], "result": result})
    finally:
        merge_lines(output, failures)
    return failed


def forget_lines(output: Path, failures: Path) -> None:
    """Remove the failed lines of an output file that is not there any more."""
    failures.unlink(missing_ok=True)
    _again(output).unlink(missing_ok=True)


def keep_failures(failures: Path, done: int) -> None:
    """Remove the failures of lines that have no result, as they are called again."""
    rows = [row for row in _rows_of(failures) if row["line"] <= done]
    _replace(failures, (json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def merge_lines(output: Path, failures: Path) -> None:
    """Put the results of lines that were called again in their places, and update the file of failures."""
    again = _again(output)
    if not again.exists():
        return
    complete_lines(again)
    rows = {row["line"]: row for row in _rows_of(again)}
    results = {line: row["result"] for line, row in rows.items() if "result" in row}
    if results:
        with open(output, encoding="utf-8") as file:
            _replace(output, _with_results(file, results))
    left = [
        {**row, "error": rows[row["line"]]["error"]} if row["line"] in rows else row
        for row in _rows_of(failures)
        if row["line"] not in results
    ]
    _replace(failures, (json.dumps(row, ensure_ascii=False) + "\n" for row in left))
    again.unlink()


def _with_results(lines: Iterable[str], results: dict[int, Any]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        yield json.dumps(results[number], ensure_ascii=False) + "\n" if number in results else line


def _replace(path: Path, lines: Iterable[str]) -> None:
    """Write a file anew, as a whole: an interrupted run leaves the old one."""
    made = path.with_name(path.name + ".new")
    with open(made, "w", encoding="utf-8") as file:
        file.writelines(lines)
    os.replace(made, path)


def _again(output: Path) -> Path:
    return output.with_name(output.name + ".again")


def _rows_of(path: Path) -> list[Row]:
    # Not `splitlines`: a text may have further line separators, which JSON does not escape.
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


def _is_temporary(error: Row) -> bool:
    return error.get("code") in _TEMPORARY or error.get("retryable") is True


def _may_have_run(error: Row) -> bool:
    return error.get("delivery") in ("unknown", "executed")
