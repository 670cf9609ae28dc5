"""The directory of a Consumer: URLs, and which hosts get no credential."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from portal import BearerAuth, ByAuthority, ConfigError, Consumer, HTTPPortal, LocalPortal, RegistryError, function
from portal.address import Address
from portal.auth.credentials import credentials_of
from portal.consumer.checked_directory import GuardedCredential, checked_directory, guarded
from portal.directory import Instance, PolledDirectory, Registration
from portal.directory.memory import MemoryStore
from portal.directory.record import Record, Served, encode
from portal.directory.source import RecordSource
from portal.errors import AuthenticationError
from tests.support.waiting import eventually

KEY = b"0123456789abcdef"


@function
def add(a: float, b: float) -> float:
    return a + b


class Open(MemoryStore):
    """A store that anybody may write."""

    restricted = False


@pytest.fixture
def store() -> Open:
    return Open()


@pytest.fixture
def directories() -> Iterator[Any]:
    made: list[PolledDirectory] = []

    def directory(store: MemoryStore, key: bytes | None = None) -> PolledDirectory:
        made.append(PolledDirectory(RecordSource(store, key, 0.01)))
        return made[-1]

    yield directory
    for one in made:
        one.close()


def test_a_function_is_called_by_name_and_url() -> None:
    url = "memory://test-consumer"
    with HTTPPortal(directory=url) as portal, Consumer(directory=url) as consumer:
        with pytest.raises(RegistryError, match="no instance of add"):
            consumer.call("add", {"a": 1, "b": 2})
        portal.apply(add)
        eventually(lambda: bool(consumer._directory.instances("add")))  # type: ignore[union-attr]
        assert consumer.call("add", {"a": 1, "b": 2}) == 3.0


def test_a_directory_of_a_url_is_closed_with_the_consumer(directories: Any, store: Open) -> None:
    opened = checked_directory("memory://test-consumer")
    assert opened is not None
    opened.instances("x")
    loop = opened._directory._loop  # type: ignore[attr-defined]
    opened.close()
    assert not loop.running
    given = directories(store)
    given.instances("x")
    Consumer(directory=given).close()
    assert given._loop.running
    assert checked_directory(None) is None
    for wrong in (5, object()):
        with pytest.raises(ConfigError, match=r"consumer\.directory must be"):
            Consumer(directory=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("signed", [True, False])
def test_a_host_that_an_unsigned_entry_names_gets_no_secret(
    directories: Any, store: Open, signed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    key = KEY if signed else None
    registration = Registration(store, key=key)
    with HTTPPortal(auth=BearerAuth({"secret-token": "ann"}), directory=registration) as portal:
        address = portal.apply(add)
        registration.renew()
        with Consumer(directory=directories(store, key), auth="secret-token") as consumer:
            if signed:
                assert consumer.call("add", {"a": 1, "b": 2}) == 3.0
            else:
                with pytest.raises(AuthenticationError):
                    consumer.call("add", {"a": 1, "b": 2})
        # A credential for this server alone is sent: the caller named the server.
        by_server = ByAuthority({f"http://{address.authority}": "secret-token"})
        with Consumer(directory=directories(store, key), auth=by_server) as consumer:
            assert consumer.call("add", {"a": 1, "b": 2}) == 3.0
    assert ("no credential is sent" in caplog.text) is not signed


def test_servers_that_the_directory_does_not_name_get_the_credential(directories: Any, store: Open) -> None:
    found = checked_directory(directories(store))
    assert found is not None
    credential = guarded(credentials_of("token"), found)
    assert isinstance(credential, GuardedCredential)
    mine, theirs = Address.parse("http://mine/api/x"), Address.parse("http://theirs/api/x")
    found._origins.note([(theirs.host, 80)])
    assert credential.headers(mine, None) == {"Authorization": "Bearer token"}
    assert credential.headers(theirs, None) == {}
    assert credential.headers(theirs, None) == {}
    assert not credential.rejected(theirs)
    assert guarded(None, found) is None
    assert guarded(credentials_of("token"), None) is not None


@pytest.mark.parametrize("scheme", ["local", "dask"])
def test_an_unsigned_entry_does_not_lead_into_this_process_or_a_cluster(
    directories: Any, store: Open, scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Functions of this process need no credential. A scheduler of Dask sends pickled objects to its clients."""
    called = []

    @function
    def erase() -> None:
        called.append(True)

    with LocalPortal() as portal:
        address = Instance(str(portal.apply(erase)) if scheme == "local" else "dask://hostile:8786/erase")
        record = Record((Served("orders", address),), lease=60.0)
        store.register("anybody", encode(record, "anybody", None), 60.0)
        with Consumer(directory=directories(store)) as consumer:
            for _ in range(2):
                with pytest.raises(RegistryError, match="no instance of orders"):
                    consumer.call("orders")
            with pytest.raises(RegistryError, match="no instance of orders"):
                consumer.explain("orders")
    assert called == []
    assert caplog.text.count(f"an unsigned entry of the directory is left out: scheme={scheme}") == 1


def test_a_flood_of_entries_does_not_let_a_server_be_forgotten(store: Open, directories: Any) -> None:
    directory = checked_directory(directories(store))
    assert directory is not None
    credential = guarded(credentials_of("secret"), directory)
    assert credential is not None
    evil = Address.parse("http://evil:1/api/add")

    def register(owner: str, *addresses: str) -> None:
        served = tuple(Served("add", Instance(one)) for one in addresses)
        store.register(owner, encode(Record(served, 60.0), owner, None), 60.0)

    seen: list[tuple[Instance, ...]] = []
    register("evil", str(evil))
    watch = directory.watch("add", seen.append)
    assert seen
    for number in range(12):
        register("flood", *(f"http://h{number}-{one}:1/api/add" for one in range(1000)))
        eventually(lambda: len(directory.instances("add")) == 1001)
        assert credential.headers(evil, None) == {}
    assert len(directory._origins) <= 12_002
    watch.close()
