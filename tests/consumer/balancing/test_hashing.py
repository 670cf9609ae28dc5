from __future__ import annotations

from collections import Counter

import pytest

from portal import ConfigError
from portal.consumer.balancing import ConsistentHash
from portal.consumer.balancing.hashing import hash_of
from tests.support.instances import call_of, candidates_of


def by_user(**options: float) -> ConsistentHash:
    return ConsistentHash(lambda call: call.params.get("user"), **options)  # type: ignore[arg-type]


def test_a_hash_is_the_same_in_each_process() -> None:
    assert hash_of("ann") != hash_of("bob")
    assert isinstance(hash_of("\udcff"), int)


def test_a_key_goes_to_one_instance() -> None:
    candidates, picker = candidates_of(1, 1, 1, 1), by_user()
    found = [{picker.pick(candidates, call_of(user=f"u{n}")).text for _ in range(3)} for n in range(100)]
    assert all(len(one) == 1 for one in found)
    assert picker.expected(candidates, call_of(user="u1")) is picker.pick(candidates, call_of(user="u1"))


def test_keys_spread_by_weight() -> None:
    candidates, picker = candidates_of(1, 1, 1, 3), by_user()
    found = Counter(picker.pick(candidates, call_of(user=f"u{n}")).address.host for n in range(6000))
    assert all(700 < found[name] < 1300 for name in "abc")
    assert 2500 < found["d"] < 3500


def test_few_keys_move_when_an_instance_leaves_and_they_come_back() -> None:
    candidates, picker = candidates_of(1, 1, 1, 1), by_user()
    before = {n: picker.pick(candidates, call_of(user=f"u{n}")).text for n in range(1000)}
    fewer = candidates[:3]
    during = {n: picker.pick(fewer, call_of(user=f"u{n}")).text for n in range(1000)}
    assert all(during[n] == before[n] for n in range(1000) if before[n] != candidates[3].text)
    assert {n: picker.pick(candidates, call_of(user=f"u{n}")).text for n in range(1000)} == before
    other = candidates_of(1, 1, 1, 1)
    assert {n: by_user().pick(other, call_of(user=f"u{n}")).text for n in range(1000)} == before


def test_an_instance_takes_no_more_than_its_bound() -> None:
    candidates, picker = candidates_of(1, 1, 1, 1), by_user(bound=1.25)
    for _ in range(400):  # one hot key
        picker.pick(candidates, call_of(user="hot")).outstanding += 1
        loads = [one.outstanding for one in candidates]
        assert max(loads) <= 1.25 * sum(loads) / 4 + 1
    assert sorted(loads) == [25, 125, 125, 125], "three full ones, and one with the rest"


def test_without_a_key_the_least_loaded_is_picked() -> None:
    candidates, picker = candidates_of(1, 1), by_user()
    candidates[0].outstanding = 1
    assert picker.pick(candidates, call_of()) is candidates[1]


def test_an_instance_without_weight_now_gets_calls_only_alone() -> None:
    picker = by_user()
    one, other = candidates_of(1, 1)
    assert picker.pick((other,), call_of(user="u")) is other
    assert picker.pick((one,), call_of(user="u")) is one


def test_a_group_has_a_circle_of_its_own() -> None:
    picker = by_user()
    assert picker.for_group() is not picker
    candidates = candidates_of(1, 1, 1)
    assert picker.for_group().pick(candidates, call_of(user="u")) is picker.pick(candidates, call_of(user="u"))


def test_wrong_settings_are_rejected() -> None:
    with pytest.raises(ConfigError, match=r"consistent_hash\.key must be a callable, got 'user'"):
        ConsistentHash("user")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"consistent_hash\.bound"):
        by_user(bound=0.5)
