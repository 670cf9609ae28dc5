"""A directory's store that answers garbage, is full or frozen, or that somebody without the key writes."""

from __future__ import annotations

import json
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from time import monotonic
from typing import Any

import pytest
from redis import Redis

from portal import Consumer, HTTPPortal, TransportError, function
from portal.directory import Instance, PolledDirectory, Registration, open_directory
from tests.support import valkey
from tests.support.waiting import WAIT, eventually

KEY = "the key of the directory"
LEASE = 6.0

Shop = tuple[Redis, PolledDirectory, Consumer, list[tuple[Instance, ...]]]


@function(idempotent=True)
def add(a: int, b: int) -> int:
    return a + b


@contextmanager
def shop(url: str) -> Iterator[Shop]:
    """Serve a function, and watch it in a signed directory."""
    registration = Registration(f"{url}#shop", key=KEY, lease=LEASE)
    with (
        Redis.from_url(url, socket_timeout=WAIT) as store,
        HTTPPortal(directory=registration) as portal,
        closing(open_directory(f"{url}#shop", key=KEY)) as directory,
        Consumer(directory=directory) as consumer,
    ):
        portal.apply(add)
        lists: list[tuple[Instance, ...]] = []
        directory.watch("add", lists.append)
        eventually(lambda: lists != [] and lists[-1] != ())
        del lists[:]
        yield store, directory, consumer, lists
        eventually(lambda: directory.problem is None and registration.problem is None)
        assert consumer.call("add", {"a": 1, "b": 2}) == 3


def test_a_full_store_keeps_the_last_list() -> None:
    with valkey.running() as server, shop(f"redis://127.0.0.1:{server.port}/0") as (store, directory, consumer, lists):
        store.config_set("maxmemory", 1)
        eventually(lambda: "maxmemory" in str(directory.problem))
        assert consumer.call("add", {"a": 1, "b": 2}) == 3
        assert "may be out of date" in str(consumer.explain("add"))
        store.config_set("maxmemory", 0)
        eventually(lambda: directory.problem is None)
        assert () not in lists


def test_a_store_that_was_frozen_for_more_than_a_lease_takes_no_portal_away() -> None:
    """It comes back with its memory, and ends all leases, which nobody could renew."""
    with valkey.running() as server, shop(f"redis://127.0.0.1:{server.port}/0") as (_, directory, consumer, lists):
        assert server._process is not None
        server._process.send_signal(signal.SIGSTOP)
        begun = monotonic()
        try:
            eventually(lambda: directory.problem is not None)
            while monotonic() < begun + LEASE + 1.0:
                assert consumer.call("add", {"a": 1, "b": 2}) == 3
        finally:
            server._process.send_signal(signal.SIGCONT)
        eventually(lambda: directory.problem is None)
        assert consumer.call("add", {"a": 1, "b": 2}) == 3
        assert () not in lists


def _overwrite(store: Redis, keys: list[str]) -> None:
    """Keep owner and token, and name another host."""
    body = json.dumps({"functions": [{"name": "add", "address": "http://10.9.9.9:1/api/add/1"}], "lease": 1e9})
    records: Any = store.hgetall(keys[0])
    for owner, kept in records.items():
        store.hset(keys[0], owner, kept.partition(b" ")[0] + b" " + json.dumps({"body": body, "sign": "0"}).encode())
        store.hset(keys[0], b"other", b"9 " + kept.partition(b" ")[2])  # signed for another owner
    store.hincrby(keys[2], "version", 1)


def _write_garbage(store: Redis, keys: list[str]) -> None:
    texts = [
        b"",
        b"{",
        b"null",
        b"[1]",
        b'{"body":1}',
        b"\xff\xfe",
        b"x" * 2_000_000,
        b'{"body":"{}","sign":[]}',
        b"[" * 9999,
    ]
    for number, text in enumerate(texts):
        store.hset(keys[0], f"evil{number}", b"7 " + text)
        store.zadd(keys[1], {f"evil{number}": 1e18})
    store.hincrby(keys[2], "version", 1)


def _replace_keys(store: Redis, keys: list[str]) -> None:
    store.delete(*keys)
    for key in keys:
        store.set(key, "not what it was")


def _forget(store: Redis, keys: list[str]) -> None:
    store.flushall()


def _break_numbers(store: Redis, keys: list[str]) -> None:
    store.hset(keys[2], mapping={"version": "many", "token": "x", "epoch": b"\xff"})


@pytest.mark.parametrize("attack", [_overwrite, _write_garbage, _replace_keys, _forget, _break_numbers])
def test_who_has_no_key_names_no_host(attack: Callable[[Redis, list[str]], None], valkey_url: str) -> None:
    with shop(valkey_url) as (store, directory, consumer, lists):
        keys = [f"{{portal:directory:shop}}:{name}" for name in ("records", "ends", "state")]
        assert store.exists(*keys) == len(keys)
        known = directory.instances("add")
        attack(store, keys)
        for _ in range(5):
            consumer.call("add", {"a": 1, "b": 2})
        directory.poll()
        assert {str(one.address) for found in lists for one in found} <= {str(one.address) for one in known}
        store.delete(*keys)
        eventually(lambda: directory.instances("add") == known)


RESPONSES = [
    b"",
    b"+OK\r\n" * 9,
    b":1\r\n" * 9,
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"\xff\x00" * 500,
    b"*3\r\n$2\r\nab",
    b"*3\r\n$1\r\na\r\n:1\r\n*1\r\n$1\r\nx\r\n" * 9,
    b"*3\r\n$1\r\na\r\n$1\r\nb\r\n*0\r\n" * 9,
    b"$99999999999\r\nx",
    b"*1\r\n" * 100_000,
    b"-LOADING dataset\r\n" * 9,
]


@pytest.mark.parametrize("response", RESPONSES)
def test_a_store_that_answers_garbage_is_a_transport_error(response: bytes) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    taken: list[socket.socket] = []

    def answer() -> None:
        while True:
            try:
                taken.append(listener.accept()[0])
                taken[-1].sendall(response)
                if not response:
                    taken[-1].close()
            except OSError:
                if listener.fileno() < 0:
                    return

    threading.Thread(target=answer, daemon=True).start()
    try:
        with closing(open_directory(f"redis://127.0.0.1:{listener.getsockname()[1]}/0")) as directory:
            with pytest.raises(TransportError) as caught:
                directory.instances("add")
            assert not caught.value.may_have_executed
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for one in taken:
            one.close()
