"""The package `ws` of Node as a peer: /portal.js on it, and a plain client that speaks JSON-RPC."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from portal.websocket.browser import files
from portal.websocket.portal import WebSocketPortal

MODULES = Path(os.environ.get("PORTAL_NODE_MODULES", "node_modules"))
NODE = shutil.which("node")
SCRIPT = Path(files.__file__).parent / "portal.js"

pytestmark = pytest.mark.skipif(
    NODE is None or not (MODULES / "ws").is_dir(), reason="node or its package ws is not installed"
)

THROUGH_THE_CLIENT = """
const portal = connect(ADDRESS, { WebSocket: WS });
const got = [];
let all;
const done = new Promise((resolve) => { all = resolve; });
const ticks = portal.subscribe("ticks", { onEvent: (e) => { if (got.push(e.data) === 3) all(); } });
await ticks.ready;
await portal.publish("ticks", "one");
portal._socket.terminate();
await portal.publish("ticks", "two");
await portal.publish("ticks", "three");
await done;
const sum = await portal.call("add", { a: 1, b: 2 });
const code = await portal.call("nothing").catch((error) => error.code);
const late = await portal.call("slow", {}, { timeout: 50 }).catch((error) => error.code);
portal.close();
console.log(JSON.stringify([got, sum, code, late]));
"""
PLAIN = """
const socket = new WS(ADDRESS, ["jsonrpc-2.0"], { perMessageDeflate: DEFLATE });
const replies = [];
socket.on("open", () => {
  socket.send(JSON.stringify([
    { jsonrpc: "2.0", id: "a", method: "add", params: [1, 2] },
    { jsonrpc: "2.0", method: "add", params: [1, 2] },
    { jsonrpc: "2.0", id: null, method: "add", params: { a: "x" } },
  ]));
  socket.ping();
});
let ponged = false;
socket.on("pong", () => { ponged = true; });
socket.on("message", (data) => { replies.push(JSON.parse(data)); socket.close(1000); });
const values = () => replies[0].map((reply) => reply.result ?? reply.error.code);
socket.on("close", (code) => console.log(JSON.stringify([values(), ponged, code])));
"""


def add(a: float, b: float) -> float:
    return a + b


def run(tmp_path: Path, program: str, address: str) -> str:
    (tmp_path / "portal.mjs").write_text(SCRIPT.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "node_modules").symlink_to(MODULES.resolve())
    head = f'import {{ connect }} from "./portal.mjs";\nimport WS from "ws";\nconst ADDRESS = "{address}";\n'
    (tmp_path / "main.mjs").write_text(head + program, encoding="utf-8")
    assert NODE is not None
    done = subprocess.run([NODE, "main.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    return done.stdout.strip()


def test_the_client_on_ws(tmp_path: Path) -> None:
    go = threading.Event()

    def slow() -> None:
        go.wait(20)

    with WebSocketPortal() as portal:
        portal.apply(add)
        portal.apply(slow)
        portal.topic("ticks", publish_scopes=())
        found = run(tmp_path, THROUGH_THE_CLIENT, str(portal.base))
        go.set()
    assert found == '[["one","two","three"],3,"registry_error","timeout"]'


@pytest.mark.parametrize("deflate", ["false", "true"])
def test_a_plain_client(deflate: str, tmp_path: Path) -> None:
    with WebSocketPortal() as portal:
        portal.apply(add)
        found = run(tmp_path, PLAIN.replace("DEFLATE", deflate), str(portal.base))
    assert found == "[[3,-32602],true,1000]"
