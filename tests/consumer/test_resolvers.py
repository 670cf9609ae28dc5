"""ResolverTable, and what a Consumer finds through it."""

from __future__ import annotations

from typing import Any

import pytest

from portal import Address, AddressError, Consumer, ConsumerError, LocalPortal, RegistryError
from portal.consumer.resolvers import ResolverTable
from portal.http import HTTPResolver

BASE = Address.parse("http://127.0.0.1:1/api")


class CountingResolver(HTTPResolver):
    """An HTTPResolver that counts how often it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = 0

    def close(self) -> None:
        self.closed += 1
        super().close()


def test_portals_of_this_process_are_found(local: LocalPortal) -> None:
    with Consumer() as consumer:
        assert consumer.call_at("local://add", {"a": 1, "b": 2}) == 3.0
        assert consumer.portals() == []


def test_the_newest_portal_with_the_function_is_called(local: LocalPortal) -> None:
    def only_here() -> str:
        return "here"

    with LocalPortal() as newer, Consumer() as consumer:
        newer.apply(only_here)
        assert consumer.call_at("local://only_here") == "here"
        assert consumer.call_at("local://add", {"a": 1, "b": 2}) == 3.0
    with Consumer() as consumer, pytest.raises(RegistryError):
        consumer.call_at("local://only_here")


def test_only_given_portals_are_used(local: LocalPortal) -> None:
    with LocalPortal() as empty, Consumer([empty]) as consumer:
        with pytest.raises(RegistryError):
            consumer.call_at("local://add", {"a": 1, "b": 2})
        with pytest.raises(RegistryError, match="no portal is registered for http:"):
            consumer.call_at("http://127.0.0.1:1/api/add")
        consumer.register_portal(local)
        assert consumer.call_at("local://add", {"a": 1, "b": 2}) == 3.0
        assert consumer.portals() == [local, empty]


def test_one_resolver_is_made_for_all_its_schemes_and_closed_once() -> None:
    made: list[CountingResolver] = []

    def make(scheme: str) -> CountingResolver:
        made.append(CountingResolver())
        return made[-1]

    table = ResolverTable([], make_built_in=make)
    assert table.all() == []
    assert table.resolvers_for(BASE) == table.resolvers_for(Address.parse("https://host/api")) == (made[0],)
    assert table.all() == made
    table.close()
    table.close()
    assert [resolver.closed for resolver in made] == [1]
    assert table.all() == []
    with pytest.raises(ConsumerError, match="the consumer is closed"):
        table.resolvers_for(BASE)


def test_a_configured_resolver_stays_after_a_fork_and_a_made_one_does_not() -> None:
    configured = CountingResolver()
    configured.schemes = ("http",)  # type: ignore[misc]
    table = ResolverTable([], configured=[configured], make_built_in=lambda scheme: CountingResolver())
    made = table.resolvers_for(Address.parse("https://host/api"))
    assert table.all() == [configured, *made]
    table.after_fork()
    assert table.all() == [configured]
    assert table.resolvers_for(BASE) == (configured,)
    table.close()
    assert configured.closed == 1


def test_a_resolver_made_while_the_consumer_is_closed_is_closed() -> None:
    made = CountingResolver()
    table = ResolverTable([], make_built_in=lambda scheme: made)

    class Late:
        """Stand for the lock while another thread holds it and closes the table."""

        def __init__(self) -> None:
            self.lock = table._lock

        def __enter__(self) -> None:
            table._lock = self.lock
            table.close()
            self.lock.acquire()

        def __exit__(self, *exc: object) -> None:
            self.lock.release()

    late: Any = Late()
    table._lock = late
    with pytest.raises(ConsumerError):
        table.resolvers_for(BASE)
    assert made.closed == 1
    assert table.all() == []


@pytest.mark.parametrize("method", ["call_at", "stream_at", "resolve", "service", "subscribe", "list_at"])
@pytest.mark.parametrize("target", [["local://add", "local://add"], "add"])
def test_what_is_not_one_address_is_told_about_call(method: str, target: Any) -> None:
    with Consumer() as consumer, pytest.raises(AddressError, match=r"go to Consumer\.call"):
        getattr(consumer, method)(target)
