"""The client side of each contestant: `python -m benchmarks.clients NAME TARGET SECONDS THREADS`.

It connects, checks the first result, warms up, and calls for SECONDS from so many threads. It prints the calls a second
as JSON.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

from .order import LINES, ORDER, Order
from .rows import ITEMS, ROWS, Row
from .workload import EXPECTED, PARAMS

__all__ = ["CLIENTS", "Client", "main", "measure"]

Caller = Callable[[], Any]
_WARM_UP = 0.5  # seconds
_A, _B = PARAMS.values()  # positional arguments, for peers that take them


@dataclass(frozen=True)
class Client:
    """How a contestant is called.

    Attributes:
        connect: takes the target and returns a callable that makes one call and returns its result.
        shared: whether all threads use one connection (or pool). Otherwise each thread opens its own.
        expected: what the call returns.
    """

    connect: Callable[[str], Caller]
    shared: bool = True
    expected: Any = EXPECTED


def _portal(target: str) -> Caller:
    from portal import Consumer

    consumer = Consumer()
    return lambda: consumer.call_at(target, PARAMS)


def _portal_tls(target: str) -> Caller:
    from portal import Consumer
    from portal.http import ClientTLS, HTTPClient

    from .certificate import certificate_files

    consumer = Consumer(http=HTTPClient(tls=ClientTLS(ca=certificate_files().authority)))
    return lambda: consumer.call_at(target, PARAMS)


def _http_client(target: str) -> Caller:
    import http.client
    import ssl

    from .certificate import certificate_files

    parts = urlsplit(target)
    context = ssl.create_default_context(cafile=str(certificate_files().authority))
    connection = http.client.HTTPSConnection(parts.netloc, context=context, timeout=30.0)
    headers = {"Content-Type": "application/json"}

    def call() -> Any:
        connection.request("POST", parts.path, json.dumps(PARAMS), headers)
        return json.loads(connection.getresponse().read())

    return call


def _portal_address(target: str) -> Caller:
    from portal import Address, Consumer

    consumer, address = Consumer(), Address.parse(target)
    return lambda: consumer.call_at(address, PARAMS)


def _requests(target: str) -> Caller:
    import requests

    session = requests.Session()
    return lambda: session.post(target, json=PARAMS, timeout=30.0).json()


def _portal_stream(target: str) -> Caller:
    from portal import Consumer

    consumer = Consumer()
    return lambda: sum(1 for _ in consumer.stream_at(f"{target}/count", {"number": ITEMS}))


def _requests_stream(target: str) -> Caller:
    import requests

    session = requests.Session()

    def call() -> int:
        with session.post(f"{target}/count", json={"number": ITEMS}, stream=True, timeout=30.0) as response:
            return sum(1 for _ in map(json.loads, response.iter_lines()))

    return call


def _portal_rows(target: str) -> Caller:
    from portal import Consumer

    consumer = Consumer()

    def call() -> int:
        found = consumer.call_at(f"{target}/rows", {"number": ROWS})
        return len(found) if isinstance(found, list) else 0

    return call


def _portal_objects(target: str) -> Caller:
    from portal import Consumer

    consumer = Consumer()
    return lambda: len(consumer.call_at(f"{target}/rows", {"number": ROWS}, returns=list[Row]))


def _requests_rows(target: str) -> Caller:
    import requests

    session = requests.Session()
    return lambda: len(session.post(f"{target}/rows", json={"number": ROWS}, timeout=30.0).json())


def _http_client_order(target: str) -> Caller:
    """Return a caller that converts nothing, so that the servers are compared."""
    import http.client

    parts = urlsplit(target)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30.0)
    body, headers = json.dumps({"order": ORDER}), {"Content-Type": "application/json"}

    def call() -> int:
        connection.request("POST", parts.path, body, headers)
        return connection.getresponse().read().count(b"PEN-")

    return call


def _portal_order(target: str) -> Caller:
    from portal import Consumer

    consumer = Consumer()
    return lambda: len(consumer.call_at(target, {"order": ORDER}, returns=Order).items)


def _requests_order(target: str) -> Caller:
    import pydantic
    import requests

    session, adapter = requests.Session(), pydantic.TypeAdapter(Order)

    def call() -> int:
        return len(adapter.validate_json(session.post(target, json={"order": ORDER}, timeout=30.0).content).items)

    return call


def _pyro5(target: str) -> Caller:
    import Pyro5.api  # type: ignore[import-untyped]

    proxy = Pyro5.api.Proxy(target)
    return lambda: proxy.add(_A, _B)


def _rpyc_root(target: str) -> Caller:
    root = _rpyc_connection(target).root
    return lambda: root.add(_A, _B)


def _rpyc_kept(target: str) -> Caller:
    connection = _rpyc_connection(target)
    remote = connection.root.add
    # rpyc closes the connection when no reference to it is left
    return lambda connection=connection: remote(_A, _B)  # type: ignore[misc]


def _rpyc_connection(target: str) -> Any:
    import rpyc  # type: ignore[import-untyped]

    host, _, port = target.rpartition(":")
    return rpyc.connect(host, int(port))


CLIENTS: dict[str, Client] = {
    "portal": Client(_portal),
    "portal-address": Client(_portal_address),
    "portal-tls": Client(_portal_tls),
    "http.client": Client(_http_client, shared=False),
    "requests": Client(_requests),
    "portal-stream": Client(_portal_stream, expected=ITEMS),
    "requests-stream": Client(_requests_stream, expected=ITEMS),
    "portal-rows": Client(_portal_rows, expected=ROWS),
    "portal-objects": Client(_portal_objects, expected=ROWS),
    "requests-rows": Client(_requests_rows, expected=ROWS),
    "http.client-order": Client(_http_client_order, shared=False, expected=LINES),
    "portal-order": Client(_portal_order, expected=LINES),
    "requests-order": Client(_requests_order, expected=LINES),
    "pyro5": Client(_pyro5, shared=False),
    "rpyc-root": Client(_rpyc_root),
    "rpyc": Client(_rpyc_kept),
    "rpyc-each": Client(_rpyc_kept, shared=False),
}


def measure(client: Client, target: str, seconds: float, threads: int) -> float:
    """Return the calls a second from `threads` threads.

    Raises: RuntimeError for a wrong result or a thread that failed.
    """
    shared = _checked(client, target) if client.shared else None
    ready = threading.Barrier(threads + 1)
    counts: list[int] = []
    failures: list[Exception] = []

    def run() -> None:
        try:
            call = shared or _checked(client, target)
            _call_until(call, perf_counter() + _WARM_UP)
            ready.wait(30.0)
            counts.append(_call_until(call, perf_counter() + seconds))
        except Exception as error:
            failures.append(error)
            ready.abort()

    workers = [threading.Thread(target=run, daemon=True) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        ready.wait(30.0)
    except threading.BrokenBarrierError:
        workers[0].join(1.0)
    started = perf_counter()
    for worker in workers:
        worker.join(seconds + 30.0)
    elapsed = perf_counter() - started
    if failures or len(counts) != threads:
        raise RuntimeError(f"{threads - len(counts)} of {threads} threads failed: {failures[:1]}")
    return sum(counts) / elapsed


def _checked(client: Client, target: str) -> Caller:
    call = client.connect(target)
    result = call()
    if result != client.expected:
        raise RuntimeError(f"the result must be {client.expected}, got {result!r}")
    return call


def _call_until(call: Caller, end: float) -> int:
    count = 0
    while perf_counter() < end:
        call()
        count += 1
    return count


def main(name: str, target: str, seconds: str, threads: str) -> None:
    """Measure one client and print its rate."""
    print(json.dumps({"rate": measure(CLIENTS[name], target, float(seconds), int(threads))}))


if __name__ == "__main__":
    main(*sys.argv[1:])
