"""No caller gets the response of another, erases its keys or runs its call twice: over HTTP, JSON-RPC and WSGI."""

from __future__ import annotations

import http.client
import io
import json
import threading
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import compress
from typing import Any, NamedTuple
from wsgiref.util import setup_testing_defaults

import pytest
import redis

from portal import (
    BearerAuth,
    CallContext,
    ConfigError,
    Consumer,
    Function,
    HTTPPortal,
    Idempotency,
    Identity,
    LocalPortal,
    RateLimit,
    Service,
    When,
    function,
)
from portal.calls.item_key import ItemKey
from portal.http import AuthFailureLimit
from portal.testing import TestingPortal
from tests.support import valkey

WAIT = 10.0


class Reply(NamedTuple):
    """The status, the headers by lower-case name, and the JSON body of a response."""

    status: int
    headers: dict[str, str]
    body: Any


Send = Callable[..., Reply]


def over_http(portal: Any, path: str, body: Any, *, client: str = "127.0.0.1", **headers: str) -> Reply:
    """Post JSON from a loopback address."""
    connection = http.client.HTTPConnection("127.0.0.1", portal.port, timeout=WAIT, source_address=(client, 0))
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request("POST", f"/api/{path}", json.dumps(body), {"Content-Type": "application/json", **names})
        response = connection.getresponse()
        data = response.read()
    finally:
        connection.close()
    rows = {name.lower(): value for name, value in response.getheaders()}
    return Reply(response.status, rows, json.loads(data) if data else None)


def over_wsgi(portal: HTTPPortal, path: str, body: Any, *, client: str = "127.0.0.1", **headers: str) -> Reply:
    """Post JSON to the portal as a WSGI application."""
    data = json.dumps(body).encode()
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": f"/api/{path}",
        "REMOTE_ADDR": client,
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(data)),
        "wsgi.input": io.BytesIO(data),
        **{f"HTTP_{name.upper()}": value for name, value in headers.items()},
    }
    setup_testing_defaults(environ)
    found: list[Any] = []

    def start(status: str, rows: list[tuple[str, str]], error: Any = None) -> None:
        found[:] = [int(status.split()[0]), {name.lower(): value for name, value in rows}]

    text = b"".join(portal(environ, start))
    return Reply(found[0], found[1], json.loads(text) if text else None)


def over_rpc(portal: Any, path: str, body: Any, **settings: Any) -> Reply:
    """Send one call as a JSON-RPC message; return its result, or its error with the status 0."""
    message = {"jsonrpc": "2.0", "id": 1, "method": path.replace("/", "."), "params": body}
    reply = over_http(portal, "rpc", message, **settings)
    if "error" not in reply.body:
        return reply._replace(body=reply.body["result"])
    error = reply.body["error"]
    return Reply(0, reply.headers, {**error["data"], "detail": error["message"]})


@pytest.fixture(params=[over_http, over_wsgi, over_rpc])
def send(request: pytest.FixtureRequest) -> Any:
    """Return a function that makes one call of a portal, over each protocol."""
    return request.param


# a key of a batch item is never a single key


def batch(method: str, count: int) -> list[dict[str, Any]]:
    return [{"jsonrpc": "2.0", "id": number, "method": method, "params": {"cents": 5}} for number in range(count)]


def charges(ran: list[str | None]) -> Callable[..., int]:
    def charge(cents: int, context: CallContext) -> int:
        ran.append(context.idempotency_key)
        return len(ran)

    return charge


@pytest.mark.parametrize(
    ("key", "index", "single"),
    [
        ("order", 0, "order.0"),
        ("order", 11, "order.11"),
        ("order.0", 0, "order.0.0"),
        ("o" * 253, 1, "o" * 253 + ".1"),
        ("order", 0, "order"),
        ("order", 1, ItemKey.of("order", 1)),
    ],
)
@pytest.mark.parametrize("post", [over_http, over_wsgi])
def test_a_batch_item_and_a_single_call_never_share_a_key(post: Send, key: str, index: int, single: str) -> None:
    ran: list[str | None] = []
    with HTTPPortal(middleware=[Idempotency()]) as portal:
        portal.apply(charges(ran))
        of_batch = post(portal, "rpc", batch("charge", index + 1), idempotency_key=key)
        assert [one["result"] for one in of_batch.body] == list(range(1, index + 2))
        alone = post(portal, "charge", {"cents": 5}, idempotency_key=single)
        assert (alone.body, alone.headers.get("idempotent-replayed")) == (index + 2, None)
        again = post(portal, "rpc", batch("charge", index + 1), idempotency_key=key)
        assert again.body == of_batch.body
    assert len(ran) == index + 2


def test_a_function_may_pass_the_key_of_its_item_on() -> None:
    """The server that gets it cannot confuse it with a single key either."""
    ran: list[str | None] = []
    with HTTPPortal(middleware=[Idempotency()]) as inner, HTTPPortal() as outer, Consumer() as consumer:
        address = inner.apply(charges(ran))

        def order(cents: int, context: CallContext) -> int:
            found: int = consumer.call_at(address, {"cents": cents}, idempotency_key=context.idempotency_key)
            return found

        outer.apply(order)
        for _ in range(2):
            reply = over_http(outer, "rpc", batch("order", 2), idempotency_key="order")
            assert [one["result"] for one in reply.body] == [1, 2]
        assert over_http(outer, "order", {"cents": 5}, idempotency_key="order.0").body == 3


# callers without identity are their networks


def is_first(send: Send, portal: HTTPPortal, **settings: str) -> bool:
    """Call with the key "k"; return whether the function ran."""
    reply = send(portal, "charge", {"cents": 5}, idempotency_key="k", **settings)
    assert isinstance(reply.body, int)
    return "idempotent-replayed" not in reply.headers


def test_callers_without_identity_do_not_share_keys(send: Send) -> None:
    ran: list[str | None] = []
    with HTTPPortal(middleware=[Idempotency()]) as portal:
        portal.apply(charges(ran))
        assert is_first(send, portal, client="127.0.0.2")
        assert is_first(send, portal, client="127.0.0.3")
        assert not is_first(send, portal, client="127.0.0.2")
        assert not is_first(send, portal, client="127.0.0.3")
    assert len(ran) == 2


def test_an_ipv6_network_is_one_caller() -> None:
    with HTTPPortal(middleware=[Idempotency()]) as portal:
        portal.apply(charges([]))
        assert is_first(over_wsgi, portal, client="2001:db8::1")
        assert not is_first(over_wsgi, portal, client="2001:db8::ffff:2")
        assert is_first(over_wsgi, portal, client="2001:db8:0:1::1")
        assert is_first(over_wsgi, portal, client="192.0.2.1")
        assert not is_first(over_wsgi, portal, client="::ffff:192.0.2.1")


def optional_identity(request: Any) -> Identity | None:
    return Identity(request.headers["x-token"]) if "x-token" in request.headers else None


def test_a_caller_is_its_identity_at_any_address(send: Send) -> None:
    with HTTPPortal(auth=optional_identity, middleware=[Idempotency()]) as portal:
        portal.apply(charges([]))
        for token in ("ann", "network:127.0.0.2", "identity:ann", "None"):
            assert is_first(send, portal, client="127.0.0.2", x_token=token)
            assert not is_first(send, portal, client="127.0.0.3", x_token=token)


def test_an_identity_is_not_a_network() -> None:
    """A middleware may set an identity for some callers only."""

    def identify(call: Any, call_next: Any) -> Any:
        name = call.params["cents"]
        call.context.identity = None if not name else Identity({1: "network:", 2: ""}[name])
        call.params = {"cents": 0}
        return call_next(call)

    ran: list[str | None] = []
    with LocalPortal(middleware=[identify, Idempotency()]) as portal, Consumer([portal]) as consumer:
        address = portal.apply(charges(ran))
        for _ in range(2):
            for number in range(3):
                assert consumer.call_at(address, {"cents": number}, idempotency_key="k") == number + 1
    assert len(ran) == 3


def test_clients_behind_a_trusted_proxy_are_kept_apart(send: Send) -> None:
    with HTTPPortal(middleware=[Idempotency()], trusted_proxies=["127.0.0.2"]) as portal:
        portal.apply(charges([]))
        for client in ("192.0.2.1", "192.0.2.2", "evil, 192.0.2.3"):
            assert is_first(send, portal, client="127.0.0.2", x_forwarded_for=client)
            assert not is_first(send, portal, client="127.0.0.2", x_forwarded_for=client)
        assert not is_first(send, portal, client="127.0.0.2", x_forwarded_for="192.0.2.1, 192.0.2.3")


def test_a_caller_cannot_choose_its_network(send: Send) -> None:
    with HTTPPortal(middleware=[Idempotency()]) as portal:
        portal.apply(charges([]))
        assert is_first(send, portal, client="127.0.0.2")
        assert is_first(send, portal, client="127.0.0.3", x_forwarded_for="127.0.0.2", forwarded="for=127.0.0.2")


def named(value: str) -> Function:
    """Return a function charge, without parameters, that returns the value."""

    @function
    def charge() -> str:
        return value

    return charge


def test_services_of_a_local_portal_do_not_share_keys() -> None:
    with LocalPortal(middleware=[Idempotency()]) as portal, Consumer([portal]) as consumer:
        for name in ("east", "west"):
            portal.apply_service(Service(name, [named(name)]))
        for _ in range(2):
            for name in ("east", "west"):
                assert consumer.call_at(f"local://{name}/charge", idempotency_key="k") == name


def test_a_consumer_does_not_take_the_response_of_another_server() -> None:
    with HTTPPortal() as east, HTTPPortal() as west, Consumer(middleware=[Idempotency()]) as consumer:
        addresses = [east.apply(named("east")), west.apply(named("west"))]
        for _ in range(2):
            assert [consumer.call_at(address, idempotency_key="k") for address in addresses] == ["east", "west"]


# portals with one store are kept apart by their names


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with valkey.running() as server:
        yield server


@pytest.fixture
def url(server: Any) -> str:
    with redis.Redis.from_url(server.connection_url) as client:
        client.flushall()
    return str(server.connection_url)


_PORTAL = """
import json, os, sys
from portal import HTTPPortal, Idempotency

def charge(cents: int) -> int:
    return os.getpid()

with HTTPPortal(name=sys.argv[2], middleware=[Idempotency(store=sys.argv[1])]) as portal:
    portal.apply(charge)
    print(portal.port, flush=True)
    sys.stdin.readline()
"""


class OfPort(NamedTuple):
    """Stands for a portal of another process."""

    port: int


@pytest.mark.parametrize("send", [over_http, over_rpc])
def test_processes_with_one_store_share_responses_only_under_one_name(url: str, send: Send) -> None:
    names = ["shop", "shop", "shop:2", "Shop"]
    with ExitStack() as stack:
        processes = [stack.enter_context(valkey.program(_PORTAL, url, name)) for name in names]
        for process in processes:
            stack.callback(process.kill)
        ports = [int(process.stdout.readline()) for process in processes if process.stdout is not None]
        for _ in range(2):
            found = [send(OfPort(port), "charge", {"cents": 5}, idempotency_key="k").body for port in ports]
            first, *others = [process.pid for process in processes]
            assert found == [first, first, *others[1:]]
        for process in processes:
            process.communicate("end\n", timeout=WAIT)


def both_run(send: Send, east: HTTPPortal, west: HTTPPortal) -> bool:
    """Call a function of each portal twice with one key; return whether each one's ran, and once."""
    ran: list[str | None] = []
    for portal in (east, west):
        portal.apply(charges(ran))
    first = [is_first(send, portal) for portal in (east, west, east, west)]
    return (first, len(ran)) == ([True, True, False, False], 2)


@pytest.mark.parametrize(
    ("names", "apart"),
    [
        (("east", "west"), True),
        (("a:b", "a%3Ab"), True),
        (("a", "a:default"), True),
        (("\u00e4", "a\u0308"), True),
        (("east", "east"), False),
    ],
)
def test_the_names_of_portals_keep_responses_apart(send: Send, url: str, names: tuple[str, str], apart: bool) -> None:
    one, other = names
    with (
        HTTPPortal(name=one, middleware=[Idempotency(store=url)]) as east,
        HTTPPortal(name=other, middleware=[Idempotency(store=url)]) as west,
    ):
        assert both_run(send, east, west) == apart


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("wrap", [lambda once: once, lambda once: When(once, functions="charge")], ids=["", "When"])
def test_one_middleware_in_two_portals_keeps_both_apart(url: str, shared: bool, wrap: Callable[[Any], Any]) -> None:
    once = wrap(Idempotency(store=url if shared else None))
    with HTTPPortal(name="a", middleware=[once]) as east, HTTPPortal(name="b", middleware=[once]) as west:
        assert both_run(over_http, east, west)
        east.close()
        assert not is_first(over_http, west)  # closing one portal does not end the store of the other


def test_portals_without_a_name_are_kept_apart_in_one_process(send: Send) -> None:
    once = Idempotency()
    with HTTPPortal(middleware=[once]) as east, HTTPPortal(middleware=[once]) as west:
        assert both_run(send, east, west)


def test_a_namespace_holds_for_portals_of_any_name(url: str) -> None:
    with (
        HTTPPortal(name="a", middleware=[Idempotency(store=url, namespace="payments")]) as east,
        HTTPPortal(middleware=[Idempotency(store=url, namespace="payments")]) as west,
    ):
        assert not both_run(over_http, east, west)


def test_a_local_portal_has_a_name_too(url: str) -> None:
    ran: list[str | None] = []
    for name in ("a", "b", "a"):
        for kind in (LocalPortal, TestingPortal):
            with kind(name=name, middleware=[Idempotency(store=url)]) as portal, Consumer([portal]) as consumer:
                consumer.call_at(portal.apply(charges(ran)), {"cents": 5}, idempotency_key="k")
    assert len(ran) == 2


URL = "redis://127.0.0.1:1/0"


@pytest.mark.parametrize(
    ("open_one", "path"),
    [
        (lambda: HTTPPortal(middleware=[Idempotency(store=URL)]), "idempotency.namespace"),
        (lambda: LocalPortal(middleware=[Idempotency(store=URL)]), "idempotency.namespace"),
        (lambda: HTTPPortal(middleware=[RateLimit("1/s", store=URL)]), "rate_limit.namespace"),
        (lambda: HTTPPortal(middleware=[When(RateLimit("1/s", store=URL), functions="f")]), "rate_limit.namespace"),
        (lambda: HTTPPortal(http_middleware=[AuthFailureLimit("1/s", store=URL)]), "auth_failure_limit.namespace"),
        (lambda: Consumer(middleware=[Idempotency(store=URL)]), "idempotency.namespace"),
        (lambda: Consumer().use(Idempotency(store=URL)), "idempotency.namespace"),
    ],
)
def test_a_shared_store_requires_a_name(open_one: Callable[[], Any], path: str) -> None:
    with pytest.raises(ConfigError, match="must be set for a shared store, unless the portal has a name=") as caught:
        open_one()
    assert caught.value.path == path


@pytest.mark.parametrize("limit", [RateLimit("1/s", store=URL), Idempotency(store=URL)])
def test_middleware_that_no_portal_has_bound_rejects_calls(limit: Any) -> None:
    """A middleware around it may hide it from the portal."""
    with HTTPPortal(name="a", middleware=[lambda call, call_next: limit(call, call_next)]) as portal:
        portal.apply(charges([]))
        reply = over_http(portal, "charge", {"cents": 5}, idempotency_key="k")
        assert (reply.status, reply.body["code"]) == (500, "config_error")


def test_limits_in_a_store_are_counted_apart(url: str) -> None:
    limit, failures = RateLimit("1/day", store=url), AuthFailureLimit("1/day", store=url)
    portals = [
        HTTPPortal(name=name, auth=BearerAuth({"good": "ann"}), middleware=[limit], http_middleware=[failures])
        for name in ("a", "b", "a")
    ]
    with portals[0], portals[1], portals[2]:
        for portal in portals:
            portal.apply(named("paid"))
        send = partial(over_http, path="charge", body={}, authorization="Bearer good")
        assert [send(portal).status for portal in portals] == [200, 200, 429]
        wrong = partial(over_http, path="charge", body={}, authorization="Bearer guess")
        assert [wrong(portal).status for portal in portals] == [401, 401, 401]
        assert [wrong(portal).status for portal in portals] == [429, 429, 429]


# no caller erases the keys of another


VICTIM, ATTACKER = "127.0.0.2", "127.0.0.3"


class Shop:
    """A portal whose functions count how often they ran; the victim has paid with the key "order"."""

    def __init__(self, send: Send, **settings: Any) -> None:
        self.send = send
        self.ran: Counter[int] = Counter()
        self.portal = HTTPPortal(middleware=[Idempotency(**settings)], name="shop")
        self.portal.apply(self.pay)
        self.portal.apply(self.text)
        self.portal.apply(self.fail)

    def pay(self, order: int) -> int:
        self.ran[order] += 1
        return self.ran[order]

    def text(self, size: int) -> str:
        return "x" * size

    def fail(self, order: int) -> int:
        self.ran[order] += 1
        raise ValueError("failed")

    def call(self, client: str, name: str, key: str, **params: int) -> Reply:
        reply: Reply = self.send(self.portal, name, params, client=client, idempotency_key=key)
        return reply

    def attack(self, name: str, calls: int, **params: int) -> list[Reply]:
        """Call with new keys; return the replies."""
        return [self.call(ATTACKER, name, f"key-{number}", **params) for number in range(calls)]

    def check_victim(self) -> None:
        """Require that the victim's payment does not run again, and that the victim can pay with new keys."""
        assert self.call(VICTIM, "pay", "order", order=1).body == 1
        assert self.call(VICTIM, "pay", "next", order=2).body == 1
        assert self.call(VICTIM, "pay", "next", order=2).body == 1
        assert (self.ran[1], self.ran[2]) == (1, 1)

    def __enter__(self) -> Shop:
        self.portal.start()
        assert self.call(VICTIM, "pay", "order", order=1).body == 1
        return self

    def __exit__(self, *exc: object) -> None:
        self.portal.close()


def rejected(replies: list[Reply]) -> list[bool]:
    """Return which replies are rejections for the share of the client, which say when to try again."""
    found = [isinstance(reply.body, dict) and reply.body.get("code") == "rate_limited" for reply in replies]
    for reply in compress(replies, found):
        assert reply.status in (429, 0)
        assert int(reply.headers["retry-after"]) > 80_000
    return found


@pytest.fixture(params=["memory", "store"])
def store(request: pytest.FixtureRequest) -> Any:
    """Return the setting of a store in this process, and in a server."""
    return None if request.param == "memory" else request.getfixturevalue("url")


def test_a_caller_that_fills_the_store_erases_no_key(send: Send, store: Any) -> None:
    with Shop(send, store=store, max_entries=40) as shop:
        assert rejected(shop.attack("pay", 50, order=5)) == [False] * 10 + [True] * 40
        shop.check_victim()
        replies = shop.attack("pay", 10, order=5)  # nor its own: they do not run again
        assert [reply.headers.get("idempotent-replayed") for reply in replies] == ["true"] * 10
        assert shop.ran[5] == 10
        assert shop.portal.stats()["middleware"]["idempotency_rejected_per_client"] == 40
        assert shop.portal.stats()["middleware"]["idempotency_rejected"] == 0


def test_a_caller_cannot_fill_the_store_with_large_responses(send: Send, store: Any) -> None:
    with Shop(send, store=store, max_bytes=64_000, max_response_size=5_000) as shop:
        found = rejected(shop.attack("text", 40, size=4_900))  # of 16,000 bytes
        assert found == sorted(found)
        assert 3 <= found.count(False) < 30
        again = shop.attack("text", 5, size=4_900)
        assert [reply.headers.get("idempotent-replayed") for reply in again] == ["true"] * 5
        assert [reply.body == "x" * 4_900 for reply in again] == [True, True, True, False, False]
        assert "was larger than the room that was left" in json.dumps(again[3].body)
        shop.check_victim()


def test_a_caller_cannot_fill_the_store_with_failures(send: Send, store: Any) -> None:
    with Shop(send, store=store, max_entries=40) as shop:
        assert sum(rejected(shop.attack("fail", 50, order=7))) == 40
        assert shop.ran[7] == 10
        shop.check_victim()


@pytest.mark.parametrize("post", [over_http, over_wsgi])
def test_a_caller_cannot_fill_the_store_with_a_batch(post: Send, store: Any) -> None:
    with Shop(post, store=store, max_entries=40) as shop:
        message = {"jsonrpc": "2.0", "method": "pay", "params": {"order": 5}}
        items = [message | {"id": number} for number in range(30)]
        for key, accepted in (("one", 10), ("two", 0)):
            replies = post(shop.portal, "rpc", items, client=ATTACKER, idempotency_key=key).body
            codes = Counter(reply.get("error", {}).get("data", {}).get("code", "") for reply in replies)
            assert (codes[""], codes["rate_limited"]) == (accepted, 30 - accepted)
        assert shop.ran[5] == 10
        shop.check_victim()


def test_running_calls_count_for_the_share_of_their_caller() -> None:
    gate, entered = threading.Event(), threading.Semaphore(0)

    def wait() -> bool:
        entered.release()
        return gate.wait(WAIT)

    with Shop(over_http, max_entries=16) as shop, ThreadPoolExecutor(4) as threads:
        shop.portal.apply(wait)
        calls = [threads.submit(shop.call, ATTACKER, "wait", f"wait-{number}") for number in range(4)]
        for _ in calls:
            assert entered.acquire(timeout=WAIT)
        reply = shop.call(ATTACKER, "pay", "more", order=5)
        assert (reply.status, reply.headers["retry-after"], shop.ran[5]) == (429, "1", 0)
        shop.check_victim()
        gate.set()
        assert [call.result(WAIT).body for call in calls] == [True] * 4


def test_keys_that_are_rejected_take_no_memory() -> None:
    with Shop(over_wsgi, max_entries=200) as shop:
        shop.attack("pay", 60, order=5)
        tracemalloc.start()
        try:
            for number in range(500):
                shop.call(ATTACKER, "pay", f"warm-{number}", order=5)
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            for number in range(2_000):
                shop.call(ATTACKER, "pay", f"more-{number}", order=5)
            after, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert max(after, peak) - before < 200_000
        shop.check_victim()


_ATTACK = """
import json, sys
from portal import Idempotency, RateLimitError, function
from portal.calls.middleware import Call
from portal.context import CallContext

work = function(lambda: 1, name="pay")
once = Idempotency(store=sys.argv[1], namespace="shop", max_entries=40)
sys.stdin.readline()
accepted = 0
for number in range(100):
    call = Call(work, {}, CallContext(idempotency_key=f"{sys.argv[2]}-{number}"), peer="127.0.0.3")
    try:
        accepted += once(call, lambda call: 1)
    except RateLimitError:
        pass
print(json.dumps(accepted))
"""


def test_processes_together_give_a_caller_one_share(url: str) -> None:
    with Shop(over_http, store=url, max_entries=40) as shop:
        processes = [valkey.program(_ATTACK, url, name) for name in "ab"]
        with ThreadPoolExecutor(2) as threads:
            assert sum(threads.map(valkey.last_json_line, processes)) == 10
        shop.check_victim()
