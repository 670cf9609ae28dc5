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


@pytest.mark.usefixtures("here", "stopped")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_nothing_is_printed_about_hosts_on_a_loopback_address(host):
    assert "accepting requests" not in run("serve", "served_things:plain", "--http", f"{host}:0").stderr


@pytest.mark.usefixtures("here", "stopped")
@pytest.mark.parametrize(
    "options", [(), ("--allowed-host", "*"), ("--allowed-host", "a.example", "--allowed-host", "*")]
)
def test_a_public_address_says_that_it_accepts_every_host(options):
    result = run("serve", "served_things:plain", "--http", "0.0.0.0:0", *options)
    assert "accepting requests to every host name; --allowed-host HOST accepts only those to HOST" in result.stderr


@pytest.mark.usefixtures("here", "stopped")
@pytest.mark.parametrize("where", ["0.0.0.0:0", "127.0.0.1:0"])
def test_the_allowed_hosts_are_printed(where):
    options = ("--allowed-host", "shop.example", "--allowed-host", "*.shops.example")
    result = run("serve", "served_things:plain", "--http", where, *options)
    assert "accepting requests to shop.example, *.shops.example" in result.stderr


@pytest.mark.usefixtures("here", "stopped")
def test_a_wrong_host_is_reported():
    result = run("serve", "served_things:plain", "--http", "127.0.0.1:0", "--allowed-host", "shop.example:80")
    assert result.exit_code != 0
    assert "http.allowed_hosts must be a list of hosts without port" in result.stderr
