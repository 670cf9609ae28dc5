from __future__ import annotations

import json
import math
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from portal import LocalPortal
from portal import function as make
from portal.address import Address
from portal.calls.middleware import Call
from portal.context import CallContext, Identity
from portal.errors import (
    AuthenticationError,
    AuthorizationError,
    CallCancelled,
    CallTimeout,
    CircuitOpenError,
    ConfigError,
    Fault,
    FunctionError,
    OverloadedError,
    PortalError,
    ProtocolError,
    RateLimitError,
    SerializationError,
    TransportError,
    ValidationError,
)
from portal.function import ResolvedFunction
from portal.idempotency.middleware import Idempotency
from portal.idempotency.store import NO_ROOM
from tests.support import valkey
from tests.support.clocks import Clock
from tests.support.ports import free_port

WAIT = 10.0


@make
def work(n: int = 0) -> int:
    return n


@make
def other(n: int = 0) -> int:
    return n


@make(name="work", version="2")
def newer(n: int = 0) -> int:
    return n


@make
def items() -> Iterator[int]:
    yield 1


def call_of(
    key: Any = "key-1",
    params: dict[str, Any] | None = None,
    function: Any = work,
    *,
    name: str | None = None,
    timeout: float | None = None,
) -> Call:
    context = CallContext.for_call(timeout)
    context.idempotency_key = key
    context.identity = None if name is None else Identity(name)
    return Call(function, params or {}, context, streaming=function.schema.streaming)


class Responses:
    """The end of a chain: returns or raises each response in turn, and counts the calls."""

    def __init__(self, *responses: Any) -> None:
        self.responses = list(responses) or [{"sum": 3.5, "rows": [1, None, "ü"]}]
        self.made = 0

    def __call__(self, call: Call) -> Any:
        response = self.responses[min(self.made, len(self.responses) - 1)]
        self.made += 1
        if isinstance(response, BaseException):
            raise response
        return response


class Slow:
    """The end of a chain, which sets `started`, waits for `go`, and then returns or raises its response."""

    def __init__(self, response: Any = "done") -> None:
        self.started = threading.Event()
        self.go = threading.Event()
        self.response = response
        self.made = 0

    def __call__(self, call: Call) -> Any:
        self.made += 1
        self.started.set()
        assert self.go.wait(WAIT)
        if isinstance(self.response, BaseException):
            raise self.response
        return self.response


@pytest.fixture(params=["memory", "store"])
def kept(request: pytest.FixtureRequest, close: Callable[[Any], Any]) -> Callable[..., Idempotency]:
    """Return a function that makes an Idempotency in memory, or with a real server as its store."""
    store = None if request.param == "memory" else request.getfixturevalue("url")

    def open_one(*args: Any, **settings: Any) -> Idempotency:
        one: Idempotency = close(Idempotency(*args, store=store, namespace="test", **settings))
        return one

    return open_one


# settings


@pytest.mark.parametrize(
    "wrong",
    [
        {"window": 0},
        {"window": math.inf},
        {"window": True},
        {"window": "1"},
        {"wait": -1},
        {"lease": 0.01},
        {"max_entries": 0},
        {"max_response_size": 0},
        {"max_bytes": 1.5},
        {"max_bytes": 10},
        {"max_entries_per_client": 0},
        {"max_bytes_per_client": 10},
        {"on_lost_store": "maybe"},
        {"key_prefix": ""},
        {"namespace": ""},
        {"store": "postgres://x"},
    ],
)
def test_a_wrong_setting_is_rejected(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        Idempotency(**wrong)
    assert caught.value.path == f"idempotency.{next(iter(wrong))}"


@pytest.mark.parametrize("key", ["", "a" * 256, "two words", "tab\t", "ü", "line\n", "\x7f", 7])
def test_a_malformed_key_is_rejected(key: Any) -> None:
    with pytest.raises(ProtocolError) as caught:
        Idempotency()(call_of(key), lambda _: pytest.fail("it ran"))
    assert caught.value.status == 400


@pytest.mark.parametrize("key", ["a", "a" * 255, '"8e03978e-40d5-43dd-bc93-6894a57f9324"', "!~"])
def test_a_valid_key_is_accepted(key: str) -> None:
    assert Idempotency()(call_of(key), Responses(1)) == 1


def test_a_stream_with_a_key_is_rejected() -> None:
    with pytest.raises(ProtocolError, match="stream") as caught:
        Idempotency()(call_of(function=items), lambda _: pytest.fail("it ran"))
    assert caught.value.status == 400
    assert Idempotency()(call_of(None, function=items), Responses(1)) == 1


def test_parameters_that_are_not_json_are_rejected() -> None:
    with pytest.raises(SerializationError):
        Idempotency()(call_of(params={"n": math.nan}), lambda _: pytest.fail("it ran"))


def test_calls_without_a_key_pass_through() -> None:
    responses = Responses()
    once = Idempotency()
    for _ in range(2):
        call = call_of(None)
        once(call, responses)
        assert not call.replied
    assert responses.made == 2


# once


def test_the_first_response_is_replayed(kept: Callable[..., Idempotency]) -> None:
    once, responses = kept(), Responses()
    first, second = call_of(params={"a": 1, "b": [1.5]}), call_of(params={"b": [1.5], "a": 1})
    result = once(first, responses)
    again = once(second, responses)
    assert result == again == responses.responses[0]
    assert responses.made == 1
    assert "idempotent-replayed" not in first.reply
    assert second.reply["idempotent-replayed"] == "true"
    again["rows"].clear()
    assert once(call_of(params={"a": 1, "b": [1.5]}), responses) == result


@pytest.mark.parametrize("response", [None, 0, "", [], False, {"error": 1, "private": True}, {"not_kept": "x"}])
def test_any_result_is_replayed(kept: Callable[..., Idempotency], response: Any) -> None:
    once, responses = kept(), Responses(response, "another")
    assert [once(call_of(), responses) for _ in range(2)] == [response, response]


def test_a_key_with_other_parameters_is_rejected(kept: Callable[..., Idempotency]) -> None:
    once = kept()
    once(call_of(params={"n": 1}), Responses())
    with pytest.raises(ProtocolError, match="other parameters") as caught:
        once(call_of(params={"n": 2}), lambda _: pytest.fail("it ran"))
    assert caught.value.status == 422
    assert not caught.value.retryable


@pytest.mark.parametrize(
    "changed",
    [{"name": "bob"}, {"name": None}, {"function": other}, {"function": newer}, {"key": "key-2"}, {"name": "ann\x00"}],
)
def test_keys_are_scoped_to_caller_function_and_version(
    kept: Callable[..., Idempotency], changed: dict[str, Any]
) -> None:
    once, responses = kept(), Responses(1, 2)
    assert once(call_of(name="ann"), responses) == 1
    call = call_of(**{"name": "ann", **changed})
    assert once(call, responses) == 2
    assert not call.replied


def test_after_the_window_the_call_runs_again() -> None:
    clock = Clock()
    once, responses = Idempotency(60.0, clock=clock), Responses(1, 2)
    assert once(call_of(), responses) == 1
    clock.now += 59.9
    assert once(call_of(), responses) == 1
    clock.now += 0.2
    assert once(call_of(params={"n": 2}), responses) == 2


def test_a_response_in_the_store_expires_after_the_window(url: str, close: Callable[[Any], Any]) -> None:
    once = close(Idempotency(60.0, store=url, namespace="test"))
    once(call_of(), Responses())
    with redis.Redis.from_url(url) as client:
        left = {key.rpartition(b":")[2]: client.pttl(key) for key in client.scan_iter()}
    of_share = [left.pop(b"ends"), left.pop(b"sizes")]
    assert [55_000 < time <= 61_000 for time in of_share] == [True, True]
    assert [55_000 < time <= 60_000 for time in left.values()] == [True]


def test_idempotency_in_a_portal() -> None:
    made: list[int] = []

    @make
    def charge(amount: int) -> int:
        made.append(amount)
        if amount < 0:
            raise ValueError("secret words")
        return len(made)

    with LocalPortal(middleware=[Idempotency()]) as portal:
        dispatcher = portal.dispatcher  # type: ignore[attr-defined]
        assert [dispatcher.dispatch(call_of("a", {"amount": 5}, charge)) for _ in range(3)] == [1, 1, 1]
        for _ in range(2):
            call = call_of("b", {"amount": -5}, charge)
            with pytest.raises(FunctionError, match="secret words") as caught:
                dispatcher.dispatch(call)
            assert caught.value.private
            assert caught.value.executed
            assert caught.value.request_id == call.context.request_id
        for _ in range(2):
            with pytest.raises(ValidationError) as rejected:
                dispatcher.dispatch(call_of("c", {"amount": "5"}, charge))
            assert rejected.value.errors[0].path == "/amount"
    assert made == [5, -5]


# errors


def executed(error: PortalError) -> PortalError:
    error.delivery = "executed"
    return error


@pytest.mark.parametrize(
    "error",
    [
        FunctionError("it failed", type="ValueError"),
        ValidationError(errors=[Fault("/a", "must be a number", "type")]),
        ProtocolError("no", status=406),
        TransportError("lost", delivery="unknown"),
        executed(RateLimitError("a nested call was rejected", retry_after=3.0)),
        executed(CallTimeout("a nested call")),
        PortalError("own", code="own_code"),
    ],
    ids=lambda error: f"{type(error).__name__}-{error.executed}",
)
def test_the_error_of_a_call_that_ran_is_replayed(kept: Callable[..., Idempotency], error: PortalError) -> None:
    once, responses = kept(), Responses(error, "another")
    with pytest.raises(PortalError) as first:
        once(call_of(), responses)
    assert first.value is error
    call = call_of()
    with pytest.raises(PortalError) as again:
        once(call, responses)
    assert type(again.value) is type(error)
    replayed, first_error = again.value.to_dict(), error.to_dict()
    replayed.pop("context")
    first_error.pop("context", None)
    assert replayed == first_error
    assert call.reply["idempotent-replayed"] == "true"
    assert responses.made == 1


@pytest.mark.parametrize(
    "error",
    [
        RateLimitError("later", retry_after=1.0),
        OverloadedError("full"),
        CircuitOpenError("open"),
        AuthenticationError("no credential"),
        AuthorizationError("no"),
        CallTimeout("before it began"),
        CallCancelled("before it began"),
        TransportError("not connected", delivery="not_sent"),
        PortalError("again", retryable=True),
        KeyboardInterrupt(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_next_call_runs_after_an_error_from_before_the_function_ran(
    kept: Callable[..., Idempotency], error: BaseException
) -> None:
    once, responses = kept(), Responses(error, "done")
    with pytest.raises(type(error)):
        once(call_of(), responses)
    call = call_of()
    assert once(call, responses) == "done"
    assert not call.replied


def test_a_timeout_at_another_address_is_kept() -> None:
    address = Address.parse("http://a:1/api/work")
    remote = ResolvedFunction(None, schema=work.schema, address=address)  # type: ignore[arg-type]
    once, responses = Idempotency(), Responses(CallTimeout("no response"), "done")
    for _ in range(2):
        with pytest.raises(CallTimeout):
            once(call_of(function=remote), responses)
    assert responses.made == 1


def test_an_exception_of_a_middleware_is_kept_without_its_message() -> None:
    once, responses = Idempotency(), Responses(ZeroDivisionError("secret"), "done")
    with pytest.raises(ZeroDivisionError):
        once(call_of(), responses)
    with pytest.raises(PortalError) as again:
        once(call_of(), responses)
    assert "secret" not in str(again.value.to_dict())


@pytest.mark.parametrize(
    ("response", "words"),
    [
        ("x" * 1000, "larger than 100 bytes"),
        ({1, 2}, "not JSON data"),
        (FunctionError("x" * 1000), "larger than 100 bytes"),
        (PortalError("x", context={"odd": math.nan}), "not JSON data"),
    ],
)
def test_the_fact_of_the_call_is_kept_if_its_response_cannot_be(
    kept: Callable[..., Idempotency], response: Any, words: str
) -> None:
    if isinstance(response, PortalError):
        response.delivery = "executed"
    once, responses = kept(max_response_size=100), Responses(response, "another")
    with nullcontext() if not isinstance(response, PortalError) else pytest.raises(type(response)):
        assert once(call_of(), responses) == response
    with pytest.raises(ProtocolError, match=words) as caught:
        once(call_of(), responses)
    assert caught.value.status == 409
    assert caught.value.executed
    assert responses.made == 1


# at the same time


def test_concurrent_calls_run_once(kept: Callable[..., Idempotency]) -> None:
    once, slow = kept(), Slow({"n": 1})
    with ThreadPoolExecutor(16) as pool:
        calls = [call_of(timeout=WAIT) for _ in range(16)]
        responses = [pool.submit(once, call, slow) for call in calls]
        assert slow.started.wait(WAIT)
        slow.go.set()
        assert [response.result(WAIT) for response in responses] == [{"n": 1}] * 16
    assert slow.made == 1
    assert sum("idempotent-replayed" in call.reply for call in calls) == 15


def test_a_waiter_runs_if_the_first_response_is_not_kept(kept: Callable[..., Idempotency]) -> None:
    once, slow, responses = kept(), Slow(OverloadedError("full")), Responses("done")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(once, call_of(), slow)
        assert slow.started.wait(WAIT)
        second = pool.submit(once, call_of(), responses)
        slow.go.set()
        with pytest.raises(OverloadedError):
            first.result(WAIT)
        assert second.result(WAIT) == "done"


def while_running(once: Idempotency, then: Callable[[], None], slow: Slow | None = None) -> None:
    slow = slow or Slow()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(once, call_of(), slow)
        try:
            assert slow.started.wait(WAIT)
            then()
        finally:
            slow.go.set()
        assert first.result(WAIT) == "done"


def test_a_waiter_stops_at_its_deadline(kept: Callable[..., Idempotency]) -> None:
    once = kept()

    def then() -> None:
        with pytest.raises(CallTimeout) as caught:
            once(call_of(timeout=0.05), lambda _: pytest.fail("it ran"))
        assert caught.value.timeout == pytest.approx(0.05, abs=0.03)

    while_running(once, then)


def test_a_waiter_stops_after_the_wait_setting(kept: Callable[..., Idempotency]) -> None:
    once = kept(wait=0.03)

    def then() -> None:
        call = call_of()
        with pytest.raises(ProtocolError, match="is still running") as caught:
            once(call, lambda _: pytest.fail("it ran"))
        assert caught.value.status == 409
        assert caught.value.retryable
        assert call.reply == {"retry-after": "1"}

    while_running(once, then)


def test_a_waiter_can_be_cancelled(kept: Callable[..., Idempotency]) -> None:
    once = kept()

    def then() -> None:
        call = call_of()
        threading.Timer(0.03, call.context.cancel).start()
        with pytest.raises(CallCancelled):
            once(call, lambda _: pytest.fail("it ran"))
        with pytest.raises(CallCancelled):
            once(call, lambda _: pytest.fail("it ran"))

    while_running(once, then)


def test_a_key_with_other_parameters_is_rejected_without_waiting(kept: Callable[..., Idempotency]) -> None:
    once = kept()

    def then() -> None:
        with pytest.raises(ProtocolError, match="other parameters"):
            once(call_of(params={"n": 5}), lambda _: pytest.fail("it ran"))

    while_running(once, then)


# in memory


def test_a_full_store_rejects_new_keys_and_forgets_none() -> None:
    clock = Clock()
    once, responses = Idempotency(60.0, max_entries=8, clock=clock), Responses()
    for key in "ab":
        once(call_of(key), responses)
    call = call_of("c")
    with pytest.raises(RateLimitError, match="too many idempotency keys of this client are kept") as caught:
        once(call, responses)
    assert caught.value.retry_after == 60.0
    assert call.reply["retry-after"] == "60"
    for key in "ab":
        once(call_of(key), responses)
    assert responses.made == 2
    for name in ("ann", "bob", "eve"):
        for key in "ab":
            once(call_of(key, name=name), responses)
    with pytest.raises(OverloadedError, match="too many idempotency keys are kept") as full:
        once(call_of("a", name="joe"), responses)
    assert full.value.retry_after == 60.0
    assert responses.made == 8
    assert once.counters() == {
        "idempotency_keys": 8,
        "idempotency_bytes": 8 * len(json.dumps({"result": responses.responses[0]}, separators=(",", ":"))),
        "idempotency_rejected": 1,
        "idempotency_rejected_per_client": 1,
    }
    clock.now += 60
    once(call_of("c"), responses)
    assert once.counters()["idempotency_keys"] == 1


def test_the_memory_is_limited() -> None:
    once, responses = Idempotency(max_response_size=100, max_bytes=1000, max_bytes_per_client=250), Responses("x" * 80)
    accepted = 0
    for number in range(20):
        with suppress(RateLimitError):
            once(call_of(str(number)), responses)
            accepted += 1
    assert accepted == responses.made == 3
    with pytest.raises(ProtocolError, match="larger than the room that was left") as caught:
        once(call_of("2"), responses)
    assert (caught.value.status, caught.value.executed) == (409, True)
    assert once.counters()["idempotency_bytes"] == 2 * len('{"result":""}') + 160 + len(NO_ROOM)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40)), max_size=40))
def test_a_call_in_memory_runs_again_only_after_its_window(history: list[tuple[int, int]]) -> None:
    clock = Clock()
    once, ran = Idempotency(100.0, clock=clock), {}
    for key, pause in history:
        clock.now += pause
        call = call_of(f"k{key}")
        value = once(call, lambda _: clock.now)
        if key in ran and clock.now < ran[key] + 100:
            assert value == ran[key]
            assert call.replied
        else:
            assert value == clock.now
            assert not call.replied
            ran[key] = value


# a shared store


_ONE_CALL = """
import json, os, sys
from portal import function
from portal.idempotency.middleware import Idempotency
from portal.calls.middleware import Call
from portal.context import CallContext

work = function(lambda: 1, name="work")
once = Idempotency(store=sys.argv[1], namespace="test", lease=float(sys.argv[2]))
context = CallContext()
context.idempotency_key = "key-1"

def response(call):
    if sys.argv[3] == "hang":
        print("running", flush=True)
        sys.stdin.readline()
        sys.stdin.readline()
    return os.getpid()

if sys.argv[3] != "hang":
    print("ready", flush=True)
    sys.stdin.readline()
print(json.dumps([once(Call(work, {}, context), response), os.getpid()]))
once.close()
"""


def test_processes_share_responses(url: str) -> None:
    processes = [valkey.program(_ONE_CALL, url, "30", "go") for _ in range(3)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    with ThreadPoolExecutor(3) as pool:
        rows = list(pool.map(valkey.last_json_line, processes))
    assert len({response for response, _ in rows}) == 1
    assert rows[0][0] in {pid for _, pid in rows}


def test_a_process_that_died_frees_its_keys(url: str, close: Callable[[Any], Any]) -> None:
    process = valkey.program(_ONE_CALL, url, "0.6", "hang")
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    once = close(Idempotency(store=url, namespace="test", lease=0.6))
    with pytest.raises(CallTimeout):
        once(call_of(timeout=1.0), lambda _: pytest.fail("it ran"))  # the live process renews its lease
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=WAIT)
    assert once(call_of(timeout=WAIT), Responses("mine")) == "mine"


@pytest.mark.parametrize("response", [Responses("done"), Responses(OverloadedError("full"))])
def test_a_running_call_succeeds_without_its_store(close: Callable[[Any], Any], response: Responses) -> None:
    with valkey.running() as server:
        once = close(Idempotency(store=server.connection_url, namespace="test"))

        def end(call: Call) -> Any:
            server.terminate()
            return response(call)

        fails = isinstance(response.responses[0], OverloadedError)
        with pytest.raises(OverloadedError) if fails else nullcontext():
            assert once(call_of(), end) == "done"
        assert response.made == 1


@pytest.mark.parametrize("on_lost_store", ["closed", "open"])
def test_on_lost_store_rejects_or_runs_calls(close: Callable[[Any], Any], on_lost_store: Any) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    once, responses = close(Idempotency(store=url, namespace="test", on_lost_store=on_lost_store)), Responses("done")
    call = call_of()
    if on_lost_store == "open":
        assert once(call, responses) == "done"
        assert not call.replied
    else:
        with pytest.raises(OverloadedError) as caught:
            once(call, responses)
        assert caught.value.retry_after == 1.0
        assert call.reply == {"retry-after": "1"}
        assert responses.made == 0
    assert once(call_of(None), Responses("free")) == "free"


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # the test forks a process with threads on purpose
def test_a_forked_process_has_its_own_claims(url: str, close: Callable[[Any], Any]) -> None:
    once = close(Idempotency(store=url, namespace="test"))
    slow = Slow()

    def then() -> None:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:  # pragma: no cover - its coverage is lost with os._exit
            text = "failed"
            try:
                store = once._store
                value = once(call_of("of-the-child"), Responses("child"))
                text = json.dumps([value, len(store._held)])
                once.close()
            except BaseException as error:
                text = json.dumps(repr(error))
            finally:
                os.write(write, text.encode())
                os._exit(0)
        os.close(write)
        with os.fdopen(read) as pipe:
            assert json.loads(pipe.read()) == ["child", 0]
        os.waitpid(child, 0)

    while_running(once, then, slow)
