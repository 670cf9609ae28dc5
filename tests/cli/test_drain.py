"""`portal serve --drain-delay`: not ready, and still serving, for a while after SIGTERM."""

from __future__ import annotations

import json
import signal
from time import monotonic

import pytest
import requests

from portal import Consumer, HTTPPortal, LocalPortal, WebSocketPortal
from portal.cli.drain import drain
from tests.support.command import run, serving

TIMEOUT = 30


@pytest.mark.parametrize("options", [(), ("--ws",), ("--workers", "2"), ("--workers", "2", "--ws")])
def test_a_server_accepts_calls_while_it_is_not_ready(here, options):
    if "--workers" in options:
        pytest.importorskip("gunicorn")
    arguments = ("served_things:plain", "--http", "127.0.0.1:0", "--json", "--drain-delay", "1.5", *options)
    with serving(here, *arguments) as server, Consumer() as consumer:
        addresses = [one["address"] for one in json.loads(server.stdout.readline())["functions"]]
        base = addresses[0].partition("/api/")[0]
        assert requests.get(f"{base}/health/ready", timeout=TIMEOUT).status_code == 200
        server.send_signal(signal.SIGTERM)
        began = monotonic()
        while requests.get(f"{base}/health/ready", timeout=TIMEOUT).status_code != 503:
            assert monotonic() - began < 1.5
        served = 0
        while monotonic() - began < 1.0:
            assert requests.get(f"{base}/health/live", timeout=TIMEOUT).status_code == 200
            for address in addresses:
                assert consumer.call_at(address, {}) is not None
            served += 1
        assert served > 0
        assert server.wait(TIMEOUT) == 0
        assert monotonic() - began >= 1.5
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{base}/health/live", timeout=TIMEOUT)


def test_all_portals_are_not_ready_at_once():
    http = HTTPPortal()
    with http, WebSocketPortal() as websocket, LocalPortal() as local:
        assert http.listener.ready
        drain([http, websocket, local])
        assert not http.listener.ready
        assert not websocket.listener.ready


def test_a_portal_as_target_has_its_own_delay(here):
    result = run("serve", "served_things:http", "--drain-delay", "1")
    assert result.exit_code == 2
    assert "is a portal and does not use --drain-delay" in result.stderr
    assert run("serve", "served_things:plain", "--drain-delay", "-1").exit_code == 2
