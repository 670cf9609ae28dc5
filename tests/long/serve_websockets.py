"""The server side of WebSockets in another process, controlled by lines on its standard input.

    python serve_websockets.py '{"deflate": "none" | "default" | "staying"}'

It prints its port, then responds to each line with its figures as JSON. It ends when its input ends.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import threading

from portal.serving import ServingConfig
from portal.websocket.deflate import Deflate
from portal.websocket.server.settings import WebSocketConfig
from tests.support.websocket_listener import WebSocketServer

DEFLATE = {"none": None, "default": Deflate(min_size=10), "staying": Deflate(min_size=10, context_takeover=True)}


def add(a: float, b: float) -> float:
    return a + b


def figures(server: WebSocketServer) -> dict[str, object]:
    gc.collect()
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return {
        "rss": pages * os.sysconf("SC_PAGE_SIZE"),
        "threads": threading.active_count(),
        "connections": len(server.connections),
        "stats": server.connections.stats(),
    }


def main() -> None:
    settings = json.loads(sys.argv[1])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    config = WebSocketConfig(
        deflate=DEFLATE[settings["deflate"]],
        max_connections=20_000,
        max_connections_per_client=20_000,
        ping_timeout=300.0,  # clients that share a busy machine with the server respond late
    )
    serving = ServingConfig(connections=20_000, connections_per_client=20_000, backlog=1024)
    with WebSocketServer(add, config=config, serving=serving) as server:
        print(server.listener.port, flush=True)
        for _ in sys.stdin:
            print(json.dumps(figures(server)), flush=True)


if __name__ == "__main__":
    main()
