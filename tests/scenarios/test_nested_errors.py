"""The callers of a function do not learn from its errors which servers it calls."""

from __future__ import annotations

import io
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
import requests

from portal import (
    AddressError,
    AuthorizationError,
    BearerAuth,
    Breaker,
    Consumer,
    ConsumerError,
    HTTPPortal,
    Idempotency,
    LocalPortal,
    PortalError,
    TransportError,
    service,
)

WAIT = 10.0
SECRETS = ("127.0.0.1", "10.0.0.7", "internal", "secret-path", "attempts", "advice", "hint", "instance", "use another")


class Declined(PortalError):
    code = "nested_errors_declined"
    status = 402
    members = ("reason", "where")

    def __init__(self, message: str = "", *, reason: str = "", where: str = "", **common: Any) -> None:
        super().__init__(message, **common)
        self.reason, self.where = reason, where


# the functions of another server


def declines() -> str:
    raise Declined(
        "card declined by http://10.0.0.7/bank", reason="limit", where="10.0.0.7:443", hint="use another card"
    )


def fails() -> str:
    raise RuntimeError("10.0.0.7 is down")


def forbids() -> str:
    raise AuthorizationError("not for you", hint="use another account", address="http://10.0.0.7/")


def tried() -> str:
    raise ConsumerError("all failed", attempts=[{"address": "http://10.0.0.7/x"}], advice="use another")


def counts() -> Iterator[int]:
    yield 1
    raise TransportError("cannot reach 10.0.0.7:1", hint="use another", address="http://10.0.0.7:1/")


def takes(number: int) -> int:
    return number


# the functions that call them


def calls(address: str) -> str:
    with Consumer(timeout=0.2) as consumer:
        result: str = consumer.call_at(address)
    return result


def resolves(address: str) -> str:
    with Consumer(timeout=0.2) as consumer:
        return str(consumer.resolve(address)())


def lists(address: str) -> str:
    with Consumer(timeout=0.2) as consumer:
        return str(consumer.list_at(address))


def submits(address: str) -> str:
    with Consumer(timeout=0.2) as consumer:
        result: str = consumer.submit_at(address).result(WAIT)
    return result


def raises_again(address: str) -> str:
    kept: list[PortalError] = []
    with Consumer(timeout=0.2, middleware=[Breaker(failures=1)]) as consumer:
        for _ in range(2):
            try:
                consumer.call_at(address)
            except PortalError as error:
                kept.append(error)
    raise kept[-1]


def streams(address: str) -> Iterator[int]:
    with Consumer(timeout=0.2) as consumer:
        yield from consumer.stream_at(address)


def problem(body: bytes) -> bytes:
    head = "HTTP/1.1 502 Bad Gateway\r\nContent-Type: application/problem+json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


CALLERS = (calls, resolves, lists, submits, raises_again, streams)
BEHAVIOUR: dict[str, bytes | None] = {
    "garbage": b"garbage\r\n\r\n",
    "redirect": b"HTTP/1.1 302 Found\r\nLocation: http://10.0.0.7/\r\nContent-Length: 0\r\n\r\n",
    "not JSON": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nxx",
    "closes": b"",
    "silence": None,
    "a proxy's page": problem(b'{"title":"internal","detail":"10.0.0.7 is unreachable"}'),
    "a problem with an instance": problem(
        b'{"code":"x","detail":"no 10.0.0.7","instance":"http://10.0.0.7/","hint":"use another"}'
    ),
}


@contextmanager
def server(response: bytes | None) -> Iterator[str]:
    """Serve a response to each connection; close it without one if it is empty, and not at all for None."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        kept: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                connection.recv(65536)
                if response is None:
                    kept.append(connection)
                    continue
                connection.sendall(response)
                connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/secret-path"
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(WAIT)
            for one in kept:
                one.close()


@contextmanager
def target(name: str) -> Iterator[str]:
    """Provide the address of something that fails."""
    with ExitStack() as stack:
        if name in BEHAVIOUR:
            yield stack.enter_context(server(BEHAVIOUR[name]))
        elif name == "refused":
            with socket.socket() as taken:
                taken.bind(("127.0.0.1", 0))
                yield f"http://127.0.0.1:{taken.getsockname()[1]}/secret-path"
        elif name == "no TLS":
            yield stack.enter_context(server(b"garbage")).replace("http:", "https:")
        elif name == "malformed":
            yield "http://shop.internal:99999/secret-path"
        elif name == "unknown scheme":
            yield "internal://shop.internal/secret-path"
        elif name == "guarded":
            inner = stack.enter_context(HTTPPortal(auth=BearerAuth({"t": "ann"})))
            yield str(inner.apply(takes))
        elif name == "not published":
            inner = stack.enter_context(HTTPPortal())
            yield f"{inner.base}/nothing"
        else:
            functions: dict[str, Callable[..., Any]] = {one.__name__: one for one in (declines, fails, forbids, tried)}
            inner = stack.enter_context(HTTPPortal(base_path="/secret-path"))
            yield str(inner.apply(functions[name]))


TARGETS = [
    *BEHAVIOUR,
    *("refused", "no TLS", "malformed", "unknown scheme", "guarded", "not published"),
    *("declines", "fails", "forbids", "tried"),
]


def responses_of(portal: HTTPPortal, name: str, address: str) -> list[str]:
    """Call a function by HTTP, in a batch of JSON-RPC, and under WSGI; return the text of all responses."""
    params = {"address": address}
    headers = {"Accept": "text/event-stream"} if name == "streams" else {}
    posted = requests.post(f"{portal.base}/{name}", json=params, headers=headers, timeout=WAIT)
    batch = [{"jsonrpc": "2.0", "method": name, "params": params, "id": number} for number in range(2)]
    found = [posted.text + str(posted.headers.get("www-authenticate")), posted.text]
    if name != "streams":
        found.append(requests.post(f"{portal.base}/rpc", json=batch, timeout=WAIT).text)
    body = json.dumps(params).encode()
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": f"/api/{name}", "CONTENT_TYPE": "application/json"}
    environ |= {"CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}
    setup_testing_defaults(environ)
    pieces: list[bytes] = []
    with suppress(ConnectionAbortedError):  # a stream that failed ends so, that the outer server aborts the response
        pieces.extend(portal(environ, lambda status, headers: None))
    return [*found, b"".join(pieces).decode()]


def assert_nothing_is_revealed(text: str, address: str) -> None:
    authority = address.partition("://")[2].partition("/")[0]
    for secret in (*SECRETS, authority, authority.rpartition(":")[2]):
        assert secret not in text, text


@pytest.mark.parametrize("caller", CALLERS, ids=lambda one: one.__name__)
@pytest.mark.parametrize("name", TARGETS)
def test_the_error_of_a_nested_call_reveals_no_address(name: str, caller: Callable[..., Any]) -> None:
    with target(name) as address, HTTPPortal() as portal:
        portal.apply(caller)
        for text in responses_of(portal, caller.__name__, address):
            assert "error" in text
            assert_nothing_is_revealed(text, address)


@pytest.mark.parametrize(
    ("name", "status", "code", "detail"),
    [
        ("refused", 502, "transport_error", "calls failed; the server's log has the reason under request "),
        ("malformed", 400, "address_error", "calls failed; the server's log has the reason under request "),
        ("silence", 504, "timeout", "calls failed; the server's log has the reason under request "),
        ("guarded", 401, "authentication_error", "a credential is required and none was sent"),
        ("declines", 402, "nested_errors_declined", "card declined by [address]"),
        ("forbids", 403, "authorization_error", "not for you"),
        ("fails", 500, "function_error", "fails failed; the server's log has the reason under request "),
    ],
)
def test_the_class_of_the_error_stays_and_the_log_has_the_rest(
    name: str, status: int, code: str, detail: str, caplog: pytest.LogCaptureFixture
) -> None:
    with target(name) as address, HTTPPortal() as portal:
        portal.apply(calls)
        with caplog.at_level(logging.ERROR, "portal.http"):
            found = requests.post(f"{portal.base}/calls", json={"address": address}, timeout=WAIT).json()
    assert (found["status"], found["code"]) == (status, code)
    assert found["detail"].startswith(detail)
    if detail.startswith("calls failed"):
        assert found["detail"] == detail + found["request_id"]
        authority = address.partition("://")[2].partition("/")[0]
        assert f"calls failed in a nested call, request {found['request_id']}: " in caplog.text
        assert authority in caplog.text
    if name == "declines":
        assert (found["reason"], found["where"]) == ("limit", "[address]")


def test_debug_shows_all_of_it() -> None:
    with target("refused") as address, HTTPPortal(debug=True) as portal:
        portal.apply(calls)
        for text in responses_of(portal, "calls", address):
            assert address.partition("://")[2].partition("/")[0] in text
            assert "is the server running?" in text


def test_a_stream_that_breaks_later_reveals_nothing() -> None:
    with HTTPPortal() as inner, HTTPPortal() as portal:
        address = str(inner.apply(counts))
        portal.apply(streams)
        headers = {"Accept": "text/event-stream"}
        found = requests.post(f"{portal.base}/streams", json={"address": address}, headers=headers, timeout=WAIT).text
    assert "transport_error" in found
    assert_nothing_is_revealed(found, address)


def test_a_replayed_error_reveals_nothing() -> None:
    with target("refused") as address, HTTPPortal(middleware=[Idempotency()]) as portal:
        portal.apply(calls)
        url, headers = f"{portal.base}/calls", {"Idempotency-Key": "one"}
        first, again = (requests.post(url, json={"address": address}, headers=headers, timeout=WAIT) for _ in range(2))
        assert again.headers.get("Idempotent-Replayed") == "true"
    for response in (first, again):
        assert response.status_code == 502
        assert_nothing_is_revealed(response.text, address)


def test_a_nested_call_within_the_process_reveals_nothing() -> None:
    with LocalPortal() as local, target("refused") as refused, HTTPPortal() as portal:
        inner = {name: str(local.apply(one)) for name, one in (("declines", declines), ("tried", tried))}

        def calls_local(address: str) -> str:
            with Consumer([local]) as consumer:
                result: str = consumer.call_at(address)
            return result

        def asks(address: str) -> str:
            return calls(refused)

        inner["calls"] = str(local.apply(asks))
        portal.apply(calls_local)
        for address in (inner["declines"], inner["tried"], f"{inner['declines']}/internal"):
            found = requests.post(f"{portal.base}/calls_local", json={"address": address}, timeout=WAIT)
            assert found.status_code in (402, 404, 502)
            for secret in (*SECRETS, "local://"):
                assert secret not in found.text


def test_middleware_and_authenticators_reveal_nothing_of_their_calls() -> None:
    with target("refused") as address:

        def around_call(call: Any, call_next: Any) -> Any:
            calls(address)

        def around_request(request: Any, call_next: Any) -> Any:
            calls(address)

        def authenticator(request: Any) -> Any:
            calls(address)

        kinds: list[dict[str, Any]] = [
            {"middleware": [around_call]},
            {"http_middleware": [around_request]},
            {"auth": authenticator},
        ]
        for settings in kinds:
            with HTTPPortal(**settings) as portal:
                portal.apply(takes)
                found = requests.post(f"{portal.base}/takes", json={"number": 1}, timeout=WAIT)
                assert found.status_code in (401, 502)
                assert_nothing_is_revealed(found.text, address)


class Depends:
    """A service that cannot start without another server."""

    def __init__(self, address: str) -> None:
        self.address = address

    def on_start(self) -> None:
        calls(self.address)

    def ready(self) -> bool:
        return True


def test_a_service_that_cannot_start_reveals_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with target("refused") as address:
        portal = HTTPPortal(listen=False)
        portal.apply_service(service(name="depends")(Depends)(address))
        environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/api/depends/ready", "CONTENT_TYPE": "application/json"}
        environ |= {"CONTENT_LENGTH": "2", "wsgi.input": io.BytesIO(b"{}")}
        setup_testing_defaults(environ)
        try:
            text = b"".join(portal(environ, lambda status, headers: None)).decode()
        finally:
            portal.close()
    assert "error" in text
    assert_nothing_is_revealed(text, address)
    assert address.partition("://")[2].partition("/")[0] in caplog.text


def test_the_id_that_another_server_chose_is_not_passed_on() -> None:
    body = b'{"code":"x","detail":"no","request_id":"internal-7"}'
    with server(problem(body)) as address, HTTPPortal() as portal:
        portal.apply(calls)
        response = requests.post(f"{portal.base}/calls", json={"address": address}, timeout=WAIT)
    assert response.json()["request_id"] == response.headers["X-Request-ID"]
    assert "internal" not in response.text


def raises_its_own(kind: str) -> str:
    if kind == "address":
        raise AddressError("shop://x is not an address", hint="use another")
    raise PortalError("see https://shop.example/help or ask 10.0.0.7", hint="use another")


def test_the_own_error_of_a_function_is_sent_as_it_is() -> None:
    with HTTPPortal() as portal:
        portal.apply(raises_its_own)
        for kind, words in (("address", "shop://x"), ("other", "https://shop.example/help or ask 10.0.0.7")):
            found = requests.post(f"{portal.base}/raises_its_own", json={"kind": kind}, timeout=WAIT).json()
            assert words in found["detail"]
            assert found["hint"] == "use another"
