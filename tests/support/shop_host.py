"""The portals of one host of a shop, whose state is in a shared store. Gunicorn workers call `make`."""

from __future__ import annotations

import os
import uuid
from typing import Any

from portal import BearerAuth, HTTPPortal, Identity, WebSocketPortal, function
from portal.cli.gunicorn import ServedProcess
from portal.cli.portal import Served
from portal.directory import Registration
from portal.idempotency.middleware import Idempotency
from portal.limits.rate_limit import RateLimit

__all__ = ["KEY", "LIMIT", "TOKEN", "make"]

LIMIT = 12
KEY = "the key of the directory"
TOKEN = "token-of-ann"


def make() -> ServedProcess:
    """Return the portals of a worker process."""
    url, address = os.environ["SHOP_STORE"], os.environ["SHOP_ADDRESS"]
    lease = float(os.environ["SHOP_LEASE"])
    registration = Registration(f"{url}#hosts", lease=lease, advertise=address, key=KEY)
    auth = BearerAuth({TOKEN: Identity("ann")})
    limit = RateLimit(f"{LIMIT}/hour", functions=["limited"], per="function", store=url)
    middleware = [limit, Idempotency(store=url)]
    http = HTTPPortal("0.0.0.0", name="shop", auth=auth, middleware=middleware, directory=registration)
    sockets = WebSocketPortal(name="shop", auth=auth, listener=http.listener)
    topic = sockets.topic("orders", item=str, store=url)

    @function(idempotent=True)
    def worker() -> str:
        return f"{address}/{os.getpid()}"

    @function
    def limited() -> str:
        return worker()

    @function
    def once() -> str:
        return uuid.uuid4().hex

    @function
    def announce(text: str) -> Any:
        return list(topic.publish(text))

    for one in (worker, limited, once, announce):
        http.apply(one)
    return ServedProcess(Served(http, sockets))
