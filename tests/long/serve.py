"""A portal in another process, controlled by lines on its standard input.

    python serve.py '{"config": {...}, "pem": "server.pem" or null, "websocket": false}'

It prints its port, then responds to each line with its figures as JSON. It ends when its input ends.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading

from portal import HTTPPortal, WebSocketPortal
from portal.serving import Certificate, ServingConfig, TLSConfig


def add(a: float, b: float) -> float:
    return a + b


def figures(portal: HTTPPortal | WebSocketPortal) -> dict[str, object]:
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return {
        "rss": pages * os.sysconf("SC_PAGE_SIZE"),
        "threads": threading.active_count(),
        "files": len(os.listdir("/proc/self/fd")),
        "stats": portal.listener.stats(),
        "calls": portal.stats()["calls"],
    }


def main() -> None:
    settings = json.loads(sys.argv[1])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    tls = TLSConfig(Certificate(settings["pem"])) if settings["pem"] else None
    config = ServingConfig(**settings["config"], tls=tls)
    with WebSocketPortal(serving=config) if settings.get("websocket") else HTTPPortal(config=config) as portal:
        portal.apply(add)
        print(portal.port, flush=True)
        for _ in sys.stdin:
            print(json.dumps(figures(portal)), flush=True)


if __name__ == "__main__":
    main()
