"""An unsigned entry of a directory names the server of an attacker: no way of calling sends it a secret."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from typing import Any

import pytest

from portal import Consumer, HTTPPortal, Policy, PortalError, Retry, WebSocketPortal, function
from portal.auth import BearerAuth
from portal.auth.credentials import BearerToken
from portal.directory import Instance, PolledDirectory
from portal.directory.memory import MemoryStore
from portal.directory.record import Record, Served, encode
from portal.directory.source import RecordSource
from portal.resilience import Hedge
from tests.support.ports import free_port
from tests.support.spy import Spy
from tests.support.waiting import WAIT

SECRET = "the-secret-of-the-caller"
CREDENTIALS: dict[str, Any] = {
    "by address": lambda address: SECRET,
    "token": BearerToken(lambda: SECRET),  # which can be renewed
    "password": ("ann", SECRET),
    "key": {"X-API-Key": SECRET},
}
TRACES = (SECRET.encode(), base64.b64encode(f"ann:{SECRET}".encode()))
PARAMS = {"a": 1, "b": 2}


@function(idempotent=True)
def add(a: int, b: int) -> int:
    return a + b


@function
def ticks(count: int) -> Iterator[int]:
    yield from range(count)


class Open(MemoryStore):
    """A store that anybody may write."""

    restricted = False


class Attack:
    """A directory that anybody may write, and the servers of an attacker.

    Attributes:
        spy: listed in the directory; a portal is behind it.
        other: not listed.
    """

    def __init__(self, stack: ExitStack, auth: Any, *, protected: bool) -> None:
        checks = BearerAuth({"another": "bob"}) if protected else None
        backend = stack.enter_context(HTTPPortal(auth=checks))
        backend.apply(add)
        backend.apply(ticks)
        socket = stack.enter_context(WebSocketPortal(auth=checks))
        socket.apply(add)
        socket.topic("news")
        self._stack = stack
        self.spy, self.other = stack.enter_context(Spy(backend.port)), stack.enter_context(Spy(backend.port))
        self.socket_spy = stack.enter_context(Spy(socket.port))
        self.store = Open()
        self.directory = stack.enter_context(closing(PolledDirectory(RecordSource(self.store, None, 0.01))))
        self.consumer = stack.enter_context(Consumer(directory=self.directory, auth=auth, timeout=WAIT))

    def serve(self, response: str, before: Callable[[], object] = bool) -> Spy:
        """Return a server that sends these lines as its response."""
        head = response.replace("\n", "\r\n") + "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        return self._stack.enter_context(Spy(response=head.encode(), before=before))

    def list(self, name: str, *addresses: str, owner: str = "attacker") -> None:
        served = tuple(Served(name, Instance(address)) for address in addresses)
        self.store.register(owner, encode(Record(served, 600.0), owner, None), 600.0)

    def list_spy(self, name: str = "add") -> str:
        """List the spy, let the consumer read that, and return the address."""
        address = f"http://127.0.0.1:{self.spy.port}/api/{name}"
        self.list(name, address)
        self.consumer.explain(name)
        return address


def _call(attack: Attack) -> Spy:
    attack.list_spy()
    attack.consumer.call("add", PARAMS)
    return attack.spy


def _call_at(attack: Attack) -> Spy:
    attack.consumer.call_at(attack.list_spy(), PARAMS)
    return attack.spy


def _resolved(attack: Attack) -> Spy:
    attack.consumer.resolve(attack.list_spy())(1, 2)
    return attack.spy


def _list(attack: Attack) -> Spy:
    attack.consumer.list_at(attack.list_spy().removesuffix("/add"))
    return attack.spy


def _submit(attack: Attack) -> Spy:
    attack.consumer.submit_at(attack.list_spy(), PARAMS).result(WAIT)
    return attack.spy


def _notify(attack: Attack) -> Spy:
    attack.consumer.notify_at(attack.list_spy(), PARAMS)
    assert attack.spy.reached.wait(WAIT)
    return attack.spy


def _map(attack: Attack) -> Spy:
    attack.consumer.call_at(attack.list_spy(), PARAMS)
    list(attack.consumer.map_at(attack.list_spy(), [PARAMS] * 200))  # in JSON-RPC batches
    return attack.spy


def _stream(attack: Attack) -> Spy:
    attack.list_spy("ticks")
    list(attack.consumer.stream("ticks", {"count": 3}))
    return attack.spy


def _websocket(attack: Attack) -> Spy:
    attack.list("add", f"ws://127.0.0.1:{attack.socket_spy.port}/ws/add")
    attack.consumer.call("add", PARAMS)
    return attack.socket_spy


def _subscribe(attack: Attack) -> Spy:
    address = f"ws://127.0.0.1:{attack.socket_spy.port}/ws/news"
    attack.list("news", address)
    attack.consumer.explain("news")
    with attack.consumer.subscribe(address, timeout=WAIT):
        return attack.socket_spy
    return attack.socket_spy


def _other_scheme(attack: Attack) -> Spy:
    """The entry has the scheme http, and the caller uses the same host by WebSocket."""
    attack.list("add", f"http://127.0.0.1:{attack.socket_spy.port}/api/add")
    attack.consumer.explain("add")
    attack.consumer.call_at(f"ws://127.0.0.1:{attack.socket_spy.port}/ws/add", PARAMS)
    return attack.socket_spy


def _redirect(attack: Attack) -> Spy:
    evil = attack.serve(f"HTTP/1.1 307 Temporary Redirect\nLocation: http://127.0.0.1:{attack.other.port}/api/add")
    attack.list("add", f"http://127.0.0.1:{evil.port}/api/add")
    with suppress(PortalError):
        attack.consumer.call("add", PARAMS)
    return evil


def _websocket_redirect(attack: Attack) -> Spy:
    evil = attack.serve(f"HTTP/1.1 302 Found\nLocation: ws://127.0.0.1:{attack.other.port}/ws/add")
    attack.list("add", f"ws://127.0.0.1:{evil.port}/ws/add")
    with suppress(PortalError):
        attack.consumer.call("add", PARAMS)
    return evil


def _fail_over(attack: Attack) -> Spy:
    attack.list("add", f"http://127.0.0.1:{free_port()}/api/add", f"http://127.0.0.1:{attack.spy.port}/api/add")
    for _ in range(4):
        with suppress(PortalError):
            attack.consumer.call("add", PARAMS)
    return attack.spy


def _hedge(attack: Attack) -> Spy:
    silent = attack.serve("HTTP/1.1 100 Continue")
    attack.list("add", f"http://127.0.0.1:{silent.port}/api/add", f"http://127.0.0.1:{attack.spy.port}/api/add")
    policy = Policy(hedge=Hedge(initial_delay=0.01, min_delay=0.01))
    for _ in range(4):
        with suppress(PortalError):
            attack.consumer.call("add", PARAMS, policy=policy)
    return attack.spy


def _retry(attack: Attack) -> Spy:
    evil = attack.serve("HTTP/1.1 503 Service Unavailable\nRetry-After: 0")
    attack.list("add", f"http://127.0.0.1:{evil.port}/api/add")
    with suppress(PortalError):
        attack.consumer.call("add", PARAMS, policy=Policy(retry=Retry(attempts=3, initial_backoff=0.001)))
    return evil


def _rejected(attack: Attack) -> Spy:
    evil = attack.serve('HTTP/1.1 401 Unauthorized\nWWW-Authenticate: Bearer realm="x", error="invalid_token"')
    attack.list("add", f"http://127.0.0.1:{evil.port}/api/add")
    with suppress(PortalError):
        attack.consumer.call("add", PARAMS)
    return evil


def _delisted(attack: Attack) -> Spy:
    """The entry is gone when the server asks for another credential."""

    def delist() -> None:
        attack.store.withdraw("attacker", None)
        attack.directory.poll()

    evil = attack.serve('HTTP/1.1 401 Unauthorized\nWWW-Authenticate: Bearer error="invalid_token"', delist)
    attack.list("add", f"http://127.0.0.1:{evil.port}/api/add")
    with suppress(PortalError):
        attack.consumer.call("add", PARAMS)
    return evil


WAYS = [
    *(_call, _call_at, _resolved, _list, _submit, _notify, _map, _stream, _websocket, _subscribe, _other_scheme),
    *(_redirect, _websocket_redirect, _fail_over, _hedge, _retry, _rejected, _delisted),
]


CASES = [(way, "by address") for way in WAYS]
CASES += [
    (way, auth) for way in (_call, _websocket, _rejected, _delisted) for auth in CREDENTIALS if auth != "by address"
]


@pytest.mark.parametrize(("way", "auth"), CASES, ids=[f"{way.__name__.strip('_')}-{auth}" for way, auth in CASES])
@pytest.mark.parametrize("protected", [False, True], ids=["open", "asks"])
def test_the_attacker_gets_no_secret(way: Callable[[Attack], Spy], protected: bool, auth: str) -> None:
    with ExitStack() as stack:
        attack = Attack(stack, CREDENTIALS[auth], protected=protected)
        try:
            spy = way(attack)
        except PortalError:
            assert protected, "an open server gives results"
            spy = attack.spy if attack.spy.received else attack.socket_spy
        assert spy.received, "the attack did not reach its server"
        seen = attack.spy.received + attack.socket_spy.received + attack.other.received + spy.received
    assert not any(trace in seen for trace in TRACES)


@pytest.mark.parametrize("auth", CREDENTIALS)
def test_the_same_credential_goes_to_a_server_that_the_caller_names(auth: str) -> None:
    """Otherwise the test above could not fail."""
    with ExitStack() as stack:
        attack = Attack(stack, CREDENTIALS[auth], protected=False)
        attack.consumer.call_at(f"http://127.0.0.1:{attack.other.port}/api/add", PARAMS)
        assert any(trace in attack.other.received for trace in TRACES)
