"""The server side of each contestant: `python -m benchmarks.servers NAME`.

It listens on a free port of 127.0.0.1, prints its address on one line, and serves until its standard input ends. So it
never outlives the process that started it. Each contestant imports its own libraries.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Annotated, Any, Literal

from . import minimal_server
from .order import Order, copy_order
from .programs import granian, nginx
from .rows import count, rows
from .workload import JWT_KEY, add

__all__ = ["PROGRAMS", "SERVERS", "main"]


def _ready(where: str) -> None:
    print(where, flush=True)


def _portal() -> None:
    from portal import HTTPPortal

    portal = HTTPPortal()
    address = portal.apply(add)
    portal.start()
    _ready(str(address))
    threading.Event().wait()


def _portal_rows() -> None:
    from portal import HTTPPortal

    portal = HTTPPortal()
    portal.apply(count)
    portal.apply(rows)
    portal.start()
    _ready(str(portal.base))
    threading.Event().wait()


def _portal_order() -> None:
    from portal import HTTPPortal

    portal = HTTPPortal()
    address = portal.apply(copy_order)
    portal.start()
    _ready(str(address))
    threading.Event().wait()


def _portal_tls() -> None:
    from portal import Certificate, HTTPPortal, ServingConfig, TLSConfig

    from .certificate import certificate_files

    files = certificate_files()
    portal = HTTPPortal(config=ServingConfig(tls=TLSConfig(Certificate(files.chain, files.key))))
    address = portal.apply(add)
    portal.start()
    _ready(str(address))
    threading.Event().wait()


def _portal_protected(delay: float = 0.05, further: bool = False) -> None:
    from portal import HTTPPortal, JWTAuth, RateLimit
    from portal.http import CORS, RequestLog, SecurityHeaders
    from portal.metrics.observe import CallMetrics, Observe

    log = os.path.join(tempfile.mkdtemp(), "requests.log")
    portal = HTTPPortal(
        auth=JWTAuth(key=JWT_KEY, algorithms=["HS256"]),
        middleware=[Observe(CallMetrics()), RateLimit("1000000000/minute", per="identity")],
        http_middleware=[
            RequestLog(log, delay=delay),
            *([SecurityHeaders(), CORS(["https://shop.example"])] if further else []),
        ],
    )
    address = portal.apply(add)
    portal.start()
    _ready(str(address))
    threading.Event().wait()


def _portal_protected_at_once() -> None:
    _portal_protected(0.0)


def _portal_everything() -> None:
    _portal_protected(0.0, True)


def _flask() -> None:
    import flask
    import waitress  # type: ignore[import-untyped]

    app = flask.Flask(__name__)

    @app.post("/add")
    def endpoint() -> flask.Response | tuple[flask.Response, int]:
        params = flask.request.get_json()
        if not isinstance(params, dict) or params.keys() != {"a", "b"}:
            return flask.jsonify(error="a and b are required"), 422
        if not all(type(value) in (int, float) for value in params.values()):
            return flask.jsonify(error="a and b must be numbers"), 422
        return flask.jsonify(add(params["a"], params["b"]))

    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # else it logs each queued request
    server = waitress.create_server(app, host="127.0.0.1", port=0, threads=16)
    _ready(f"http://127.0.0.1:{server.effective_port}/add")
    server.run()


def _flask_order() -> None:
    import flask
    import pydantic
    import waitress

    app = flask.Flask(__name__)
    params, result = pydantic.TypeAdapter(dict[Literal["order"], Order]), pydantic.TypeAdapter(Order)

    @app.post("/copy_order")
    def endpoint() -> flask.Response:
        given = params.validate_json(flask.request.get_data())
        return flask.Response(result.dump_json(copy_order(given["order"])), content_type="application/json")

    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    server = waitress.create_server(app, host="127.0.0.1", port=0, threads=16)
    _ready(f"http://127.0.0.1:{server.effective_port}/copy_order")
    server.run()


def _flask_rows() -> None:
    import flask
    import waitress

    app = flask.Flask(__name__)

    @app.post("/count")
    def stream() -> flask.Response:
        number = flask.request.get_json()["number"]
        return flask.Response((f"{one}\n" for one in count(number)), mimetype="application/x-ndjson")

    @app.post("/rows")
    def listed() -> flask.Response:
        return flask.jsonify([vars(row) for row in rows(flask.request.get_json()["number"])])

    server = waitress.create_server(app, host="127.0.0.1", port=0, threads=16)
    _ready(f"http://127.0.0.1:{server.effective_port}")
    server.run()


def _fastapi() -> None:
    import fastapi
    import pydantic

    class Params(pydantic.BaseModel):
        a: float
        b: float

    app = fastapi.FastAPI()

    def endpoint(params: Params) -> float:
        return add(params.a, params.b)

    endpoint.__annotations__["params"] = Params  # FastAPI cannot look up a local class by name
    app.post("/add")(endpoint)
    _run_uvicorn(app, "add")


def _fastapi_order() -> None:
    import fastapi

    def endpoint(order: Order) -> Order:
        return copy_order(order)

    app = fastapi.FastAPI()
    endpoint.__annotations__["order"] = Annotated[Order, fastapi.Body(embed=True)]
    app.post("/copy_order")(endpoint)
    _run_uvicorn(app, "copy_order")


def _run_uvicorn(app: Any, path: str) -> None:
    import uvicorn

    # asyncio sets TCP_NODELAY only on sockets that name the protocol; without it each response waits for a late ACK
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(512)
    server = uvicorn.Server(uvicorn.Config(app, access_log=False, log_level="warning"))
    _ready(f"http://127.0.0.1:{listener.getsockname()[1]}/{path}")
    server.run(sockets=[listener])


def _minimal(serve: Callable[[socket.socket], None] = minimal_server.serve) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    _ready(f"http://127.0.0.1:{listener.getsockname()[1]}/add")
    serve(listener)


def _minimal_pinned() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    _minimal()


def _pyro5() -> None:
    import Pyro5.api  # type: ignore[import-untyped]

    class Adder:
        @Pyro5.api.expose  # type: ignore[untyped-decorator]
        def add(self, a: float, b: float) -> float:
            return add(a, b)

    daemon = Pyro5.api.Daemon(host="127.0.0.1", port=0)
    _ready(str(daemon.register(Adder)))
    daemon.requestLoop()


def _rpyc() -> None:
    import rpyc  # type: ignore[import-untyped]
    from rpyc.utils.server import ThreadedServer  # type: ignore[import-untyped]

    class Adder(rpyc.Service):  # type: ignore[misc]
        def exposed_add(self, a: float, b: float) -> float:
            return add(a, b)

    server = ThreadedServer(Adder, hostname="127.0.0.1", port=0)
    _ready(f"127.0.0.1:{server.port}")
    server.start()


#: Contestants that serve in this process.
SERVERS: dict[str, Callable[[], None]] = {
    "portal": _portal,
    "portal-rows": _portal_rows,
    "portal-order": _portal_order,
    "portal-tls": _portal_tls,
    "portal-protected": _portal_protected,
    "portal-protected-at-once": _portal_protected_at_once,
    "portal-everything": _portal_everything,
    "flask": _flask,
    "flask-order": _flask_order,
    "flask-rows": _flask_rows,
    "fastapi": _fastapi,
    "fastapi-order": _fastapi_order,
    "minimal": _minimal,
    "minimal-pinned": _minimal_pinned,
    "minimal-one-thread": partial(_minimal, minimal_server.serve_in_one_thread),
    "pyro5": _pyro5,
    "rpyc": _rpyc,
}
#: Contestants that are programs of their own.
PROGRAMS: dict[str, Callable[[], AbstractContextManager[str]]] = {
    "granian": granian,
    "granian-one-thread": partial(granian, "--blocking-threads", "1"),
    "granian-tls": partial(granian, tls=True),
    "granian-tls-one-thread": partial(granian, "--blocking-threads", "1", tls=True),
    "nginx": nginx,
}


def _wait_for_end_of_input() -> None:
    while os.read(0, 1024):
        pass


def _end_with_input() -> None:
    _wait_for_end_of_input()
    os._exit(0)


def main(name: str) -> None:
    """Serve as the contestant of this name until standard input ends."""
    if name in PROGRAMS:
        with PROGRAMS[name]() as url:
            _ready(url)
            _wait_for_end_of_input()
        return
    threading.Thread(target=_end_with_input, daemon=True).start()
    SERVERS[name]()


if __name__ == "__main__":
    main(sys.argv[1])
