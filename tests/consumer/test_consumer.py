"""Consumer: calls, settings, messages, and its life."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from portal import (
    AddressError,
    AuthenticationError,
    BearerAuth,
    CallContext,
    CallTimeout,
    ConfigError,
    Consumer,
    ConsumerError,
    FunctionError,
    HTTPPortal,
    LocalPortal,
    Portal,
    ProtocolError,
    RateLimit,
    RegistryError,
    ResponseCache,
    Retry,
    TransportError,
    ValidationError,
    WebSocketPortal,
    function,
)
from portal.calls.middleware import Call, CallNext
from portal.http import CORS, HTTPClient, HTTPResolver
from portal.testing import recording

WAIT = 10.0


def add(a: float, b: float) -> float:
    return a + b


@pytest.mark.parametrize("address", ["add", "", "local://", "http://", "local://a b", 3])
def test_a_malformed_address_is_rejected(address: Any) -> None:
    with Consumer() as consumer, pytest.raises(AddressError):
        consumer.call_at(address)


def test_an_unknown_scheme_is_rejected() -> None:
    with Consumer() as consumer, pytest.raises(RegistryError, match="gopher"):
        consumer.call_at("gopher://add")


def test_middleware_runs_around_each_call(local: LocalPortal) -> None:
    seen: list[str] = []

    def note(call: Call, call_next: CallNext) -> Any:
        seen.append(f"{call.function.name} {call.address}")
        return call_next(call)

    with Consumer([local], middleware=[note]) as consumer:
        assert consumer.use(note) is consumer
        assert consumer.call_at("local://add", {"a": 1, "b": 2}) == 3.0
    assert seen == ["add local://add"] * 2


def test_a_failed_notification_is_logged(local: LocalPortal, caplog: pytest.LogCaptureFixture) -> None:
    logged = threading.Event()

    class Seen(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            logged.set()

    def broken(call: Call, call_next: CallNext) -> Any:
        raise KeyError("broken")

    handler, logger = Seen(), logging.getLogger("portal.consumer")
    logger.addHandler(handler)
    try:
        with Consumer([local]) as consumer:
            consumer.notify_at("local://fail")
            assert logged.wait(WAIT)
            logged.clear()
            consumer.use(broken)
            consumer.notify_at("local://add", {"a": 1, "b": 2}, timeout=5)
            assert logged.wait(WAIT)
            with pytest.raises(RegistryError):
                consumer.notify_at("local://nobody")
    finally:
        logger.removeHandler(handler)
    assert "notification of fail failed" in caplog.text


def test_a_closed_consumer_rejects_calls(local: LocalPortal) -> None:
    consumer = Consumer([local])
    consumer.submit_at("local://add", {"a": 1, "b": 2}).result(WAIT)
    consumer.close()
    consumer.close()
    for use in (consumer.call_at, consumer.resolve, consumer.submit_at):
        with pytest.raises(ConsumerError, match="closed"):
            use("local://add")
    assert not local.closed


def test_a_call_with_no_time_left_is_late(local: LocalPortal) -> None:
    with Consumer([local]) as consumer, pytest.raises(CallTimeout):
        consumer.call_at("local://add", {"a": 1, "b": 2}, timeout=-1)


def test_list_at_lists_what_a_server_publishes(local: LocalPortal) -> None:
    with HTTPPortal() as http, Consumer() as consumer:
        http.apply(add)
        assert consumer.list_at(str(http.base))["functions"][0]["name"] == "add"
        with pytest.raises(RegistryError):
            consumer.list_at("local://add")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_opens_connections_of_its_own() -> None:
    with HTTPPortal() as http, Consumer() as consumer:
        address = str(http.apply(add))
        assert consumer.call_at(address, {"a": 1, "b": 2}) == 3.0
        child = os.fork()
        if child == 0:  # pragma: no cover
            code = 1
            try:
                code = 0 if consumer.call_at(address, {"a": 2, "b": 2}, timeout=WAIT) == 4.0 else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert consumer.call_at(address, {"a": 3, "b": 2}) == 5.0


def test_many_threads_share_one_consumer() -> None:
    with HTTPPortal() as http, Consumer() as consumer:
        address = http.apply(add)
        results: list[float] = []

        def work(base: int) -> None:
            results.extend(consumer.call_at(address, {"a": base, "b": n}) - base for n in range(50))

        threads = [threading.Thread(target=work, args=(n * 1000,)) for n in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(results) == sorted([float(n) for n in range(50)] * 16)


def test_the_fast_path_keeps_context_counters_and_errors() -> None:
    seen: list[CallContext | None] = []

    def probe(n: int) -> int:
        seen.append(CallContext.current())
        if n < 0:
            raise ValueError("negative")
        return n if n else None  # type: ignore[return-value]

    with LocalPortal() as portal, Consumer() as consumer:
        resolved = consumer.resolve(portal.apply(probe))
        assert resolved(n=5) == 5
        with pytest.raises(FunctionError, match="negative") as caught:
            resolved(n=-1)
        assert (caught.value.executed, caught.value.private) == (True, True)
        assert caught.value.request_id == seen[1].request_id  # type: ignore[union-attr]
        assert isinstance(caught.value.__cause__, ValueError)
        with pytest.raises(FunctionError, match="does not fit") as wrong:
            resolved(n=0)
        assert wrong.value.request_id
        with pytest.raises(ValidationError):
            resolved(n="5")
        assert seen[0] is not None
        assert seen[0] is not seen[1]
        assert CallContext.current() is None
        assert portal.stats() == {"functions": 1, "calls": 3, "failed": 2, "running": 0, "expired": 0}
        outer = CallContext(request_id="outer")
        with outer.active():
            assert resolved(n=6) == 6
        assert seen[-1] is not None
        assert seen[-1].request_id == "outer"


def test_threads_that_call_when_the_consumer_is_closed() -> None:
    with HTTPPortal() as http:
        address = str(http.apply(add))
        consumer, called, wrong = Consumer(), threading.Semaphore(0), []

        def call() -> None:
            try:
                for number in range(1_000_000):
                    assert consumer.call_at(address, {"a": number, "b": 1}) == number + 1
                    called.release()
            except ConsumerError:
                return
            except BaseException as error:
                wrong.append(error)

        threads = [threading.Thread(target=call) for _ in range(8)]
        for thread in threads:
            thread.start()
        for _ in range(200):
            assert called.acquire(timeout=WAIT)
        consumer.close()
        for thread in threads:
            thread.join(WAIT)
            assert not thread.is_alive()
        assert not wrong
        assert consumer.portals() == []


# credentials and a cache with portals that were given


def test_the_credential_of_a_client_comes_before_that_of_the_consumer(tmp_path: Path) -> None:
    runs: list[str] = []

    @function(cacheable=True)
    def whoami(context: CallContext) -> str:
        assert context.identity is not None
        runs.append(context.identity.name)
        return context.identity.name

    with HTTPPortal(auth=BearerAuth({"t-ann": "ann", "t-bob": "bob"}), max_age=60) as http:
        address = http.apply(whoami)
        with Consumer(http=HTTPClient(), auth="t-ann", cache=ResponseCache()) as consumer:
            assert [consumer.call_at(address), consumer.call_at(address)] == ["ann", "ann"]
            assert runs == ["ann"]
            assert consumer.list_at(http.base)["functions"]
        with HTTPPortal(http=HTTPClient(auth="t-bob")) as client:
            with recording(tmp_path / "calls.json", client) as kept, Consumer([kept]) as consumer:
                assert consumer.call_at(address) == "bob"
            with Consumer([client]) as consumer:
                assert consumer.resolvers() == consumer.portals() == [client]
                assert consumer.call_at(address) == "bob"
        resolver = HTTPResolver()
        with Consumer([resolver]) as consumer, pytest.raises(AuthenticationError) as caught:
            consumer.call_at(address)
        resolver.close()
        assert "auth=" in caught.value.hint
        own = HTTPClient(auth="t-bob")  # the client's own credential is more specific
        with Consumer(http=own, auth="t-ann") as consumer:
            assert consumer.call_at(address) == "bob"


def test_a_credential_beside_a_remote_resolver_is_rejected() -> None:
    """The resolver would not use it, so it must not be dropped in silence."""
    for settings in ({"auth": "t"}, {"cache": ResponseCache()}):
        with pytest.raises(ConfigError, match=r"HTTPResolver\(HTTPClient\(auth=..., cache=...\)\)"):
            Consumer([HTTPResolver()], **settings)
    with LocalPortal() as local, Consumer([local], auth="t") as consumer:
        assert consumer.resolvers() == [local]


def test_a_resolver_that_fails_to_close_does_not_keep_the_rest_open(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Closing:
        closed = 0

        def __call__(self, call: Call, call_next: Any) -> Any:
            return call_next(call)

        def close(self) -> None:
            self.closed += 1

    close = HTTPResolver.close

    def fail(resolver: HTTPResolver) -> None:
        close(resolver)
        raise OSError("the disk is full")

    middleware = Closing()
    with HTTPPortal() as http, monkeypatch.context() as patch:
        consumer = Consumer(middleware=[middleware])
        assert consumer.call_at(http.apply(add), {"a": 1, "b": 2}) == 3.0
        patch.setattr(HTTPResolver, "close", fail)
        consumer.close()
    assert middleware.closed == 1
    assert "closing the resolver HTTPResolver failed" in caplog.text


def test_a_resolver_that_was_closed_opens_connections_again() -> None:
    resolver = HTTPResolver()
    with HTTPPortal() as http, Consumer([resolver]) as consumer:
        address = http.apply(add)
        assert consumer.call_at(address, {"a": 1, "b": 2}) == 3.0
        resolver.close()
        assert consumer.call_at(address, {"a": 1, "b": 2}) == 3.0
        resolver.close()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"portals": "http://127.0.0.1:8080"}, "consumer.portals must be a list of resolvers or portals, got"),
        ({"resolvers": LocalPortal()}, "consumer.resolvers must be a list of resolvers or portals"),
        ({"portals": ["http://127.0.0.1:8080"]}, "pass the address to call_at"),
        ({"cache": 100}, "consumer.cache must be a ResponseCache, or None, got 100"),
        ({"timeout": "3"}, "consumer.timeout must be seconds above 0, or None, got '3'"),
        ({"timeout": True}, "consumer.timeout must be seconds above 0, or None, got True"),
        ({"timeout": float("inf")}, "consumer.timeout must be seconds above 0, or None, got inf"),
        ({"auth": "Bearer t0ken"}, 'without "Bearer " before it'),
        ({"middleware": Retry()}, "a list of callables"),
        ({"middleware": [Retry]}, r"must be a list of instances, such as Retry\(...\)"),
        ({"middleware": [3]}, "must be a list of callables.*got 3"),
        ({"middleware": [CORS("*")]}, "holds CORS, which applies to a request: pass it in http_middleware="),
    ],
)
def test_a_wrong_setting_is_rejected(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Consumer(**settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"config": {"workers": 8}}, "http.config must be a ServingConfig, or None, got {'workers': 8}"),
        ({"http": "x"}, "http must be an HTTPClient, got 'x'"),
        ({"port": "8080"}, "listener.port must be a whole number from 0 to 65,535, got '8080'"),
        ({"base_path": "api"}, 'http.base_path must be "" or a path such as "/api", got \'api\''),
        ({"middleware": [CORS("*")]}, "applies to a request: pass it in http_middleware="),
        ({"middleware": [RateLimit]}, "must be a list of instances, such as RateLimit"),
        ({"http_middleware": [RateLimit("1/second")]}, "applies to a call: pass it in middleware="),
    ],
)
def test_a_wrong_setting_of_an_http_portal_is_rejected(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        HTTPPortal(**settings)


# texts


def test_a_result_that_does_not_fit_returns_is_rejected(local: LocalPortal) -> None:
    said = "the result of add does not fit returns=str: value: must be a string, got a number"
    with Consumer([local]) as consumer, pytest.raises(ValidationError, match=said):
        consumer.call_at("local://add", {"a": 1, "b": 2}, returns=str)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("127.0.0.1:8080/api/add", r"no scheme \(such as http://\)"),
        ("localhost:8080/api/add", "such as http://"),
        ("add", "such as local://"),
    ],
)
def test_the_error_of_an_address_without_a_scheme_suggests_one(text: str, said: str) -> None:
    with Consumer() as consumer, pytest.raises(AddressError, match=said):
        consumer.call_at(text)


def test_the_errors_of_a_wrong_scheme_path_and_type_say_what_to_do() -> None:
    with HTTPPortal() as http, Consumer() as consumer:
        address = str(http.apply(add))
        with pytest.raises(TransportError, match="the server does not use TLS on this port; try http://") as caught:
            consumer.call_at(address.replace("http:", "https:"))
        assert not caught.value.may_have_executed
        with pytest.raises(RegistryError, match="nothing is served at /add; served paths: /api, /docs") as missing:
            consumer.call_at(f"http://127.0.0.1:{http.port}/add")
        assert missing.value.kind == "not_found"
        for listing in (consumer.list_at, consumer.service):
            with pytest.raises(RegistryError, match=r"served paths: /api, .*; a base address ends as in \.\.\./api"):
                listing(f"http://127.0.0.1:{http.port}")
        with pytest.raises(ValidationError, match=r"got Decimal; convert it with Schema.of\(Decimal\).dump\(value\)"):
            consumer.call_at(address, {"a": Decimal(1), "b": 2})
        for value in (b"ab", Line("PEN"), date(2026, 1, 31)):
            name = type(value).__name__
            with pytest.raises(ValidationError, match=rf"got {name}; convert it with Schema.of\({name}\)"):
                consumer.call_at(address, {"a": value, "b": 2})


@dataclass
class Line:
    sku: str
    quantity: int = 1


class Colour(Enum):
    RED = "red"


class Place(NamedTuple):
    row: int
    day: date


@pytest.mark.parametrize("kind", [LocalPortal, HTTPPortal])
def test_a_resolved_function_takes_native_values_at_every_address(kind: type[Portal]) -> None:
    @function
    def order(lines: list[Line], colour: Colour, place: Place, price: Decimal) -> str:
        return f"{lines[0].sku} x {lines[0].quantity}, {colour.name}, {place.row} {place.day}, {price}"

    @function
    def each(line: Line) -> Iterator[str]:
        yield line.sku

    with kind() as portal, Consumer() as consumer:
        resolved = consumer.resolve(portal.apply(order))
        place = Place(3, date(2026, 1, 2))
        said = resolved([Line("PEN")], Colour.RED, place=place, price=Decimal("1.20"))
        assert said == "PEN x 1, RED, 3 2026-01-02, 1.20"
        assert list(consumer.resolve(portal.apply(each))(Line("PEN"))) == ["PEN"]


@pytest.mark.parametrize("kind", [LocalPortal, HTTPPortal])
def test_the_error_of_a_called_stream_says_how_to_read_it(kind: type[Portal]) -> None:
    def count(to: int) -> Iterator[int]:
        yield from range(to)

    with kind() as portal, Consumer() as consumer:
        address = portal.apply(count)
        with pytest.raises(ProtocolError, match="count is a stream; iterate it with stream or stream_at") as caught:
            consumer.call_at(address, {"to": 2})
        assert caught.value.status == 406


def test_a_timeout_must_be_a_number(local: LocalPortal) -> None:
    with Consumer([local]) as consumer, pytest.raises(ConfigError, match="timeout must be seconds, got '2'"):
        consumer.call_at("local://add", {"a": 1, "b": 2}, timeout="2")  # type: ignore[arg-type]


def test_a_call_after_its_deadline_is_not_made() -> None:
    with HTTPPortal() as http, Consumer() as consumer:
        address = http.apply(add)
        for _ in range(2):  # before and after the schema is known
            with pytest.raises(CallTimeout, match="was not called: the deadline had already passed"):
                consumer.call_at(address, {"a": 1, "b": 2}, timeout=0)
            assert consumer.call_at(address, {"a": 1, "b": 2}) == 3.0


def test_a_notification_carries_its_idempotency_key_and_rejects_unknown_options(local: LocalPortal) -> None:
    seen, arrived = list[str | None](), threading.Event()

    def note(call: Call, call_next: CallNext) -> Any:
        seen.append(call.context.idempotency_key)
        arrived.set()
        return call_next(call)

    with Consumer([local], middleware=[note]) as consumer:
        consumer.notify_at("local://add", {"a": 1, "b": 2}, idempotency_key="order-17")
        assert arrived.wait(WAIT)
        assert seen == ["order-17"]
        with pytest.raises(TypeError, match="idempotency_keys"):
            consumer.notify_at("local://add", {"a": 1, "b": 2}, idempotency_keys="order-17")  # type: ignore[call-arg]


@pytest.mark.parametrize("portal_class", [LocalPortal, HTTPPortal, WebSocketPortal])
def test_the_error_of_a_stream_at_its_deadline_is_about_its_end(portal_class: Any) -> None:
    def endless(context: CallContext) -> Iterator[int]:
        cancelled = threading.Event()
        context.on_cancel(cancelled.set)
        yield 1
        cancelled.wait(WAIT)
        yield 2

    with portal_class() as portal, Consumer() as consumer:
        items = consumer.stream_at(portal.apply(endless), timeout=1.0)
        assert next(items) == 1
        with pytest.raises(
            CallTimeout, match=r"^the stream of .*endless.* did not end within [\d.]+ s, after 1 item; it may still be"
        ):
            next(items)
