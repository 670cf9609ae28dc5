"""Everything printed is free of control characters."""

from __future__ import annotations

import json

import pytest

from portal import HTTPPortal, errors
from portal.cli.output import echo_table, error_lines, printable
from tests.support.command import run

ESCAPES = "\x1b[2J\x9b31m\x07\r\u202e"


def test_printable_escapes_control_characters_and_keeps_the_rest():
    assert printable("a\x1b[31mb\x9b\x7f\r\u202e") == r"a\u001b[31mb\u009b\u007f\u000d\u202e"
    assert printable("Zoë 李\n\tx 👍\u200d") == "Zoë 李\n\tx 👍\u200d"


@pytest.fixture
def hostile():
    """The base address of a server whose descriptions, results and errors hold terminal escapes."""

    def escape(fail: bool = False) -> dict[str, str]:
        if fail:
            raise errors.RateLimitError(f"wait{ESCAPES}")
        return {f"key{ESCAPES}": f"value{ESCAPES}"}

    escape.__doc__ = f"Describe{ESCAPES} it."
    with HTTPPortal() as http:
        http.apply(escape)
        yield str(http.base)


@pytest.mark.parametrize("command", ["list", "describe", "call"])
def test_control_characters_from_a_server_are_escaped(command, hostile):
    result = run(command, hostile if command == "list" else f"{hostile}/escape")
    assert result.exit_code == 0
    assert "\\u001b[2J" in result.output
    assert not set(result.output) & set("\x1b\x9b\x07\r\u202e")


def test_control_characters_in_an_error_are_escaped(hostile):
    result = run("call", f"{hostile}/escape", "fail=true")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: RateLimitError: wait\\u001b[2J")
    assert not set(result.output) & set("\x1b\x9b\x07\r\u202e")


def test_an_escaped_json_result_keeps_its_value(hostile):
    result = run("call", f"{hostile}/escape", "--output", "json")
    assert json.loads(result.stdout) == {f"key{ESCAPES}": f"value{ESCAPES}"}


def test_a_table_without_rows_prints_nothing(capsys):
    echo_table([])
    assert capsys.readouterr().out == ""


def test_a_fault_without_path_is_reported_for_the_whole_value():
    error = errors.ValidationError(errors=[errors.Fault("", "no object", "type")])
    assert list(error_lines(error)) == ["error: ValidationError: 1 fault", "  (the whole value): no object"]
