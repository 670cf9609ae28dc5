"""Everything printed is free of control characters."""

from __future__ import annotations

import copy
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from portal import HTTPPortal, errors
from portal.cli.output import LogFormatter, echo_table, error_lines, one_line, printable
from tests.support.command import run

ESCAPES = "\x1b[2J\x9b31m\x07\r\u202e"


def test_printable_escapes_control_characters_and_keeps_the_rest():
    assert printable("a\x1b[31mb\x9b\x7f\r\u202e") == r"a\u001b[31mb\u009b\u007f\u000d\u202e"
    assert printable("Zoë 李\n\tx 👍\u200d") == "Zoë 李\n\tx 👍\u200d"


HIDDEN = "\xad\u034f\u061c\u180e\u200b\u200e\u2028\u202e\u2060\u2066\u206f\ufeff\ufff9\U000e0001\U000e0041\udc9b\ud800"


def test_characters_that_hide_or_reorder_text_are_escaped_as_in_json():
    shown = printable(HIDDEN)
    assert shown.isascii()
    assert json.loads(f'"{shown}"') == HIDDEN
    assert printable("\U000e0041") == r"\udb40\udc41"


def test_a_name_has_no_line_of_its_own():
    assert one_line("add\n\terase\x1b") == r"add\u000a\u0009erase\u001b"
    assert one_line(7) == "7"


def test_log_lines_are_escaped():
    record = logging.LogRecord("portal", logging.WARNING, __file__, 1, "got %s", (ESCAPES,), None)
    assert LogFormatter().format(record) == "got " + printable(ESCAPES)
    assert run("list", "--help").exit_code == 0
    assert logging.lastResort is not None
    assert logging.lastResort.format(record) == "got " + printable(ESCAPES)


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
    result = run("call", f"{hostile}/escape", "--json")
    assert json.loads(result.stdout) == {f"key{ESCAPES}": f"value{ESCAPES}"}


TEXT = f"{ESCAPES}{HIDDEN}"
JSON_SCHEMA = {
    "type": "object",
    "properties": {
        "a": {"type": "integer", "description": "x", "default": 1, "pattern": "p", "enum": ["e"], "format": "date"},
        "b": {"$ref": "#/$defs/B"},
        "c": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object", "properties": {"k": {}}}}]},
    },
    "required": ["a"],
    "$defs": {"B": {"type": "string"}},
}
SCHEMA = {
    "name": "f",
    "version": "1",
    "description": "d",
    "input": JSON_SCHEMA,
    "output": {"type": "string"},
    "examples": [{"a": 1}],
    "tags": ["t"],
    "deprecated": True,
}
LISTING = {"functions": [{"name": "f", "address": "http://x/api/f", "description": "d"}], "services": []}
PROBLEM = {
    "type": "urn:x",
    "title": "T",
    "detail": "D",
    "code": "validation_error",
    "request_id": "r",
    "hint": "h",
    "errors": [{"path": "/a", "message": "m", "rule": "r", "expected": "e", "value": "v"}],
    "name": "n",
}


class Hostile:
    """A server that sends any JSON: one document for each method."""

    def __init__(self) -> None:
        self.get: Any = None
        self.post: Any = None
        self.status = 200
        hostile = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                """A test prints no log."""

            def do_GET(self) -> None:
                self.respond(200 if hostile.post is not None else hostile.status, hostile.get)

            def do_POST(self) -> None:
                self.respond(hostile.status, hostile.post)

            def respond(self, status: int, document: Any) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = json.dumps(document).encode()
                self.send_response(status, "\x9b31m")
                self.send_header("Content-Type", "application/json" if status == 200 else "application/problem+json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()
        self.base = f"http://127.0.0.1:{self.server.server_port}/api"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)


@pytest.fixture(scope="module")
def server():
    made = Hostile()
    yield made
    made.close()


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each value in a document."""
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def with_value(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a copy of a document with another value at a path."""
    if not path:
        return value
    made = copy.deepcopy(document)
    part = made
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    return made


def with_name(document: Any, path: tuple[Any, ...], name: str) -> Any:
    """Return a copy of a document whose member at a path has another name."""
    if not path or not isinstance(path[-1], str):
        return document
    made = with_value(document, path, None)
    part = document
    for key in path:
        part = part[key]
    parent = made
    for key in path[:-1]:
        parent = parent[key]
    del parent[path[-1]]
    parent[f"{path[-1]}{name}"] = part
    return made


def assert_is_safe(result: Any) -> None:
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert not set(result.output) & set(TEXT) - set(printable(TEXT)), result.output


@pytest.mark.parametrize("path", list(places(LISTING)), ids=str)
def test_no_text_of_a_listing_reaches_the_terminal_raw(path, server):
    server.status, server.post = 200, None
    for value in (TEXT, [TEXT], {TEXT: TEXT}, 7, None, True):
        server.get = with_value(LISTING, path, value)
        assert_is_safe(run("list", server.base))
        assert_is_safe(run("list", server.base, "--json"))
    server.get = with_name(LISTING, path, TEXT)
    assert_is_safe(run("list", server.base))


@pytest.mark.parametrize("path", list(places(SCHEMA)), ids=str)
def test_no_text_of_a_schema_reaches_the_terminal_raw(path, server):
    server.status, server.post = 200, {TEXT: [TEXT, {"k": TEXT}]}
    documents = [with_value(SCHEMA, path, value) for value in (TEXT, [TEXT], {TEXT: TEXT}, 7, None, True)]
    for document in (*documents, with_name(SCHEMA, path, TEXT)):
        server.get = document
        assert_is_safe(run("describe", f"{server.base}/f"))
        assert_is_safe(run("call", f"{server.base}/f", "a=1"))


@pytest.mark.parametrize("status", [400, 401, 404, 422, 500, 503])
def test_no_text_of_an_error_reaches_the_terminal_raw(status, server):
    for path in places(PROBLEM):
        for value in (TEXT, [TEXT], {TEXT: TEXT}):
            server.status, server.get, server.post = status, with_value(PROBLEM, path, value), None
            assert_is_safe(run("list", server.base))
            server.get, server.post = SCHEMA, with_value(PROBLEM, path, value)
            assert_is_safe(run("call", f"{server.base}/f", "a=1"))
            assert_is_safe(run("call", f"{server.base}/f", "a=1", "--json"))


def test_a_surrogate_does_not_become_a_control_byte(server):
    """With the handler surrogateescape, the default of the locale C, Python writes U+DC9B as the byte 9B: CSI."""
    server.status, server.post = 200, None
    server.get = with_value(LISTING, ("functions", 0, "description"), "\udc9b31m")
    done = subprocess.run(
        [sys.executable, "-m", "portal", "list", server.base],
        env=os.environ | {"PYTHONIOENCODING": "utf-8:surrogateescape"},
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert rb"\udc9b31m" in done.stdout
    assert done.stdout.isascii()


def test_a_function_cannot_add_a_row_to_the_listing(server):
    server.status, server.post = 200, None
    server.get = with_value(LISTING, ("functions", 0, "address"), "http://x/api/f\nhttp://bank.example/api/pay")
    assert run("list", server.base).output.count("\n") == 1


def test_a_table_without_rows_prints_nothing(capsys):
    echo_table([])
    assert capsys.readouterr().out == ""


def test_a_fault_without_path_is_reported_for_the_whole_value():
    error = errors.ValidationError(errors=[errors.Fault("", "no object", "type")])
    assert list(error_lines(error)) == ["error: ValidationError: 1 fault", "  (the whole value): no object"]
