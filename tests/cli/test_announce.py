"""The output of `portal serve` when it is ready."""

from __future__ import annotations

import shlex

import pytest

from tests.support.command import run, serving


@pytest.mark.usefixtures("here", "stopped")
def test_the_url_of_the_docs_page_is_printed():
    result = run("serve", "served_things:plain", "--http", "127.0.0.1:0")
    origin = result.stdout.partition("/api")[0]
    assert f"serving at {origin}; open {origin}/docs to try the functions (Ctrl-C stops the server)" in result.stderr


@pytest.mark.usefixtures("here", "stopped")
def test_no_url_is_printed_for_a_portal_without_http():
    assert "serving" not in run("serve", "served_things:local").stderr


def test_the_printed_command_for_a_unix_socket_works(here):
    with serving(here, "served_things:plain", "--http", f"unix:{here}/a socket") as server:
        address = server.stdout.readline().strip()
        printed = server.stderr.readline()
        assert printed.startswith(
            f"serving at unix:{here}/a socket; list functions with: portal list http://localhost --socket '"
        )
        command = shlex.split(printed.partition("list functions with: portal ")[2].partition(" (Ctrl-C")[0])
        assert run(*command).output == f"{address}  A plain callable.\n"
        reach = ("--socket", f"{here}/a socket")
        assert run("call", address, "a=5", *reach).output == "5\n"
        assert run("describe", address, *reach).output.startswith("plain  version 1")
