"""`portal map`: call a function once for each line of a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from ..calls.call import parse_object
from ..connect import client_options, connected
from ..errors import FAILED, reported
from ..output import echo
from .failed_lines import (
    call_again,
    complete_lines,
    error_of,
    forget_lines,
    keep_failures,
    merge_lines,
    write_line,
)

if TYPE_CHECKING:
    from ...consumer import Consumer

__all__ = ["map_"]

_EXAMPLES = """\b
Examples:
  portal map http://127.0.0.1:8080/api/orders/add --input pairs.jsonl --output sums.jsonl
  portal map http://127.0.0.1:8080/api/orders/add --input pairs.jsonl --output sums.jsonl --resume
"""


@click.command("map", epilog=_EXAMPLES)
@click.argument("address")
@click.option("--input", "source", type=click.Path(exists=True, dir_okay=False), required=True, metavar="FILE")
@click.option("-o", "--output", "target", type=click.Path(dir_okay=False), required=True, metavar="FILE")
@click.option(
    "--failures", type=click.Path(dir_okay=False), metavar="FILE", help="Default: the output file with .failures added."
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on after the last line of the output file; call lines with temporary failures again.",
)
@click.option("--max-in-flight", type=click.IntRange(1, 1000), default=32, show_default=True, metavar="CALLS")
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Time limit of each call."
)
@client_options
def map_(
    address: str,
    source: str,
    target: str,
    failures: str | None,
    resume: bool,
    max_in_flight: int,
    timeout: float | None,
    **client: Any,
) -> None:
    """Call the function at ADDRESS once for each line of the input file, a JSON object of parameters.

    Each line of the output file has the result for the same line of the input file, or null where the call failed. The
    file of failures has the number of such a line, its parameters and the error. Calls are repeated after temporary
    failures, and wait where the server limits their rate.

    A line that is not a JSON object ends the command after the results of all lines before it. Correct the line, and go
    on with --resume.

    --resume first calls the failed lines again whose failure was temporary, such as a server that was away. A call that
    may have run is made again only if the function is idempotent.
    """
    from ...resilience.policy import Policy

    failed_path = Path(failures or f"{target}.failures")
    done = _prepare(Path(target), failed_path, resume)
    options: dict[str, Any] = {
        "max_in_flight": max_in_flight,
        "timeout": timeout,
        "policy": Policy.batch(),
        "return_exceptions": True,
    }
    with reported(as_json=False), connected(address, **client) as consumer:
        count = call_again(consumer, address, Path(target), failed_path, options) if resume else 0
        with open(source, encoding="utf-8") as lines, _progress(source, done) as bar:
            rows = _Rows(lines, done)
            for succeeded in _call_rows(consumer, address, rows, Path(target), failed_path, options):
                count += not succeeded
                if bar is not None:
                    bar.update(1)
    if rows.error is not None:
        try:
            raise rows.error
        finally:
            del rows  # else the exception and this frame refer to each other
    if count:
        echo(f"error: {count} calls failed; see {failed_path}", err=True)
        raise SystemExit(FAILED)


def _call_rows(
    consumer: Consumer, address: str, rows: _Rows, target: Path, failures: Path, options: dict[str, Any]
) -> Iterator[bool]:
    """Call the function for each row and write the outcomes. Yield whether each call has succeeded."""
    waiting: list[dict[str, Any]] = []  # parameters of the calls whose results have not come
    results = consumer.map_at(address, _remember(rows, waiting), **options)
    with open(target, "a", encoding="utf-8") as written, open(failures, "a", encoding="utf-8") as failed:
        for number, result in enumerate(results, rows.done + 1):
            params = waiting.pop(0)
            succeeded = not isinstance(result, Exception)
            if not succeeded:
                write_line(failed, {"line": number, "params": params, "error": error_of(result)})
            write_line(written, result if succeeded else None)
            yield succeeded


def _prepare(target: Path, failed: Path, resume: bool) -> int:
    """Return how many lines are done. Raises: click.UsageError if a file would be overwritten."""
    if not target.exists() or target.stat().st_size == 0:
        forget_lines(target, failed)
        return 0
    if not resume:
        raise click.UsageError(f"{target} exists: go on with --resume, or remove it")
    done = complete_lines(target)
    if failed.exists():
        complete_lines(failed)
        merge_lines(target, failed)
        keep_failures(failed, done)  # the result of a failed call is written after its failure
    return done


class _Rows:
    """The parameters of the lines that are not done. They end before a wrong line, so that earlier results are kept.

    Attributes:
        done: the number of lines that are done.
        error: the fault of the wrong line, or None.
    """

    def __init__(self, lines: IO[str], done: int) -> None:
        self.done = done
        self.error: click.BadParameter | None = None
        self._lines = lines

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for number, line in enumerate(islice(self._lines, self.done, None), self.done + 1):
            hint = f"line {number} of --input"
            try:
                if not line.strip():
                    raise click.BadParameter("must be a JSON object, got an empty line; remove it", param_hint=hint)
                row = parse_object(line, hint)
            except click.BadParameter as error:
                self.error = error
                return
            yield row


def _remember(calls: Iterable[dict[str, Any]], into: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for params in calls:
        into.append(params)
        yield params


def _progress(source: str, done: int) -> Any:
    """Return a progress bar on stderr, or nothing if that is not a terminal."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return nullcontext()
    with open(source, "rb") as file:
        length = sum(1 for _ in file)
    bar = click.progressbar(length=length, label="calls", file=sys.stderr, show_pos=True)
    bar.update(done)
    return bar
