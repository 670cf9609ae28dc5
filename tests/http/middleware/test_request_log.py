from __future__ import annotations

import json
import logging
import os
import queue
import socket
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from portal import HTTPPortal, function
from portal.errors import AuthorizationError, ConfigError
from portal.http.middleware.log_file import LogFile
from portal.http.middleware.request_log import RequestLog
from portal.serving import Request, Response
from tests.support.http_messages import request_of, respond_with

WAIT = 10.0
NOON = 1_700_000_000.25


def logged(request: Request, last: Any = None, **settings: Any) -> dict[str, Any]:
    """The one line that a request has."""
    lines: list[str] = []
    log = RequestLog(lines.append, clock=lambda: NOON, timer=count(1.0, 0.5).__next__, **settings)
    log(request, last or respond_with())
    (line,) = lines
    assert line.isascii()
    assert line.isprintable()
    row: dict[str, Any] = json.loads(line)
    return row


def test_a_line_has_the_request_the_call_and_the_response() -> None:
    request = request_of(target="/api/add?x=1", body=b'{"a":1}', X_Portal_Timeout="1500")

    def last(request: Request) -> Response:
        request.notes.update(function="add", identity="ann", code="rate_limited")
        return Response(429, [("X-Request-ID", "r-1")], b"12345")

    assert logged(request, last) == {
        "time": "2023-11-14T22:13:20.250Z", "request_id": "r-1", "method": "POST", "path": "/api/add?x=1",
        "function": "add", "peer": "192.0.2.7", "identity": "ann", "status": 429, "code": "rate_limited",
        "duration_ms": 500.0, "request_bytes": 7, "response_bytes": 5, "timeout_ms": 1500,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("token=x", "token=***"), ("a=1&api_key=x&b=2", "a=1&api_key=***&b=2"), ("ACCESS_TOKEN=x", "ACCESS_TOKEN=***"),
        ("api%5Fkey=x", "api%5Fkey=***"), ("%74oken=x", "%74oken=***"), ("pass%77ord=x", "pass%77ord=***"),
        ("secret=x=y", "secret=***"), ("client_secret=", "client_secret=***"), ("own=x", "own=***"),
        ("version=2", "version=2"), ("token", "token"), ("&&", "&&"), ("x=token", "x=token"),
    ],
)  # fmt: skip
def test_secrets_in_a_query(query: str, shown: str) -> None:
    assert logged(request_of(target=f"/p?{query}"), secret_parameters=["OWN"])["path"] == f"/p?{shown}"


def test_a_long_query_takes_linear_time() -> None:
    assert len(logged(request_of(target="/p?" + "a-" * 4000))["path"]) == 515


def test_headers_are_logged_by_name_without_secrets() -> None:
    names = ["Authorization", "cookie", "x-note", "referer", "absent"]
    request = request_of(
        Authorization="Bearer s3", Cookie="s3", X_Note="n" * 600, Referer="https://a.example/?token=s3&b=1"
    )
    assert logged(request, headers=names)["headers"] == {
        "authorization": "***", "cookie": "***", "x-note": "n" * 512 + "...",
        "referer": "https://a.example/?token=***&b=1",
    }  # fmt: skip
    row = logged(request, headers=["cookie", "x-note"], redact=["x-note"])
    assert row["headers"] == {"cookie": "s3", "x-note": "***"}


@pytest.mark.parametrize("text", ['/a\n{"status":200}', "/\r\x00\x1b[2J\x7f\x85", "/\u2028\u2029", "/\ud800x", '/"\\'])
def test_nothing_can_be_injected(text: str) -> None:
    request = request_of()
    request.path = text
    request.notes["function"] = text
    row = logged(request)
    assert row["path"] == row["function"] == text.replace("\ud800", "\ufffd")


@pytest.mark.parametrize(
    ("method", "status", "size"), [("HEAD", 200, 0), ("GET", 304, 0), ("GET", 204, 0), ("GET", 200, 4)]
)
def test_what_is_sent_of_a_body(method: str, status: int, size: int) -> None:
    assert logged(request_of(method), respond_with(status, b"1234"))["response_bytes"] == size


@pytest.mark.parametrize("text", ["", "x", "-1", "\xb2", "9" * 16])
def test_a_timeout_that_is_none(text: str) -> None:
    assert logged(request_of(X_Portal_Timeout=text))["timeout_ms"] is None


@pytest.mark.parametrize(("read", "size"), [(0, 0), (1, 3), (9, 5)])
def test_a_stream_has_its_line_at_its_end(read: int, size: int) -> None:
    lines: list[str] = []
    response = RequestLog(lines.append)(request_of(), respond_with(200, iter([b"abc", b"de"])))
    body: Any = response.body
    for _ in range(read):
        next(body, None)
    assert len(lines) == (read == 9)
    body.close()
    body.close()
    assert [json.loads(line)["response_bytes"] for line in lines] == [size]


def test_a_stream_that_fails_and_one_that_fails_to_close() -> None:
    def failing() -> Iterator[bytes]:
        try:
            yield b"abc"
            raise ConnectionAbortedError
        finally:
            raise OSError("no end")

    lines: list[str] = []
    body: Any = RequestLog(lines.append)(request_of(), respond_with(200, failing())).body
    with pytest.raises(OSError, match="no end"):
        list(iter(body))
    assert len(lines) == 1


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(AuthorizationError("no"), 403, "authorization_error"), (ValueError(), 500, "portal_error")],
)
def test_what_raises_has_a_line_too(error: Exception, status: int, code: str) -> None:
    lines: list[str] = []

    def last(request: Request) -> Response:
        raise error

    with pytest.raises(type(error)):
        RequestLog(lines.append)(request_of(), last)
    (row,) = map(json.loads, lines)
    assert (row["status"], row["code"]) == (status, code)


@pytest.mark.parametrize("late_first", [True, False])
def test_one_line_where_two_threads_answer(late_first: bool) -> None:
    lines: list[str] = []
    log = RequestLog(lines.append, timer=count(1.0, 0.5).__next__)

    def last(request: Request) -> Response:
        if late_first:
            log(request, respond_with(504))
        return Response(200)

    request = request_of()
    assert log(request, last).status == 200
    if not late_first:
        log(request, respond_with(504))
    (row,) = map(json.loads, lines)
    assert row["status"] == (504 if late_first else 200)
    assert row["duration_ms"] > 0


def test_a_logger_may_take_the_lines(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "test.requests"):
        RequestLog(logging.getLogger("test.requests"))(request_of(target="/100%25d"), respond_with())
    assert json.loads(caplog.messages[0])["path"] == "/100%25d"


def test_a_failing_target_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    def failing(line: str) -> None:
        raise OSError("disk full")

    now = [0.0]
    log = RequestLog(failing, timer=lambda: now[0])
    with caplog.at_level(logging.WARNING, "portal.http"):
        assert [log(request_of(), respond_with()).status for _ in range(3)] == [200] * 3
        assert len(caplog.records) == 1
        now[0] = 60.0
        log(request_of(), respond_with())
        assert len(caplog.records) == 2


def test_a_file_is_opened_anew_when_it_was_rotated(tmp_path: Path) -> None:
    path, now = tmp_path / "log", [0.0]
    path.write_text("before\n")
    target = LogFile(path, lambda: now[0])
    target("1")
    os.rename(path, tmp_path / "log.1")
    target("2")  # looked at less than a second ago
    now[0] = 1.0
    target("3")
    now[0] = 2.0
    target("4")
    target.close()
    target("5")
    target.close()
    assert (tmp_path / "log.1").read_text() == "before\n1\n2\n"
    assert path.read_text() == "3\n4\n5\n"


def test_lines_of_many_threads_never_mix(tmp_path: Path) -> None:
    path = tmp_path / "log"
    logs = [RequestLog(path), RequestLog(path)]

    def work(log: RequestLog) -> None:
        for _ in range(50):
            log(request_of(target="/" + "x" * 400), respond_with())

    threads = [threading.Thread(target=work, args=(log,)) for log in logs * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for log in logs:
        log.close()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == 200
    RequestLog(print).close()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_harms_no_request(caplog: pytest.LogCaptureFixture) -> None:
    log = RequestLog("/dev/full")
    assert log(request_of(), respond_with()).status == 200
    assert "are not logged" in caplog.text
    log.close()


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"target": 3}, "target"),
        ({"target": "/no/such/directory/log"}, "target"),
        ({"headers": "x-note"}, "headers"),
        ({"redact": 3}, "redact"),
        ({"secret_parameters": [""]}, "secret_parameters"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RequestLog(**{"target": print, **settings})
    assert caught.value.path == f"request_log.{name}"


def test_a_stream_that_is_cut_at_its_deadline_has_a_line_of_what_was_sent() -> None:
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    leave = threading.Event()

    @function(timeout=0.1)
    def stuck() -> Iterator[int]:
        yield 1
        leave.wait(WAIT)

    with HTTPPortal(http_middleware=[RequestLog(lines.put)]) as portal:
        portal.apply(stuck)
        with socket.create_connection(("127.0.0.1", portal.port), WAIT) as sock:
            sock.sendall(b"POST /api/stuck HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
            received = b""
            while piece := sock.recv(65536):
                received += piece
            leave.set()
        line = json.loads(lines.get(timeout=WAIT))
    assert b'{"problem":' in received
    chunks = received.partition(b"\r\n\r\n")[2]
    body = chunks.split(b"\r\n")[1] + chunks.split(b"\r\n")[3]
    assert (line["status"], line["code"], line["response_bytes"]) == (200, "timeout", len(body))
