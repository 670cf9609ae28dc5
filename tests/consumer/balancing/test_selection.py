from __future__ import annotations

from math import inf
from typing import Any

import pytest

from portal.consumer.balancing import Balancing, Candidate
from portal.consumer.balancing.selection import choose_subset, reason_against, select
from portal.directory import Instance

NOW = 1000.0


def candidates(*names: str, **options: Any) -> dict[str, Candidate]:
    """Return a candidate for each of "a", "ws:a" (another scheme) or "a@east" (in a zone)."""
    found = {}
    for name in names:
        place, _, zone = name.partition("@")
        scheme, _, host = place.rpartition(":")
        instance = Instance(f"{scheme or 'http'}://{host}/api/add", zone=zone or None, **options)
        found[place.rpartition(":")[2]] = Candidate(instance, clock=lambda: NOW)
    return found


def tiers(given: dict[str, Candidate], transports: tuple[str, ...] | None = None, **options: Any) -> list[str]:
    found = select(list(given.values()), NOW, Balancing(**options), transports)
    return ["".join(one.address.host for one in tier) for tier in found.tiers]


def test_all_are_alike_at_first() -> None:
    assert tiers(candidates("a", "b", "c")) == ["abc"]
    assert tiers({}) == []
    assert select([], NOW, Balancing()) == ((), False, 0, inf)


def test_unhealthy_ones_are_the_last_resort() -> None:
    given = candidates("a", "b", "c", "d", "e")
    given["b"].ejected_at = NOW
    given["c"].barred_until = NOW + 2
    assert tiers(given) == ["ade", "bc"]
    given["c"].barred_until = NOW
    assert tiers(given) == ["acde", "b"]


def test_an_instance_without_weight_is_not_used() -> None:
    given = candidates("a", "b")
    given["b"].weight = 0.0
    assert tiers(given) == ["a"]


def test_an_unreachable_one_is_tried_by_one_call_when_its_time_has_come() -> None:
    given = candidates("a", "b")
    one = given["a"]
    one.down_until = NOW + 0.5
    assert tiers(given) == ["b", "a"]
    assert select(list(given.values()), NOW, Balancing()).recheck_at == NOW + 0.5
    one.down_until = NOW
    assert tiers(given) == ["ab"]
    one.outstanding = 1
    assert tiers(given) == ["b", "a"]


@pytest.mark.parametrize(("bad", "panic", "first"), [("", False, "abcd"), ("ab", False, "cd"), ("abc", True, "abcd")])
def test_health_is_ignored_when_few_are_healthy(bad: str, panic: bool, first: str) -> None:
    given = candidates("a", "b", "c", "d")
    for name in bad:
        given[name].ejected_at = NOW
    found = select(list(given.values()), NOW, Balancing())
    assert (found.panic, found.healthy, "".join(one.address.host for one in found.tiers[0])) == (
        panic,
        4 - len(bad),
        first,
    )


def test_unreachable_ones_stay_out_in_panic() -> None:
    given = candidates("a", "b", "c", "d")
    given["a"].down_until = given["b"].down_until = NOW + 1
    given["c"].ejected_at = NOW
    assert tiers(given) == ["cd", "ab"]
    assert tiers(given, panic_threshold=0) == ["d", "abc"]
    given["d"].barred_until = NOW + 1
    assert tiers(given) == ["c", "abd"], "what an instance asks for is not ignored"
    for one in given.values():
        one.down_until = NOW + 1
    assert tiers(given) == ["abcd"]


def test_transports_are_tried_in_their_order() -> None:
    given = candidates("a", "ws:b", "wss:c", "https:d", "local:e")
    assert tiers(given, ("ws", "http")) == ["bc", "ad"]
    assert tiers(given, ("http",)) == ["ad"]
    assert tiers(given, ("wss",)) == ["c"]
    given["b"].ejected_at = given["c"].ejected_at = NOW
    assert tiers(given, ("ws", "http")) == ["ad", "bc"]


def test_the_own_zone_is_preferred_while_half_of_it_is_healthy() -> None:
    given = candidates("a@east", "b@east", "c@east", "d@west", "e")
    assert tiers(given) == ["abcde"]
    assert tiers(given, zone="east") == ["abc", "de"]
    assert tiers(given, zone="north") == ["abcde"]
    given["a"].ejected_at = NOW
    assert tiers(given, zone="east") == ["bc", "de", "a"]
    given["b"].ejected_at = NOW
    assert tiers(given, zone="east") == ["cde", "ab"], "one healthy instance of three is not enough for the zone"


def test_a_subset_is_the_same_each_time_and_differs_between_callers() -> None:
    given = list(candidates(*(f"h{number}" for number in range(100))).values())

    def subset(key: str, members: list[Candidate], size: int = 10) -> set[str]:
        return {one.text for one in choose_subset(members, Balancing(subset=size, subset_key=key), None)}

    found = subset("ann", given)
    assert len(found) == 10
    assert subset("ann", list(reversed(given))) == found
    assert subset("bob", given) != found
    gone = next(one for one in given if one.text in found)
    fewer = [one for one in given if one is not gone]
    assert len(found - subset("ann", fewer)) == 1, "only the one that left is replaced"
    assert subset("ann", given, 200) == {one.text for one in given}
    loads = {one.text: 0 for one in given}
    for number in range(1000):
        for text in subset(f"caller-{number}", given):
            loads[text] += 1
    assert 60 < min(loads.values()) <= max(loads.values()) < 145


def test_a_subset_prefers_transport_and_zone_and_the_rest_is_the_last_resort() -> None:
    given = candidates("a@east", "b@west", "c@east", "ws:d@east", "ws:e@west")
    members = list(given.values())
    options = Balancing(subset=2, subset_key="k", zone="east", panic_threshold=0)
    subset = choose_subset(members, options, ("http", "ws"))
    assert [one.address.host for one in subset] == ["a", "c"]
    given["a"].down_until = given["c"].down_until = NOW + 1
    found = select(members, NOW, options, ("http", "ws"), subset)
    assert [[one.address.host for one in tier] for tier in found.tiers] == [["a", "c"], ["b", "d", "e"]]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"ejected_at": NOW - 10, "ejections": 1}, "ejected as an outlier for another 20.0 s"),
        ({"down_until": NOW + 0.4}, "unreachable; tried again in 0.4 s"),
        ({"down_until": NOW, "outstanding": 1}, "unreachable; another call tries it"),
        ({"down_until": NOW}, None),
        ({"barred_until": NOW + 2}, "asked for no calls for another 2.0 s"),
        ({"barred_until": NOW + 2, "barred_why": "its circuit is open"}, "its circuit is open for another 2.0 s"),
        ({"barred_until": NOW}, None),
    ],
)
def test_a_reason_is_said(changes: dict[str, Any], reason: str | None) -> None:
    one = candidates("a")["a"]
    for name, value in changes.items():
        setattr(one, name, value)
    assert reason_against(one, NOW, Balancing()) == reason
