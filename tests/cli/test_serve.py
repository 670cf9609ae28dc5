"""`portal serve`: targets, options, signals."""

from __future__ import annotations

import json
import signal
import socket

import pytest
import requests
import trustme

from portal import AuthenticationError, Consumer, HTTPPortal, RateLimitError
from portal.http import ClientTLS, HTTPClient
from tests.support import valkey
from tests.support.command import first_address, run, serving


@pytest.mark.parametrize(
    ("target", "address", "services"),
    [
        ("plain", "/api/plain/", []),
        ("made", "/api/plain/", []),
        ("Shop", "/api/shop/open/", ["shop"]),
        ("instance", "/api/shop/open/", ["shop"]),
        ("ready", "/api/shop/open/", ["shop"]),
        ("local", "local://plain/", []),
        ("http", "/other/shop/open/", ["shop"]),
    ],
)
@pytest.mark.usefixtures("here", "stopped")
def test_serve_accepts(target, address, services):
    where = [] if target in ("local", "http") else ["--http", "127.0.0.1:0"]  # a portal has its own address
    result = run("serve", f"served_things:{target}", *where, "--json")
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout.splitlines()[0])
    assert address in printed["functions"][0]["address"]
    assert [row["name"] for row in printed["services"]] == services


@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["one", "workers"])
def test_garbage_collections_leave_out_what_was_loaded(here, options):
    if options:
        pytest.importorskip("gunicorn")
    with (
        serving(here, "served_things:frozen", "--http", "127.0.0.1:0", "--json", *options) as server,
        Consumer() as consumer,
    ):
        assert consumer.call_at(first_address(server)) > 10_000


@pytest.mark.usefixtures("here", "stopped")
def test_serve_prints_one_address_per_line():
    result = run("serve", "served_things:plain", "served_things:instance", "--http", "[::1]:0")
    assert result.exit_code == 0, result.output
    first, second, *rest = result.stdout.splitlines()
    assert first.startswith("http://[::1]:")
    assert "/api/shop/open/" in second
    assert rest == ["stopping"]


@pytest.mark.usefixtures("here", "stopped")
def test_a_port_in_use_exits_with_1():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = run("serve", "served_things:plain", "--http", f"127.0.0.1:{taken.getsockname()[1]}")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_responds_until_a_signal_and_stops_in_order(here, number):
    with serving(here, "served_things:Shop", "--http", "127.0.0.1:0", "--json") as server, Consumer() as consumer:
        try:
            address = json.loads(server.stdout.readline())["functions"][0]["address"]
            assert consumer.call_at(address, {}) is True
            server.send_signal(number)
            assert server.stdout.readline() == "stopping\n"
            assert server.wait(20) == 0
        finally:
            server.kill()


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_any_thread_stops_the_server(here, number):
    with serving(here, "served_things:Signalled", "--http", "127.0.0.1:0", "--json") as server, Consumer() as consumer:
        try:
            address = json.loads(server.stdout.readline())["functions"][0]["address"]
            assert consumer.call_at(address, {"number": int(number)}) is None
            assert server.wait(20) == 0
            assert server.stdout.readline() == "stopping\n"
        finally:
            server.kill()


def test_a_second_signal_stops_at_once(here):
    with serving(here, "served_things:Stubborn", "--http", "127.0.0.1:0", "--json") as server:
        try:
            assert json.loads(server.stdout.readline())["services"]
            server.terminate()
            assert server.stdout.readline() == "stopping\n"
            server.terminate()
            assert server.wait(20) == -signal.SIGTERM
        finally:
            server.kill()


def test_token_limit_and_log_options(here, tmp_path):
    log = tmp_path / "requests.log"
    options = ["--token", "ann=s3cret", "--token", "ops=$ORDERS_TOKEN", "--limit", "2/minute", "--log", str(log)]
    arguments = ["served_things:plain", "--http", "127.0.0.1:0", "--json", "--cors", "https://a.example", *options]
    with serving(here, *arguments) as server:
        address = first_address(server)
        with Consumer() as consumer, pytest.raises(AuthenticationError):
            consumer.call_at(address)
        with Consumer(auth="from-the-environment") as consumer:
            assert consumer.call_at(address) == 1
        with Consumer(auth="s3cret") as consumer:
            assert [consumer.call_at(address) for _ in range(2)] == [1, 1]
            with pytest.raises(RateLimitError):
                consumer.call_at(address)
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    passed = [row["identity"] for row in rows if row["status"] == 200 and row["method"] == "POST"]
    assert passed == ["ops", "ann", "ann"]
    assert "s3cret" not in log.read_text()


def test_the_size_of_bodies(here):
    arguments = ["served_things:plain", "--http", "127.0.0.1:0", "--json", "--max-body", "100"]
    with serving(here, *arguments) as server:
        url = first_address(server)
        assert requests.post(url, data=b'{"a": 2}' + b" " * 92, timeout=30).json() == 2
        rejected = requests.post(url, data=b'{"a": 2}' + b" " * 93, timeout=30)
        assert (rejected.status_code, "100 bytes (max_body)" in rejected.json()["detail"]) == (413, True)


def test_failed_authentications_of_a_client_behind_a_proxy_are_limited(here):
    options = ["--token", "ann=s3cret", "--auth-failure-limit", "2/hour", "--trusted-proxy", "127.0.0.0/8"]
    with serving(here, "served_things:plain", "--http", "127.0.0.1:0", "--json", *options) as server:
        address = first_address(server)

        def status(client: str, token: str) -> int:
            headers = {"X-Forwarded-For": client, "Authorization": f"Bearer {token}"}
            return requests.post(address, json={}, headers=headers, timeout=10).status_code

        assert [status("192.0.2.1", token) for token in ("a", "b", "s3cret")] == [401, 401, 429]
        assert status("192.0.2.2", "s3cret") == 200


def test_tls_certificate_option(here, tmp_path):
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    chain, ca = tmp_path / "chain.pem", tmp_path / "ca.pem"
    issued.private_key_and_cert_chain_pem.write_to_path(str(chain))
    authority.cert_pem.write_to_path(str(ca))
    arguments = ["served_things:plain", "--http", "127.0.0.1:0", "--json", "--tls-certificate", str(chain)]
    client = HTTPPortal(http=HTTPClient(tls=ClientTLS(ca=ca)))
    with serving(here, *arguments) as server, client, Consumer([client]) as consumer:
        address = first_address(server)
        assert address.startswith("https://")
        assert consumer.call_at(address) == 1
        server.send_signal(signal.SIGHUP)
        assert consumer.call_at(address) == 1


@pytest.mark.parametrize(("target", "more"), [("keys", []), ("key", ["--token", "ann=t0ken"])])
def test_auth_option(here, target, more):
    arguments = ["served_things:plain", "--http", "127.0.0.1:0", "--auth", f"served_things:{target}", *more]
    with serving(here, *arguments) as server:
        address = server.stdout.readline().strip()
        with Consumer() as consumer, pytest.raises(AuthenticationError):
            consumer.call_at(address)
        with Consumer(auth="t0ken") as consumer:
            assert consumer.call_at(address) == 1
        sent = requests.post(address, json={}, headers={"X-API-Key": "k3y"}, timeout=30)
        assert (sent.status_code, sent.json()) == (200, 1)


@pytest.mark.usefixtures("here", "stopped")
def test_an_address_that_no_target_uses_is_rejected():
    result = run("serve", "served_things:local", "--http", "127.0.0.1:0")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "served_things:local is a portal and does not use --http; set it up in code" in result.stderr


@pytest.mark.parametrize(
    "options",
    [
        ["--token", "a=b"],
        ["--auth", "served_things:key"],
        ["--limit", "1/second"],
        ["--trusted-proxy", "127.0.0.1"],
        ["--cors", "*"],
        ["--log", "requests.log"],
    ],
)
@pytest.mark.usefixtures("here", "stopped")
def test_an_option_that_a_portal_does_not_use_is_rejected(options):
    result = run("serve", "served_things:plain", "served_things:local", "--http", "127.0.0.1:0", *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"served_things:local is a portal and does not use {options[0]}; set it up in code" in result.stderr


def test_servers_share_a_limit_in_a_store(here):
    with valkey.running() as store:
        options = ["--limit", "2/day", "--limit-store", f"redis://127.0.0.1:{store.port}/0", "--name", "shop"]
        arguments = ["served_things:plain", "--http", "127.0.0.1:0", "--json", *options]
        with serving(here, *arguments) as one, serving(here, *arguments) as other, Consumer() as consumer:
            first, second = first_address(one), first_address(other)
            assert [consumer.call_at(first), consumer.call_at(second)] == [1, 1]
            with pytest.raises(RateLimitError, match=r"the limit is 2/day \("):
                consumer.call_at(second)


def test_help_says_that_auth_and_token_may_conflict():
    words = " ".join(run("serve", "--help").output.split())
    assert "Do not use it with --token if it reads bearer tokens, as JWTAuth does." in words


def test_serve_publishes_over_websocket_on_the_same_port(here, stopped):
    result = run("serve", "served_things:made", "--http", "127.0.0.1:0", "--ws", "--json")
    assert result.exit_code == 0
    first, second = (row["address"] for row in json.loads(result.stdout)["functions"])
    assert first.startswith("http://127.0.0.1:")
    assert second == first.replace("http://", "ws://").replace("/api/", "/ws/")
