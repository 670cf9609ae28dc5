"""LinkPool, with links that do not connect."""

from __future__ import annotations

from typing import Any

import pytest

from portal import Address
from portal.websocket.client import pool as pool_module
from portal.websocket.client.lifecycle import ConnectionState
from portal.websocket.client.pool import LinkPool, callback_threads, dial_threads


class FakeLink:
    def __init__(self, address: Address) -> None:
        self.address, self.base = address, address.segments
        self.load, self.state, self.closed = 0, ConnectionState.OPEN, False

    def close(self) -> None:
        self.closed = True
        self.state = ConnectionState.CLOSED


def pool_of(connections: int = 1) -> Any:
    return LinkPool(FakeLink, connections)  # type: ignore[arg-type]


def parse(text: str) -> Address:
    return Address.parse(text)


@pytest.mark.parametrize(
    ("address", "portal"),
    [
        ("ws://h/ws/add/3f2a9c51", "ws://h/ws"),
        ("ws://h/ws/add", "ws://h/ws"),
        ("ws://h/ws/add@2", "ws://h/ws"),
        ("wss://h:1/ws/users/get_user/3f2a9c51", "wss://h:1/ws/users"),
        ("ws://h/add", "ws://h/"),
        ("ws://h/", "ws://h/"),
    ],
)
def test_the_first_connection_leads_to_what_contains_the_function(address: str, portal: str) -> None:
    assert str(pool_of().link_for(parse(address)).address) == portal


def test_the_address_of_a_portal_itself() -> None:
    pool = pool_of()
    assert str(pool.link_for(parse("ws://h/ws"), is_base=True).address) == "ws://h/ws"
    assert pool.link_for(parse("ws://h/ws/add")) is pool.link_for(parse("ws://h/ws"), is_base=True)


def test_addresses_below_the_path_that_the_server_tells_share_a_link() -> None:
    pool = pool_of()
    link = pool.link_for(parse("ws://h/ws/users/get_user"))
    link.base = ("ws",)
    assert pool.link_for(parse("ws://h/ws/add")) is link
    assert pool.link_for(parse("ws://h/ws"), is_base=True) is link
    assert pool.link_for(parse("ws://h/other/add")) is not link
    assert pool.link_for(parse("ws://h:8080/ws/add")) is not link
    assert pool.link_for(parse("wss://h/ws/add")) is not link


def test_links_that_turn_out_to_lead_to_one_portal_are_joined() -> None:
    pool = pool_of()
    first, second = pool.link_for(parse("ws://h/ws/a/f")), pool.link_for(parse("ws://h/ws/b/f"))
    first.base = second.base = ("ws",)
    first.load = 1
    assert pool.link_for(parse("ws://h/ws/c/f")) is second
    assert set(pool.all()) == {first, second}


def test_a_call_takes_the_link_with_the_fewest_calls() -> None:
    pool = pool_of(connections=2)
    first = pool.link_for(parse("ws://h/ws/add"))
    assert pool.link_for(parse("ws://h/ws/add")) is first  # an idle link is used before another one is made
    first.load = 1
    second = pool.link_for(parse("ws://h/ws/add"))
    assert second is not first
    second.load = 5
    assert pool.link_for(parse("ws://h/ws/add")) is first


def test_a_link_whose_server_goes_away_gets_no_new_calls() -> None:
    pool = pool_of()
    old = pool.link_for(parse("ws://h/ws/add"))
    old.state = ConnectionState.CLOSING
    new = pool.link_for(parse("ws://h/ws/add"))
    assert new is not old
    assert old in pool.all()
    old.state = new.state = ConnectionState.CLOSED
    pool.link_for(parse("ws://h/ws/add"))
    assert old not in pool.all()


def test_portals_beyond_the_bound_are_forgotten_unless_they_have_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "_MAX_PORTALS", 2)
    pool = pool_of()
    first, second = (pool.link_for(parse(f"ws://h{number}/ws/f")) for number in range(2))
    first.load = 1
    pool.link_for(parse("ws://h9/ws/f"))
    assert (first.closed, second.closed) == (False, True)
    assert len(pool.all()) == 2


def test_close_and_fork() -> None:
    pool = pool_of()
    link = pool.link_for(parse("ws://h/ws/f"))
    pool.close()
    assert link.closed
    assert pool.link_for(parse("ws://h/ws/f")) is not link
    pool.after_fork()
    assert pool.all() == []


def test_the_threads_are_shared_and_few() -> None:
    assert dial_threads() is dial_threads()
    assert dial_threads().workers + callback_threads().workers + 1 <= 15
