from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis
import valkey as valkey_package

from portal import LocalPortal
from portal import function as make
from portal._internal.redis_client import StoreClient, StoreUnavailable
from portal.calls.middleware import Call, build_chain
from portal.context import CallContext, Identity
from portal.errors import ConfigError, OverloadedError, RateLimitError
from portal.limits.rate_limit import RateLimit
from tests.support import valkey
from tests.support.clocks import Clock
from tests.support.ports import free_port

SECOND = 1_000_000
ALGORITHMS = ["token_bucket", "sliding_window"]


@make
def work(n: int = 0) -> int:
    return n


@make
def other() -> int:
    return 0


def call_of(function: Any = work, *, peer: str = "1.2.3.4", name: str | None = None) -> Call:
    identity = None if name is None else Identity(name)
    return Call(function, {}, CallContext(identity=identity), peer=peer)


def passes(limit: RateLimit, call: Call | None = None) -> bool:
    try:
        return limit(call or call_of(), lambda _: True) is True
    except RateLimitError:
        return False


def passed(limit: RateLimit, times: int, make_call: Callable[[], Call] = call_of) -> int:
    return sum(passes(limit, make_call()) for _ in range(times))


@pytest.mark.parametrize(
    "text",
    [
        *("", "100", "/minute", "0/minute", "1/0s", "-1/s", "1.5/s", "1/week", "1/1.5s", "1/s/s", "9999999999/s"),
        *("1/900d", "٣/s", "1/Second", None, 100),
    ],
)
def test_a_wrong_rate_is_rejected(text: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        RateLimit(text)
    assert caught.value.path == "rate_limit.rate"
    assert "100/minute" in caught.value.expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"burst": 0},
        {"burst": True},
        {"burst": 5, "algorithm": "sliding_window"},
        {"algorithm": "fixed"},
        {"per": "planet"},
        {"per": ["client"]},
        {"functions": []},
        {"functions": [work]},
        {"functions": 7},
        {"on_lost_store": "maybe"},
        {"key_prefix": ""},
        {"name": 'a"b'},
        {"namespace": "line\n"},
        {"max_entries": 0},
        {"store": "http://localhost"},
        {"store": "redis://localhost:nowhere"},
        {"store": object()},
        {"store": redis.Redis(socket_timeout=None)},
    ],
)
def test_a_wrong_setting_is_rejected(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        RateLimit("1/s", **wrong)
    assert caught.value.path.removeprefix("rate_limit.") == next(iter(wrong))


def test_a_password_is_not_repeated_in_an_error() -> None:
    with pytest.raises(ConfigError) as caught:
        RateLimit("1/s", store="redis://ann:secret@host:port")
    assert "secret" not in str(caught.value.to_dict())


# what is said


def test_every_reply_has_the_remaining_quota() -> None:
    clock = Clock()
    limit = RateLimit("2/minute", clock=clock)
    first, second, third = call_of(), call_of(), call_of()
    assert passes(limit, first)
    assert first.reply == {"ratelimit": '"default";r=1;t=30', "ratelimit-policy": '"default";q=2;w=60'}
    clock.now += 10
    assert passes(limit, second)
    assert second.reply["ratelimit"] == '"default";r=0;t=50'
    with pytest.raises(RateLimitError) as caught:
        limit(third, lambda _: pytest.fail("it ran"))
    assert caught.value.retry_after == 20.0
    assert third.reply == {
        "ratelimit": '"default";r=0;t=50',
        "ratelimit-policy": '"default";q=2;w=60',
        "retry-after": "20",
    }


def test_a_call_that_fails_has_the_headers_too() -> None:
    call = call_of()
    with pytest.raises(ZeroDivisionError):
        RateLimit("2/minute")(call, lambda _: 1 / 0)
    assert call.reply["ratelimit"].startswith('"default";r=1')


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_rejected_call_passes_after_retry_after(algorithm: Any) -> None:
    clock = Clock(1_000_000.123)
    limit = RateLimit("7/30s", algorithm=algorithm, clock=clock)
    refused = 0
    for _ in range(40):
        clock.now += 0.7
        wait = None
        try:
            limit(call_of(), lambda _: None)
        except RateLimitError as error:
            wait = error.retry_after
        if wait is not None:
            refused += 1
            clock.now += wait - 0.000_01
            assert not passes(limit)
            clock.now += 0.000_01
            assert passes(limit)
    assert refused > 5


def test_limits_compose() -> None:
    limits = [RateLimit("5/second", name="each"), RateLimit("2/day", per="global", name="all")]
    chain = build_chain(limits, lambda call: "ok")
    call = call_of()
    assert chain(call) == "ok"
    assert call.reply["ratelimit"] == '"each";r=4;t=1, "all";r=1;t=43200'
    assert call.reply["ratelimit-policy"] == '"each";q=5;w=1, "all";q=2;w=86400'
    chain(call_of())
    with pytest.raises(RateLimitError, match=r'the limit is 2/day \("all"\)'):
        chain(call_of())


def test_it_is_call_middleware() -> None:
    with LocalPortal(middleware=[RateLimit("1/day")]) as portal:
        resolved = portal.resolve_function(portal.apply(make(lambda: 1, name="one")))
        assert resolved() == 1
        with pytest.raises(RateLimitError) as caught:
            resolved()
        assert caught.value.request_id


# who is counted


def test_clients_are_counted_apart() -> None:
    limit = RateLimit("1/day")
    assert passes(limit, call_of(peer="1.2.3.4"))
    assert passes(limit, call_of(peer="1.2.3.5"))
    assert not passes(limit, call_of(peer="1.2.3.4"))
    assert passes(limit, call_of(peer="2001:db8:1:2::1"))
    assert not passes(limit, call_of(peer="2001:db8:1:2::ffff"))


def test_identities_are_counted_apart_and_the_anonymous_by_address() -> None:
    limit = RateLimit("1/day", per="identity")
    assert passes(limit, call_of(name="ann"))
    assert not passes(limit, call_of(name="ann", peer="5.6.7.8"))
    assert passes(limit, call_of(name="bob"))
    assert passes(limit, call_of())
    assert not passes(limit, call_of())
    assert passes(limit, call_of(name="client:1.2.3.4"))
    assert passes(limit, call_of(name="a" * 5000))
    assert passes(limit, call_of(name="a" * 5001))
    assert not passes(limit, call_of(name="a" * 5000))
    assert passes(limit, call_of(name="\ud800"))


@pytest.mark.parametrize(("per", "passed_by_identity"), [("client", False), ("identity", False), ("network", True)])
def test_a_client_is_its_identity_at_any_address(per: Any, passed_by_identity: bool) -> None:
    limit = RateLimit("1/day", per=per)
    assert passes(limit, call_of(name="ann", peer="1.2.3.4"))
    assert passes(limit, call_of(name="ann", peer="5.6.7.8")) == passed_by_identity
    assert passes(limit, call_of(name="bob", peer="1.2.3.4")) != passed_by_identity


def test_functions_are_counted_apart() -> None:
    limit = RateLimit("1/day", per="function")
    assert passes(limit, call_of(work))
    assert passes(limit, call_of(other, peer="5.6.7.8"))
    assert not passes(limit, call_of(work, peer="5.6.7.8"))


def test_a_callable_returns_the_key() -> None:
    limit = RateLimit("1/day", per=lambda call: call.peer[:3])
    assert passes(limit, call_of(peer="1.2.3.4"))
    assert not passes(limit, call_of(peer="1.2.9.9"))


@pytest.mark.parametrize("functions", ["work", ["work"], lambda function: function.name == "work"])
def test_only_some_functions_are_limited(functions: Any) -> None:
    limit = RateLimit("1/day", per="global", functions=functions)
    free = call_of(other)
    assert [passes(limit, call_of(other)), passes(limit, call_of(work)), passes(limit, free)] == [True] * 3
    assert not free.replied
    assert not passes(limit, call_of(work))


def test_burst_is_what_a_rested_caller_may_do_at_once() -> None:
    clock = Clock()
    limit = RateLimit("100/second", burst=10, clock=clock)
    assert passed(limit, 300) == 10
    clock.now += 0.05
    assert passed(limit, 300) == 5
    clock.now += 60
    assert passed(limit, 300) == 10


def test_a_clock_that_goes_back_gives_nothing_back() -> None:
    clock = Clock()
    for algorithm in ALGORITHMS:
        limit = RateLimit("3/minute", algorithm=algorithm, clock=clock)  # type: ignore[arg-type]
        assert passed(limit, 5) == 3
        clock.now -= 500
        assert passed(limit, 5) == 0


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_sixteen_threads_pass_exactly_what_is_allowed(algorithm: Any) -> None:
    limit = RateLimit("100/minute", algorithm=algorithm, clock=Clock())
    together = threading.Barrier(16)

    def run(_: int) -> int:
        together.wait(10)
        return passed(limit, 200)

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(run, range(16))) == 100


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_keys_in_memory_are_bounded_and_the_least_recently_used_goes(algorithm: Any) -> None:
    limit = RateLimit("1/day", algorithm=algorithm, max_entries=3, per=lambda call: call.peer)
    for peer in "abc":
        assert passes(limit, call_of(peer=peer))
    assert not passes(limit, call_of(peer="a"))
    assert passes(limit, call_of(peer="d"))
    assert not passes(limit, call_of(peer="a"))
    assert passes(limit, call_of(peer="b"))
    assert len(limit._take.__self__) == 3  # type: ignore[attr-defined]


# a shared store


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with valkey.running() as server:
        yield server


@pytest.fixture
def url(server: Any) -> str:
    with redis.Redis.from_url(server.connection_url) as client:
        client.flushall()
    return str(server.connection_url)


@pytest.fixture
def close() -> Iterator[Callable[[Any], Any]]:
    opened: list[Any] = []

    def add(one: Any) -> Any:
        opened.append(one)
        return one

    yield add
    for one in opened:
        one.close()


_CALLS = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from portal import function
from portal.calls.middleware import Call
from portal.limits.rate_limit import RateLimit
from portal.context import CallContext
from portal.errors import RateLimitError

work = function(lambda: 1, name="work")
limit = RateLimit(sys.argv[2], algorithm=sys.argv[3], store=sys.argv[1], namespace="test", on_lost_store="closed")

def passes(_):
    try:
        return limit(Call(work, {}, CallContext(), peer="1.2.3.4"), lambda call: 1)
    except RateLimitError:
        return 0

print("ready", flush=True)
sys.stdin.readline()
with ThreadPoolExecutor(16) as pool:
    print(json.dumps(sum(pool.map(passes, range(250)))))
limit.close()
"""


@pytest.mark.parametrize(("rate", "algorithm"), [("100/minute", "sliding_window"), ("100/day", "token_bucket")])
def test_two_processes_share_one_limit_exactly(url: str, rate: str, algorithm: str) -> None:
    processes = [valkey.program(_CALLS, url, rate, algorithm) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(valkey.last_json_line, processes)) == 100


@pytest.mark.parametrize("decode", [False, True])
@pytest.mark.parametrize("package", [redis.Redis, valkey_package.Valkey])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_client_may_be_given(
    url: str, close: Callable[[Any], Any], package: Any, algorithm: Any, decode: bool
) -> None:
    client = close(package.from_url(url, socket_timeout=2, decode_responses=decode))
    limit = RateLimit("3/day", algorithm=algorithm, store=client, namespace="test")
    call = call_of()
    assert passes(limit, call)
    assert call.reply["ratelimit"].startswith('"default";r=2;t=')
    assert passed(limit, 5) == 2
    with pytest.raises(RateLimitError) as caught:
        limit(call_of(), lambda _: None)
    assert caught.value.retry_after is not None
    assert 28_000 < caught.value.retry_after <= 2 * 86_400
    limit.close()
    assert client.ping()  # what is not ours stays open
    assert all(0 < client.pttl(key) <= 2 * 86_400_000 + 1 for key in client.scan_iter())


def test_what_differs_is_counted_apart_in_the_store(url: str, close: Callable[[Any], Any]) -> None:
    settings: list[dict[str, Any]] = [
        {},
        {"burst": 2},
        {"algorithm": "sliding_window"},
        {"per": "global"},
        {"per": "function"},
        {"name": "second"},
        {"key_prefix": "mine"},
        {"namespace": "other"},
    ]
    store = url.replace("redis", "valkey")
    limits = [close(RateLimit("1/day", store=store, **{"namespace": "test", **one})) for one in settings]
    assert [passes(limit) for limit in limits] == [True] * len(settings)
    assert not passes(close(RateLimit("1/day", store=url, namespace="test")))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_fast_bucket_is_not_forgotten_by_the_store(url: str, close: Callable[[Any], Any], algorithm: Any) -> None:
    """100 a second with a burst of 10 fills in a tenth of a second; throttled-py 3.5 let every call pass."""
    burst = {"burst": 10} if algorithm == "token_bucket" else {}
    limit = close(RateLimit("100/second", algorithm=algorithm, store=url, namespace="test", **burst))
    began = time.monotonic()
    through = passed(limit, 150)
    most = 10 + 100 * (time.monotonic() - began) + 1 if burst else 100 * (2 + time.monotonic() - began)
    assert 10 <= through <= most
    assert through < 150 or time.monotonic() - began > 0.5


def test_a_store_on_a_unix_socket(tmp_path: Path, close: Callable[[Any], Any]) -> None:
    path = tmp_path / "valkey.sock"
    with valkey.running(port=0, unix_socket_path=path):
        limit = close(RateLimit("1/day", store=f"unix://{path}", namespace="test", on_lost_store="closed"))
        assert passed(limit, 3) == 1


# a lost store


def dead_url() -> str:
    return f"redis://127.0.0.1:{free_port()}/0"


def test_an_unavailable_store_lets_calls_pass_and_logs_one_warning(
    close: Callable[[Any], Any], caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    limit = close(RateLimit("1/day", store=dead_url(), namespace="test", clock=clock))
    with caplog.at_level(logging.WARNING, "portal.calls"):
        call = call_of()
        assert passes(limit, call)
        assert not call.replied
        for _ in range(30):
            clock.now += 0.9
            assert passes(limit)
        assert len(caplog.records) == 1
        clock.now += 60
        assert passes(limit)
        assert len(caplog.records) == 2


def test_an_unavailable_store_rejects_calls_with_closed(close: Callable[[Any], Any]) -> None:
    limit = close(RateLimit("1/day", store=dead_url(), namespace="test", on_lost_store="closed"))
    call = call_of()
    with pytest.raises(OverloadedError) as caught:
        limit(call, lambda _: pytest.fail("it ran"))
    assert caught.value.retry_after == 1.0
    assert call.reply == {"retry-after": "1"}


def test_a_server_killed_in_the_middle_is_noticed_and_its_return_too(close: Callable[[Any], Any]) -> None:
    clock = Clock()
    with valkey.running() as server:
        port, url = server.port, server.connection_url
        closed = close(
            RateLimit("2/day", store=url, namespace="test", on_lost_store="closed", clock=clock, name="closed")
        )
        opened = close(RateLimit("2/day", store=url, namespace="test", clock=clock, name="open"))
        assert [passes(closed), passes(opened)] == [True, True]
        server.terminate()
        began = time.monotonic()
        for _ in range(200):
            with pytest.raises(OverloadedError):
                closed(call_of(), lambda _: None)
            assert passes(opened)
        assert time.monotonic() - began < 3
        server._desired_port = port
        server.start()
        with pytest.raises(OverloadedError):
            closed(call_of(), lambda _: None)  # the store is not used for a second
        clock.now += 1.1
        assert passed(closed, 3) == 2  # the store came back empty
        assert passed(opened, 3) == 2


def test_waiting_for_a_silent_store_is_bounded_and_one_waits_at_a_time() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(16)
        clock = Clock()
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        link = StoreClient(url, path="store", timeout=0.05, clock=clock)
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            link.run(lambda client: client.ping())
        assert 0.04 < time.monotonic() - began < 2
        clock.now += 1.1
        asked: list[int] = []

        def ask(client: Any) -> Any:
            asked.append(1)
            with pytest.raises(StoreUnavailable, match="not used for now"):
                link.run(lambda _: asked.append(2))
            return "pong"

        assert link.run(ask) == "pong"
        assert link.run(lambda _: "again") == "again"
        assert asked == [1]
        link.close()
