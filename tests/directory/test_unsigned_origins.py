"""UnsignedOrigins: a bounded table that forgets no server which is in a list."""

from __future__ import annotations

from portal.directory.unsigned_origins import UnsignedOrigins
from tests.support.clocks import Clock
from tests.support.races import fast_switches, in_threads


def test_former_servers_are_bounded_and_listed_ones_stay() -> None:
    origins = UnsignedOrigins(max_former=3, hold=0.0)
    key = origins.open_list()
    origins.replace(key, ["a", "b"])
    origins.note(map(str, range(100)))
    assert len(origins) == 5
    assert "a" in origins
    assert "99" in origins
    assert "96" not in origins
    origins.replace(key, ["b"])
    assert "a" in origins
    origins.note(map(str, range(100)))
    assert "a" not in origins
    assert "b" in origins


def test_a_server_of_two_lists_stays_with_the_second() -> None:
    origins = UnsignedOrigins(max_former=1, hold=0.0)
    one, two = origins.open_list(), origins.open_list()
    origins.replace(one, ["a"])
    origins.replace(two, ["a"])
    origins.close_list(one)
    origins.close_list(one)
    origins.note("bc")
    assert "a" in origins
    origins.close_list(two)
    origins.note("bc")
    assert "a" not in origins


def test_a_late_report_of_a_closed_list_is_bounded_as_well() -> None:
    origins = UnsignedOrigins(max_former=2, hold=0.0)
    key = origins.open_list()
    origins.close_list(key)
    origins.replace(key, map(str, range(10)))
    assert len(origins) == 2


def test_a_flood_does_not_displace_a_server_that_has_just_left() -> None:
    """A call of it may be in progress, and asks for the credential again after a 401."""
    clock = Clock()
    origins = UnsignedOrigins(max_former=3, max_held=20, hold=60.0, clock=clock)
    origins.note(["evil"])
    clock.now += 30.0
    origins.note(map(str, range(10)))
    assert "evil" in origins
    clock.now += 30.0
    origins.note(["last"])
    assert "evil" not in origins
    assert "0" in origins
    clock.now += 60.0
    origins.note(["later"])
    assert len(origins) == 3


def test_every_server_counts_as_named_after_too_large_a_flood() -> None:
    clock = Clock()
    origins = UnsignedOrigins(max_former=3, max_held=20, hold=60.0, clock=clock)
    origins.note(["evil"])
    origins.note(map(str, range(20)))
    assert len(origins) == 20
    assert "evil" in origins
    assert "any other" in origins
    clock.now += 60.0
    assert "any other" not in origins


def test_a_listed_server_is_known_at_each_moment() -> None:
    """Another thread lists and unlists it, and floods the table, all the time."""
    origins = UnsignedOrigins(max_former=50, hold=0.0)
    kept = origins.open_list()
    origins.replace(kept, ["a"])

    def work(thread: int) -> None:
        key = origins.open_list()
        for number in range(300):
            assert "a" in origins
            origins.replace(key, ["a"] if number % 2 else [])
            origins.note((thread, number, one) for one in range(5))
        origins.close_list(key)

    with fast_switches():
        in_threads(4, work)
    assert "a" in origins
    assert len(origins) <= 51
