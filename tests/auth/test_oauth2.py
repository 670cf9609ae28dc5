"""OAuth2ClientCredentials asks a token endpoint and keeps its token."""

from __future__ import annotations

import base64
import json
import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any
from urllib.parse import parse_qs

import pytest
import trustme

from portal.address import Address
from portal.auth import oauth2
from portal.auth.oauth2 import OAuth2ClientCredentials
from portal.calls import singleflight
from portal.context import CallContext
from portal.errors import AuthenticationError, CallTimeout, TransportError
from tests.support.clocks import Clock
from tests.support.races import fast_switches, in_threads

WAIT = 10.0
SECRET = "s3cret-Token.of~ann"
HERE = Address.parse("http://127.0.0.1:8080/api/add")


class Endpoint:
    """A real token endpoint; it gives token-1, token-2, ... or what a test makes it say."""

    def __init__(self) -> None:
        self.requests: list[tuple[Mapping[str, str], dict[str, list[str]]]] = []
        self.status = 200
        self.members: dict[str, Any] = {}
        self.body: bytes | None = None
        self.gate = threading.Event()
        self.asked = threading.Event()
        self.gate.set()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                endpoint.requests.append((dict(self.headers), parse_qs(body)))
                endpoint.asked.set()
                endpoint.gate.wait(WAIT)
                members = {"access_token": f"token-{endpoint.fetched}", "token_type": "Bearer", "expires_in": 100}
                given = {name: value for name, value in (members | endpoint.members).items() if value is not ...}
                answer = json.dumps(given).encode() if endpoint.body is None else endpoint.body
                self.send_response(endpoint.status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients leave early here
        self.url = f"http://127.0.0.1:{self.server.server_port}/token"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    @property
    def fetched(self) -> int:
        return len(self.requests)

    def close(self) -> None:
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(WAIT)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    yield made
    made.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def client(endpoint: Endpoint, clock: Clock, **changes: Any) -> OAuth2ClientCredentials:
    return OAuth2ClientCredentials(endpoint.url, "shop:1", "a b+c/ü", clock=clock, **changes)


def token_of(credential: OAuth2ClientCredentials, deadline: float | None = None) -> str:
    return credential.headers(HERE, deadline)["Authorization"].removeprefix("Bearer ")


def together(count: int, work: Callable[[int], Any]) -> list[Any]:
    results: list[Any] = [None] * count

    def run(number: int) -> None:
        try:
            results[number] = work(number)
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    return results


def test_a_token_is_asked_for_as_the_standard_says(endpoint: Endpoint, clock: Clock) -> None:
    credential = client(endpoint, clock, scope="read write", audience="https://api.example")
    assert token_of(credential) == "token-1"
    headers, form = endpoint.requests[0]
    pair = base64.b64decode(headers["Authorization"].removeprefix("Basic ")).decode()
    assert pair == "shop%3A1:a+b%2Bc%2F%C3%BC"
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert form == {
        "grant_type": ["client_credentials"],
        "scope": ["read write"],
        "audience": ["https://api.example"],
    }
    assert token_of(client(endpoint, clock)) == "token-2"
    assert endpoint.requests[1][1] == {"grant_type": ["client_credentials"]}


@pytest.mark.parametrize(
    ("expires_in", "refresh_before", "good_for"),
    [(100, 30.0, 70), ("100", 30.0, 70), (100, 0.0, 100), (40, 30.0, 20), (0.5, 30.0, 0.25), (..., 30.0, 270)],
)
def test_a_token_is_renewed_before_its_end(
    endpoint: Endpoint, clock: Clock, expires_in: Any, refresh_before: float, good_for: float
) -> None:
    endpoint.members = {"expires_in": expires_in}
    credential = client(endpoint, clock, refresh_before=refresh_before)
    assert token_of(credential) == "token-1"
    clock.now += good_for - 0.01
    assert token_of(credential) == "token-1"
    clock.now += 0.02
    assert token_of(credential) == "token-2"


def test_sixteen_threads_one_fetch(endpoint: Endpoint, clock: Clock) -> None:
    credential = client(endpoint, clock)
    endpoint.gate.clear()

    def work(number: int) -> str:
        if number == 15:
            assert endpoint.asked.wait(WAIT)
            endpoint.gate.set()
        return token_of(credential)

    assert together(16, work) == ["token-1"] * 16
    assert endpoint.fetched == 1


def test_while_one_renews_the_others_go_on(endpoint: Endpoint, clock: Clock) -> None:
    credential = client(endpoint, clock)
    assert token_of(credential) == "token-1"
    clock.now += 80
    endpoint.gate.clear()
    endpoint.asked.clear()

    def work(number: int) -> str:
        if number == 0:
            return token_of(credential)
        assert endpoint.asked.wait(WAIT)
        token = token_of(credential)  # good for another 20 seconds
        endpoint.gate.set()
        return token

    assert together(2, work) == ["token-2", "token-1"]
    assert endpoint.fetched == 2


def test_refused_tokens_are_dropped(endpoint: Endpoint, clock: Clock) -> None:
    credential = client(endpoint, clock)
    assert credential.rejected(HERE)  # nothing is kept
    assert token_of(credential) == "token-1"
    assert credential.rejected(HERE)
    assert token_of(credential) == "token-2"
    assert not credential.rejected(HERE)  # a new one is no better
    assert token_of(credential) == "token-2"
    clock.now += 1
    assert credential.rejected(HERE)
    assert token_of(credential) == "token-3"


def test_many_threads_refused_at_once_fetch_once(endpoint: Endpoint, clock: Clock) -> None:
    credential = client(endpoint, clock)
    barrier = threading.Barrier(8)

    def work(number: int) -> str:
        assert token_of(credential) == "token-1"
        barrier.wait(WAIT)
        assert credential.rejected(HERE)
        return token_of(credential)

    assert together(8, work) == ["token-2"] * 8
    assert endpoint.fetched == 2


BAD_ANSWERS: list[tuple[int, dict[str, Any] | bytes, type[Exception], str]] = [
    (400, {"error": "invalid_scope"}, AuthenticationError, "rejected the request: invalid_scope"),
    (401, {"error": "invalid_client"}, AuthenticationError, "rejected the request: invalid_client"),
    (401, {"error": f"<{SECRET}>"}, AuthenticationError, "rejected the request: status 401"),
    (403, b"go away", AuthenticationError, "rejected the request: status 403"),
    (302, {}, AuthenticationError, "status 302"),
    (500, {}, TransportError, "responded with 500"),
    (503, b"", TransportError, "responded with 503"),
    (429, {}, TransportError, "responded with 429"),
    (200, b"<html>", AuthenticationError, "no bearer token"),
    (200, b"[]", AuthenticationError, "no bearer token"),
    (200, b"[" * 50_000, AuthenticationError, "no bearer token"),
    (200, b" " * (1024 * 1024 + 1), TransportError, "more than"),
    (200, {"access_token": ...}, AuthenticationError, "no bearer token"),
    (200, {"access_token": ""}, AuthenticationError, "no bearer token"),
    (200, {"access_token": 1}, AuthenticationError, "no bearer token"),
    (200, {"access_token": "a\r\nX-Evil: 1"}, AuthenticationError, "no bearer token"),
    (200, {"access_token": "x" * 16_385}, AuthenticationError, "no bearer token"),
    (200, {"token_type": ...}, AuthenticationError, "no bearer token"),
    (200, {"token_type": "mac"}, AuthenticationError, "no bearer token"),
    (200, {"expires_in": -1}, AuthenticationError, "without a valid expires_in"),
    (200, {"expires_in": 0}, AuthenticationError, "without a valid expires_in"),
    (200, {"expires_in": "soon"}, AuthenticationError, "without a valid expires_in"),
    (200, {"expires_in": True}, AuthenticationError, "without a valid expires_in"),
    (200, {"expires_in": [1]}, AuthenticationError, "without a valid expires_in"),
    (200, {"expires_in": 10**400}, AuthenticationError, "without a valid expires_in"),
    *(
        (200, {"expires_in": value}, AuthenticationError, "without a valid expires_in")
        for value in (1e-300, 5e-324, 0.01, "1_0", "1e3", " 60", "+60", "\u0663\u0660\u0660", "0x3c", "60.0")
    ),
]


@pytest.mark.parametrize(("status", "said", "kind", "words"), BAD_ANSWERS)
def test_an_endpoint_that_fails(
    endpoint: Endpoint, clock: Clock, status: int, said: Any, kind: type[Exception], words: str
) -> None:
    credential = client(endpoint, clock)
    endpoint.status = status
    if isinstance(said, bytes):
        endpoint.body = said
    else:
        endpoint.members = said
    with pytest.raises(kind, match=words) as refusal:
        token_of(credential)
    assert SECRET not in str(refusal.value)
    assert getattr(refusal.value, "may_have_executed", False) is False
    endpoint.status, endpoint.members, endpoint.body = 200, {"token_type": "bEARER"}, None
    assert token_of(credential) == "token-2"


def test_an_early_renewal_that_fails_leaves_the_old_token(
    endpoint: Endpoint, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    credential = client(endpoint, clock)
    assert token_of(credential) == "token-1"
    clock.now += 80
    endpoint.status = 500
    with caplog.at_level(logging.WARNING, "portal.auth"):
        assert token_of(credential) == "token-1"
    assert "was not refreshed" in caplog.text
    assert token_of(credential) == "token-1"
    assert endpoint.fetched == 2  # not again at once
    clock.now += 1
    assert token_of(credential) == "token-1"
    assert endpoint.fetched == 3
    clock.now += 19
    with pytest.raises(TransportError):
        token_of(credential)


class MeddlingClock(Clock):
    """A clock that another thread's action overtakes: `meddle` runs once, while the reader is about to use the time."""

    meddle: Callable[[], object] | None = None

    def __call__(self) -> float:
        meddle, self.meddle = self.meddle, None
        if meddle is not None:
            meddle()
        return super().__call__()


def test_a_rejection_does_not_discard_the_token_that_another_thread_has_just_fetched(endpoint: Endpoint) -> None:
    clock = MeddlingClock()
    credential = client(endpoint, clock)
    assert token_of(credential) == "token-1"

    def other_thread() -> None:
        def work(_: int) -> str:
            token_of(credential)
            credential.rejected(HERE)
            return token_of(credential)

        assert together(1, work) == ["token-2"]

    clock.meddle = other_thread
    assert credential.rejected(HERE)
    assert token_of(credential) == "token-2"
    assert endpoint.fetched == 2


def test_a_token_that_was_rejected_is_not_handed_on_to_the_thread_that_rejected_it(
    endpoint: Endpoint, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that fetched the token has stored it, but has not yet handed it on to those that wait for it."""
    credential = client(endpoint, clock)
    fetch, wait = credential._fetch, singleflight._Flight.wait
    stored, handed_on = threading.Event(), threading.Event()

    def hold(*args: Any) -> Any:
        fetched = fetch(*args)
        stored.set()
        assert handed_on.wait(WAIT)
        return fetched

    def follow(*args: Any) -> None:
        handed_on.set()
        wait(*args)

    monkeypatch.setattr(credential, "_fetch", hold)
    monkeypatch.setattr(singleflight._Flight, "wait", follow)

    def work(number: int) -> str:
        if number == 0:
            return token_of(credential)
        assert stored.wait(WAIT)
        assert token_of(credential) == "token-1"
        assert credential.rejected(HERE)
        return token_of(credential)

    assert together(2, work) == ["token-1", "token-2"]
    assert endpoint.fetched == 2


def test_an_endpoint_may_return_a_rejected_token_again(endpoint: Endpoint, clock: Clock) -> None:
    endpoint.members = {"access_token": "same"}
    credential = client(endpoint, clock)
    assert token_of(credential) == "same"
    assert credential.rejected(HERE)
    assert token_of(credential) == "same"
    assert endpoint.fetched == 2
    assert not credential.rejected(HERE)


def test_only_tokens_that_were_rejected_are_discarded_by_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each thread sends a token, is rejected, and sends a newer one, over and over."""
    numbers, ticks = count(1), count(1)
    fetched: list[int] = []  # one thread at a time fetches
    rejected: list[set[int]] = [set() for _ in range(4)]

    def fetch(*_: Any, **__: Any) -> int:
        fetched.append(next(numbers))
        return fetched[-1]

    monkeypatch.setattr(oauth2, "fetch", fetch)
    monkeypatch.setattr(
        oauth2, "_members", lambda one: {"access_token": f"t-{one}", "token_type": "Bearer", "expires_in": 10**8}
    )
    credential = OAuth2ClientCredentials("https://h/token", "id", "secret", clock=lambda: next(ticks) * 100.0)

    def sent() -> int:
        return int(credential.headers(HERE, None)["Authorization"].rpartition("-")[2])

    def work(thread: int) -> None:
        for _ in range(150):
            token = sent()
            rejected[thread].add(token)
            credential.rejected(HERE)
            assert sent() > token

    with fast_switches():
        in_threads(4, work)
    assert set(fetched[:-2]) <= set().union(*rejected)


def test_a_failed_renewal_does_not_bring_back_a_token_that_another_thread_has_discarded(endpoint: Endpoint) -> None:
    clock = MeddlingClock()
    credential = client(endpoint, clock)
    assert token_of(credential) == "token-1"
    clock.now += 80
    endpoint.status = 500
    warned = threading.Event()

    class Discarding(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            warned.set()
            credential.rejected(HERE)

    handler = Discarding()
    logging.getLogger("portal.auth").addHandler(handler)
    try:
        assert token_of(credential) == "token-1"  # valid, as far as this thread knows
    finally:
        logging.getLogger("portal.auth").removeHandler(handler)
    assert warned.is_set()
    endpoint.status = 200
    assert token_of(credential) == "token-3"


def test_within_the_callers_deadline(endpoint: Endpoint, clock: Clock) -> None:
    credential = client(endpoint, clock)
    endpoint.gate.clear()
    begun = time.monotonic()
    with pytest.raises(CallTimeout):
        token_of(credential, begun + 0.1)
    with pytest.raises(CallTimeout):
        token_of(credential, begun - 1)
    with pytest.raises(TransportError):
        token_of(client(endpoint, clock, timeout=0.1), begun + WAIT)
    assert time.monotonic() - begun < WAIT / 2


def test_renewing_leaves_time_for_the_call(endpoint: Endpoint, clock: Clock) -> None:
    credential = client(endpoint, clock)
    assert token_of(credential) == "token-1"
    clock.now += 80
    endpoint.gate.clear()
    deadline = time.monotonic() + 1.0
    assert token_of(credential, deadline) == "token-1"
    assert time.monotonic() < deadline


def test_a_leader_without_time_does_not_fail_the_others(endpoint: Endpoint, clock: Clock) -> None:
    credential = client(endpoint, clock)
    endpoint.gate.clear()

    def work(number: int) -> Any:
        if number == 0:
            try:
                return token_of(credential, time.monotonic() + 0.2)
            finally:
                endpoint.gate.set()
        assert endpoint.asked.wait(WAIT)
        return token_of(credential, time.monotonic() + WAIT)

    first, second = together(2, work)
    assert isinstance(first, CallTimeout)
    assert second == "token-2"


def test_a_follower_waits_no_longer_than_the_timeout(endpoint: Endpoint, clock: Clock) -> None:
    credential = client(endpoint, clock, timeout=0.1)
    led, landed = threading.Event(), threading.Event()

    def slow() -> str:
        led.set()
        landed.wait(WAIT)
        return "late"

    def work(number: int) -> Any:
        if number == 0:
            flight, context = credential._single_flight, CallContext.for_call(WAIT)
            return flight.run("the token endpoint", context, "the token endpoint", slow)
        assert led.wait(WAIT)
        try:
            return token_of(credential, None if number == 1 else time.monotonic() + 0.05)
        finally:
            if number == 1:
                landed.set()

    leader, patient, hurried = together(3, work)
    assert leader == "late"
    assert isinstance(patient, TransportError)
    assert isinstance(hurried, CallTimeout)


def test_an_unreachable_endpoint_is_a_transport_error(endpoint: Endpoint, clock: Clock) -> None:
    credential = client(endpoint, clock)
    endpoint.close()
    with pytest.raises(TransportError, match=r"^the token endpoint at 127\.0\.0\.1:\d+ did not respond") as refusal:
        token_of(credential)
    assert refusal.value.retryable
    assert not refusal.value.may_have_executed


def test_the_secret_is_sent_to_a_trusted_endpoint_only(endpoint: Endpoint, clock: Clock) -> None:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    endpoint.server.socket = server.wrap_socket(endpoint.server.socket, server_side=True, do_handshake_on_connect=False)
    url = endpoint.url.replace("http://127.0.0.1", "https://localhost")
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with pytest.raises(TransportError):
        token_of(OAuth2ClientCredentials(url, "shop", SECRET))
    assert endpoint.requests == []  # the secret went to nobody
    assert token_of(OAuth2ClientCredentials(url, "shop", SECRET, tls=trusting)) == "token-1"
