"""The first call of an address, which fetches the schema first, is protected like every later call."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from portal import (
    Breaker,
    CallTimeout,
    CircuitOpenError,
    Consumer,
    HTTPPortal,
    RegistryError,
    Retry,
    RetryBudget,
    TransportError,
    ValidationError,
    function,
)
from portal.calls.middleware import Call, CallNext
from portal.testing import Recorder, Replay

WAIT = 10.0


def ordinary(n: int) -> int:
    return n


class Cutting:
    """Stand before a server: close the first connections once their requests have arrived, and forward later ones."""

    def __init__(self, port: int, cuts: int, *, passed: int = 0) -> None:
        self._port = port
        self._passed = passed  # connections to forward before the first is closed
        self._cuts = cuts
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.requests: list[str] = []
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                taken, _ = self._listening.accept()
            except OSError:
                return
            with taken:
                self._one(taken)

    def _one(self, taken: socket.socket) -> None:
        request = taken.recv(65536)
        self.requests.append(request.split(b" ", 1)[0].decode())
        if self._passed > 0:
            self._passed -= 1
        elif self._cuts > 0:
            self._cuts -= 1
            return
        with socket.create_connection(("127.0.0.1", self._port)) as there:
            there.sendall(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
            while piece := there.recv(65536):
                taken.sendall(piece)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(WAIT)


@contextmanager
def cutting(http: HTTPPortal, cuts: int, **options: Any) -> Iterator[Cutting]:
    before = Cutting(http.port, cuts, **options)
    try:
        yield before
    finally:
        before.close()


def retry(**options: Any) -> Retry:
    return Retry(**{"initial_backoff": 0.001, **options})


def nobody() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"http://127.0.0.1:{free.getsockname()[1]}/api/nap"


def test_a_refused_connection_is_retried() -> None:
    with Consumer(middleware=[retry(attempts=4)]) as consumer, pytest.raises(TransportError) as caught:
        consumer.call_at(nobody(), {})
    assert caught.value.context["attempts"] == 4


def test_a_lost_schema_response_is_fetched_again() -> None:
    """Also where the function is not idempotent: it was not called yet."""
    ran: list[int] = []

    def charge(n: int) -> int:
        ran.append(n)
        return n

    with HTTPPortal() as http, cutting(http, 2) as before, Consumer(middleware=[retry()]) as consumer:
        http.apply(charge)
        assert consumer.call_at(f"http://127.0.0.1:{before.port}/api/charge", {"n": 7}) == 7
    assert before.requests == ["GET", "GET", "GET", "POST"]
    assert ran == [7]


@pytest.mark.parametrize("idempotent", [True, False])
def test_the_call_is_sent_again_only_if_idempotent(idempotent: bool) -> None:
    with (
        HTTPPortal() as http,
        cutting(http, 1, passed=1) as before,
        Consumer(middleware=[retry()]) as consumer,
    ):
        http.apply(function(idempotent=idempotent)(ordinary))
        address = f"http://127.0.0.1:{before.port}/api/ordinary"
        if idempotent:
            assert consumer.call_at(address, {"n": 7}) == 7
        else:
            with pytest.raises(TransportError) as caught:
                consumer.call_at(address, {"n": 7})
            assert caught.value.may_have_executed
    assert before.requests == ["GET", "POST", "POST"][: 3 if idempotent else 2]


def test_a_loss_during_the_schema_fetch_is_not_sent() -> None:
    with HTTPPortal() as http, cutting(http, 9) as before, Consumer() as consumer:
        http.apply(ordinary)
        with pytest.raises(TransportError, match="the function was not called") as caught:
            consumer.call_at(f"http://127.0.0.1:{before.port}/api/ordinary", {"n": 7})
    assert not caught.value.may_have_executed
    assert caught.value.retryable
    assert "may have been executed" not in str(caught.value)


def test_schema_fetches_spend_the_retry_budget() -> None:
    budget = RetryBudget(6)
    spending = retry(attempts=9, budget=budget)
    with Consumer(middleware=[spending]) as consumer, pytest.raises(TransportError) as caught:
        consumer.call_at(nobody(), {})
    assert caught.value.context["attempts"] == 3
    assert caught.value.context["retry_budget"] == "spent"


def test_a_server_that_hangs_opens_the_circuit() -> None:
    breaker = Breaker(failures=2)
    with socket.create_server(("127.0.0.1", 0)) as silent, Consumer(middleware=[breaker]) as consumer:
        authority = f"127.0.0.1:{silent.getsockname()[1]}"
        address = f"http://{authority}/api/nap/0123abcd"
        for _ in range(2):
            with pytest.raises(CallTimeout):
                consumer.call_at(address, {}, timeout=0.1)
        with pytest.raises(CircuitOpenError, match="nothing was sent"):
            consumer.call_at(address, {}, timeout=WAIT)
    assert breaker.states()[authority].state == "open"


def test_the_schema_fetch_and_the_call_share_the_deadline() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        Consumer(middleware=[retry(attempts=9)]) as consumer,
        pytest.raises(CallTimeout) as caught,
    ):
        consumer.call_at(f"http://127.0.0.1:{silent.getsockname()[1]}/api/nap", {}, timeout=0.1)
    assert caught.value.context["attempts"] == 1


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/api/nap", "nap"),
        ("/api/nap@2", "nap"),
        ("/api/nap/0123abcd", "nap"),
        ("/api/users/nap/0123456789abcdef", "nap"),
        ("/api/nap/17", "nap"),
        ("/", "127.0.0.1:1"),
        ("/a%20b", "127.0.0.1:1"),
    ],
)
def test_middleware_before_the_schema_is_known(path: str, name: str) -> None:
    seen: list[Call] = []

    def reject(call: Call, call_next: CallNext) -> Any:
        seen.append(call)
        raise ValidationError("no")

    with Consumer(middleware=[reject]) as consumer, pytest.raises(ValidationError, match="no"):
        consumer.call_at(f"http://127.0.0.1:1{path}", {"n": 1})
    assert seen[0].function.name == name
    assert str(seen[0].address) == f"http://127.0.0.1:1{path}"
    schema = seen[0].function.schema
    assert (schema.idempotent, schema.cacheable, schema.streaming, schema.input) == (
        False,
        False,
        False,
        {"type": "object"},
    )


def test_middleware_after_the_schema_is_known() -> None:
    seen: list[tuple[bool, bool]] = []

    def note(call: Call, call_next: CallNext) -> Any:
        before = call.function.schema.idempotent
        result = call_next(call)
        seen.append((before, call.function.schema.idempotent))
        return result

    with HTTPPortal() as http, Consumer(middleware=[note]) as consumer:
        address = http.apply(function(idempotent=True)(ordinary))
        assert [consumer.call_at(address, {"n": n}) for n in range(2)] == [0, 1]
    assert seen == [(False, True), (True, True)]


def test_a_middleware_may_call_the_function_or_make_a_call_of_its_own() -> None:
    def straight(call: Call, call_next: CallNext) -> Any:
        return call.function.invoke(call.params, call.context)

    def anew(call: Call, call_next: CallNext) -> Any:
        return call_next(Call(call.function, call.params, call.context, call.address))

    for layer in (straight, anew):
        with HTTPPortal() as http, Consumer(middleware=[layer]) as consumer:
            assert consumer.call_at(http.apply(ordinary), {"n": 7}) == 7


def test_streams_and_notifications_fetch_the_schema_inside_the_middleware() -> None:
    seen: list[str] = []
    sent = threading.Event()

    def note(call: Call, call_next: CallNext) -> Any:
        seen.append(call.function.name)
        try:
            return call_next(call)
        finally:
            sent.set()

    def count(to: int) -> Iterator[int]:
        yield from range(to)

    with HTTPPortal() as http, Consumer(middleware=[note]) as consumer:
        assert list(consumer.stream_at(http.apply(count), {"to": 2})) == [0, 1]
        with pytest.raises(ValidationError):
            consumer.stream_at(http.generate_address("count"), {"to": "2"})
        sent.clear()
        consumer.notify_at(http.apply(ordinary), {"n": 1})
        assert sent.wait(WAIT)
    assert seen == ["count", "count", "ordinary"]


def test_a_recording_keeps_a_known_schema(tmp_path: Path) -> None:
    path = tmp_path / "calls.json"
    with HTTPPortal() as http, Recorder(path) as recorder, Consumer(middleware=[recorder]) as consumer:
        address = http.apply(ordinary)
        assert consumer.call_at(address, {"n": 7}) == 7
        http.remove(address)
        with pytest.raises(RegistryError):
            consumer.call_at(address, {"n": 8})
        with pytest.raises(RegistryError):  # the schema is fetched again
            consumer.call_at(address, {"n": 9})
    with Consumer([Replay(path)]) as consumer:
        assert consumer.call_at(address, {"n": 7}) == 7
        assert consumer.resolve(address).schema.input["required"] == ["n"]
