"""`portal js`: run, check and measure a JavaScript function."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from .errors import FAILED, INVALID, reported
from .output import echo

if TYPE_CHECKING:
    from ..javascript import JSFunction

__all__ = ["js"]

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_MAX_SAMPLES = 100_000


@click.group()
def js() -> None:
    """Run, check and measure JavaScript functions.

    FILE has one function: its default export, or the function with the name of the file.
    """


@js.command()
@click.argument("file", type=_FILE)
@click.option("--params", default="{}", metavar="JSON", help="Parameters of the function as a JSON object.")
@click.option("--engine", default="auto", show_default=True, help="Name of the engine.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="Seconds for the call.")
@click.option("--trusted", is_flag=True, help="Run it in this process instead of a child process.")
@click.option("--json", "as_json", is_flag=True, help="Print errors as JSON.")
def run(file: Path, params: str, engine: str, timeout: float | None, trusted: bool, as_json: bool) -> None:
    """Call the function of FILE and print its result as JSON."""
    values = _object(params)
    with reported(as_json, unreachable=FAILED):
        from ..context import CallContext
        from ..javascript import JavaScriptPortal, Sandbox

        function = _load(file, trusted)
        with JavaScriptPortal(engine=engine, sandbox=Sandbox("trusted" if trusted else "untrusted")) as portal:
            resolved = portal.resolve_function(portal.apply(function))
            result = resolved.invoke(values, CallContext.for_call(timeout))
    echo(json.dumps(result, ensure_ascii=False))


@js.command()
@click.argument("files", type=_FILE, nargs=-1, required=True)
def check(files: tuple[Path, ...]) -> None:
    """Look for wrong syntax and for dangerous code in FILES, without running them.

    Exits with 3 if something was found. Code without findings may still be hostile: limits stop it when it runs.
    """
    from ..javascript.parsing.analysis import analyse

    found = 0
    for file in files:
        for finding in analyse(file.read_text(encoding="utf-8", errors="replace")):
            echo(f"{file}:{finding}")
            found += 1
    if found:
        sys.exit(INVALID)


@js.command()
@click.argument("file", type=_FILE)
@click.option("--params", default="{}", metavar="JSON", help="Parameters of the function as a JSON object.")
@click.option("--seconds", type=click.FloatRange(min=0.1), default=2.0, show_default=True, help="Duration.")
@click.option("--engine", default="auto", show_default=True, help="Name of the engine.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as one line of JSON.")
def bench(file: Path, params: str, seconds: float, engine: str, as_json: bool) -> None:
    """Measure calls of the function of FILE, untrusted and trusted."""
    values = _object(params)
    rows = {}
    with reported(as_json, unreachable=FAILED):
        for trusted in (False, True):
            rows["trusted" if trusted else "untrusted"] = _measure(_load(file, trusted), engine, values, seconds / 2)
    if as_json:
        echo(json.dumps(rows))
        return
    for trust, row in rows.items():
        echo(f"{trust:10} {row['calls_per_second']:>10,.0f} calls/s   {row['median_us']:>8,.0f} us a call")


def _measure(function: JSFunction, engine: str, params: dict[str, Any], seconds: float) -> dict[str, float]:
    from ..context import CallContext
    from ..errors import ConfigError
    from ..javascript import JavaScriptPortal, Sandbox
    from ..javascript.engines.registry import find_engine

    if function.trusted and engine != "auto" and not find_engine(engine).capabilities().trusted:
        raise ConfigError(f"{engine} runs untrusted code only", path="javascript.engine")
    with JavaScriptPortal(engine=engine, sandbox=Sandbox("trusted")) as portal:
        resolved = portal.resolve_function(portal.apply(function))
        resolved.invoke(params, CallContext.for_call())
        samples: list[float] = []
        end = perf_counter() + seconds
        while (started := perf_counter()) < end and len(samples) < _MAX_SAMPLES:
            resolved.invoke(params, CallContext.for_call())
            samples.append(perf_counter() - started)
    samples.sort()
    return {
        "calls_per_second": len(samples) / sum(samples),
        "median_us": samples[len(samples) // 2] * 1e6,
        "p99_us": samples[len(samples) * 99 // 100] * 1e6,
    }


def _load(file: Path, trusted: bool) -> JSFunction:
    from ..javascript import JSFunction

    return JSFunction.from_file(file, trusted=trusted)


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"must be a JSON object: {error}", param_hint="--params") from error
    if not isinstance(found, dict):
        raise click.BadParameter(f"must be a JSON object, got {type(found).__name__}", param_hint="--params")
    return found
