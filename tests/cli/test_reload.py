"""`portal serve --reload`: the server restarts after a change."""

from __future__ import annotations

import threading
from time import monotonic

from portal import Consumer, PortalError
from tests.support.command import serving
from tests.support.ports import free_port, wait_for_port


def test_a_changed_file_restarts_the_server(here):
    port = free_port()
    (here / "changing.py").write_text("def f() -> int:\n    return 1\n")
    with serving(here, "changing:f", "--http", f"127.0.0.1:{port}", "--reload"):
        wait_for_port(port)
        assert result_of(port) == 1
        (here / "changing.py").write_text("def f() -> int:\n    return 22\n")
        end = monotonic() + 30
        while result_of(port) != 22:
            assert monotonic() < end


def result_of(port: int) -> object:
    try:
        with Consumer() as consumer:
            return consumer.call_at(f"http://127.0.0.1:{port}/api/f", timeout=5)
    except PortalError:
        threading.Event().wait(0.05)
        return None


def test_a_server_that_ends_is_reported(here):
    with serving(here, "broken_things:f", "--http", "127.0.0.1:0", "--reload") as server:
        lines = iter(server.stderr.readline, "")
        assert any("cannot import broken_things" in line for line in lines)
        assert next(lines) == "the server has stopped; it restarts when a Python file changes\n"
