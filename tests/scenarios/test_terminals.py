"""Terminals and disks that do not take what is printed, Ctrl-C, and the words of a timeout."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from portal import HTTPPortal, ServingConfig
from tests.support.command import ROOT, TIMEOUT, run

entered = threading.Event()
released = threading.Event()
calls: list[str] = []


def echo(text: str) -> dict[str, str]:
    """Return it — as it is."""
    calls.append(text)
    return {text: text}


def hold() -> bool:
    entered.set()
    return released.wait(TIMEOUT)


def items(text: str) -> Iterator[str]:
    """Yield the text — twice."""
    yield text
    yield text


def ticks() -> Iterator[int]:
    yield 1
    entered.set()
    released.wait(TIMEOUT)


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with HTTPPortal(config=ServingConfig(workers=64)) as portal:
        for one in (echo, hold, items, ticks):
            portal.apply(one)
        yield str(portal.base)
        released.set()


def portal_command(*arguments: str, stdout: int | IO[Any] = subprocess.PIPE, **environment: str) -> Any:
    """Start the command as a process."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-m", "portal", *arguments]
    return subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, env=variables, preexec_fn=_take_interrupts)


def _take_interrupts() -> None:
    """Let Ctrl-C interrupt the command, even if the tests run as a background job of a shell that ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


TEXT = "日本 → é 👍 ä"


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1", "cp437", "shift_jis", "utf-8"])
@pytest.mark.parametrize("output", [("--json",), ()])
def test_characters_that_a_terminal_lacks_are_escaped_as_in_json(
    base: str, encoding: str, output: tuple[str, ...]
) -> None:
    arguments = ("call", f"{base}/echo", f"text={TEXT}", *output)
    shown, errors = portal_command(*arguments, PYTHONIOENCODING=encoding).communicate(timeout=TIMEOUT)
    assert errors == b""
    assert json.loads(shown.decode(encoding)) == {TEXT: TEXT}


def test_every_command_prints_on_a_terminal_without_unicode(base: str) -> None:
    for arguments in (
        ("list", base),
        ("describe", f"{base}/echo"),
        ("describe", f"{base}/items"),
        ("call", f"{base}/items", f"text={TEXT}"),
        ("openapi", "portal.examples.orders:service", "--title", TEXT),
    ):
        process = portal_command(*arguments, PYTHONIOENCODING="cp1252")
        shown, errors = process.communicate(timeout=TIMEOUT)
        assert (process.returncode, errors) == (0, b"")
        assert shown.decode("cp1252")
    process = portal_command("call", f"{base}/echo", f"{TEXT}=1", PYTHONIOENCODING="cp1252")
    assert b"Traceback" not in process.communicate(timeout=TIMEOUT)[1]
    assert process.returncode == 3


full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


@full
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("call", "BASE/echo", "text=a"), "the function was called, but the output cannot be written: No space left"),
        (("call", "BASE/items", "text=a"), "the function was called, but the output cannot be written: No space left"),
        (("list", "BASE"), "the output cannot be written: No space left"),
        (("list", "BASE", "--json"), "the output cannot be written: No space left"),
        (("describe", "BASE/echo"), "the output cannot be written: No space left"),
        (("openapi", "portal.examples.orders:service"), "the output cannot be written: No space left"),
    ],
)
def test_a_full_disk_is_one_line(base: str, arguments: tuple[str, ...], words: str) -> None:
    with open("/dev/full", "w") as nowhere:
        process = portal_command(*[one.replace("BASE", base) for one in arguments], stdout=nowhere)
        errors = process.communicate(timeout=TIMEOUT)[1].decode()
    assert errors == f"error: {words} on device\n"
    assert process.returncode == 1


def test_a_reader_that_has_gone_ends_the_command_quietly(base: str) -> None:
    read, written = os.pipe()
    os.close(read)
    process = portal_command("call", f"{base}/echo", "text=" + "x" * 100_000, stdout=written)
    os.close(written)
    assert process.communicate(timeout=TIMEOUT)[1] == b""
    assert process.returncode == 1


@pytest.mark.parametrize("arguments", [(), ("--timeout", "20"), ("--json",)])
def test_ctrl_c_exits_with_130(base: str, arguments: tuple[str, ...]) -> None:
    entered.clear()
    process = portal_command("call", f"{base}/hold", *arguments)
    assert entered.wait(TIMEOUT)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, errors) == (130, b"error: interrupted\n")


def test_ctrl_c_during_a_stream_exits_with_130(base: str) -> None:
    entered.clear()
    process = portal_command("call", f"{base}/ticks")
    assert process.stdout.readline() == b"1\n"
    assert entered.wait(TIMEOUT)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, errors) == (130, b"error: interrupted\n")


@pytest.mark.parametrize("value", ["1e999", "-1e400"])
def test_a_number_beyond_floats_is_rejected_before_the_call(base: str, value: str) -> None:
    before = len(calls)
    result = run("call", f"{base}/echo", f'{{"text": {value}}}')
    assert result.exit_code in (2, 3)
    assert len(calls) == before


@pytest.mark.parametrize("timeout", ["0.3", "0.25", "1"])
def test_a_timeout_is_the_one_that_was_given(base: str, timeout: str) -> None:
    result = run("call", f"{base}/hold", "--timeout", timeout)
    assert result.exit_code == 5
    assert f"did not end within {timeout} s; it may still be running" in result.stderr
    result = run("call", f"{base}/hold", "--timeout", timeout, "--json")
    error = json.loads(result.stderr)
    assert (error["code"], error["timeout"]) == ("timeout", float(timeout))


def test_a_timeout_before_the_call_says_that_it_was_not_made(base: str) -> None:
    result = run("call", f"{base}/hold", "--timeout", "0.0001")
    assert result.exit_code == 5
    assert "within 0.0001 s" in result.stderr
