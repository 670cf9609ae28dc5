"""The output of `portal serve` when it is ready."""

from __future__ import annotations

import json
import shlex
import sys

import pytest

from tests.support.command import run, serving


@pytest.mark.usefixtures("here", "stopped")
def test_the_url_of_the_docs_page_is_printed():
    result = run("serve", "served_things:plain", "--http", "127.0.0.1:0")
    origin = result.stdout.partition("/api")[0]
    assert f"serving at {origin}; open {origin}/docs to try the functions (Ctrl-C stops the server)" in result.stderr
    assert f"health checks at {origin}/health/live and /health/ready" in result.stderr


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


WITHOUT_CREDENTIAL = "accepting calls without a credential; --token NAME=TOKEN requires one"


@pytest.mark.usefixtures("here", "stopped")
@pytest.mark.parametrize(
    ("where", "options", "printed"),
    [
        ("0.0.0.0:0", (), True),
        ("0.0.0.0:0", ("--allowed-host", "shop.example"), True),
        ("0.0.0.0:0", ("--token", "ann=a-t0ken-of-ann"), False),
        ("0.0.0.0:0", ("--auth", "served_things:key"), False),
        ("127.0.0.1:0", (), False),
    ],
)
def test_a_public_address_says_that_it_requires_no_credential(where, options, printed):
    result = run("serve", "served_things:plain", "--http", where, *options)
    assert result.exit_code == 0
    assert (WITHOUT_CREDENTIAL in result.stderr) is printed


@pytest.mark.usefixtures("stopped")
def test_portals_of_a_module_say_where_they_serve(here):
    (here / "live_portals.py").write_text(
        "from portal import HTTPPortal, WebSocketPortal\n"
        "http = HTTPPortal()\n"
        "ws = WebSocketPortal(listener=http.listener)\n"
        "ws.topic('ticks')\n"
    )
    result = run("serve", "live_portals:http", "live_portals:ws")
    origin = result.stdout.strip().removeprefix("ws://").removesuffix("/ws/ticks")
    assert result.stderr.splitlines()[:2] == [
        f"serving at http://{origin}/api (Ctrl-C stops the server)",
        f"serving at ws://{origin}/ws",
    ]
    sys.modules.pop("live_portals")  # its portals are closed
    assert json.loads(run("serve", "live_portals:ws", "--json").stdout)["topics"][0]["address"].endswith("/ws/ticks")


@pytest.mark.usefixtures("here", "stopped")
def test_a_wrong_host_is_reported():
    result = run("serve", "served_things:plain", "--http", "127.0.0.1:0", "--allowed-host", "shop.example:80")
    assert result.exit_code != 0
    assert "http.allowed_hosts must be a list of hosts without port" in result.stderr
