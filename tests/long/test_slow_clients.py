"""Clients that send a byte now and then are disconnected at the deadline and do not delay other clients."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize(
    ("slow", "idle", "timeout", "seconds"),
    [
        pytest.param(150, 50, 0.8, 1.0, id="small"),
        pytest.param(2000, 1000, 5.0, 12.0, id="long"),
    ],
)
def test_slow_clients(run: Any, slow: int, idle: int, timeout: float, seconds: float) -> None:
    server = run("serve.py", config={"head_timeout": timeout, "idle_timeout": 600.0, "backlog": 1024}, pem=None)
    common = {"port": server.read(), "ca": None}
    before = server.request()
    waiting = run("clients.py", mode="idle", count=idle, **common)
    assert waiting.read() == {"open": idle}
    loris = run("clients.py", mode="loris", count=slow, pause=timeout / 8, seconds=timeout * 6 + 5, **common)
    assert loris.read() == {"open": slow}
    figures = run("clients.py", mode="busy", count=16, seconds=seconds, **common).read()
    during = server.request()
    dropped = loris.read()
    assert waiting.request() == {"open": idle}
    print(
        f"\n{slow} slow and {idle} idle connections: {figures['calls']} calls of others, p99 "
        f"{figures['p99'] * 1e3:.2f} ms, worst {figures['worst'] * 1e3:.1f} ms; dropped after "
        f"{dropped['shortest']:.1f} to {dropped['longest']:.1f} s; {during['threads']} threads"
    )
    assert figures["worst"] < 1.0  # the deadline of a busy call
    assert (dropped["left"], dropped["dropped"]) == (0, slow)
    assert dropped["shortest"] >= timeout * 0.9
    # The server looks at deadlines twice a second; the client at its sockets eight times within the timeout.
    assert dropped["longest"] < timeout * 1.5 + 2.0
    assert during["threads"] <= before["threads"] + 16 + 16
