"""Many calls leave nothing behind, on either side."""

from __future__ import annotations

from typing import Any

import pytest

MIB = 1024 * 1024


@pytest.mark.parametrize("websocket", [False, True], ids=["http", "websocket"])
@pytest.mark.parametrize(
    ("count", "growth"),
    [pytest.param(20_000, 4 * MIB, id="small"), pytest.param(1_000_000, 4 * MIB, id="long")],
)
def test_calls(run: Any, count: int, growth: int, websocket: bool) -> None:
    server = run("serve.py", config={}, pem=None, websocket=websocket)
    options = {"count": count, "threads": 4, "port": server.read(), "ca": None, "websocket": websocket}
    client = run("clients.py", mode="calls", **options)
    warm, served_warm = client.read(), server.request()
    done = client.request()
    served = server.request()
    print(
        f"\n{done['calls']} calls at {done['calls'] / done['seconds']:.0f}/s; client "
        f"{warm['rss'] / MIB:.1f} -> {done['rss'] / MIB:.1f} MiB, {warm['threads']} -> {done['threads']} threads, "
        f"{warm['files']} -> {done['files']} files; server {served_warm['rss'] / MIB:.1f} -> "
        f"{served['rss'] / MIB:.1f} MiB, {served_warm['threads']} -> {served['threads']} threads, "
        f"{served_warm['files']} -> {served['files']} files"
    )
    assert served["calls"] >= count
    for before, after in ((warm, done), (served_warm, served)):
        assert after["rss"] - before["rss"] < growth
        assert after["files"] <= before["files"]
    assert done["threads"] <= warm["threads"]
    assert served["threads"] <= served_warm["threads"] + 16  # workers come as they are wanted
