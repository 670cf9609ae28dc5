from __future__ import annotations

import dataclasses
import pickle

import pytest

from portal import Address, AddressError, ConfigError
from portal.directory import Instance

ADD = "http://one:8080/api/add"


def test_an_instance_takes_an_address_as_text() -> None:
    instance = Instance(ADD)
    assert instance.address == Address.parse(ADD)
    assert str(instance) == ADD
    assert (instance.weight, instance.zone, instance.version, instance.lease) == (1.0, None, None, None)
    assert Instance.of(ADD) == Instance.of(Address.parse(ADD)) == instance
    assert Instance.of(instance) is instance


def test_instances_are_values() -> None:
    assert Instance(ADD, 2, zone="a") == Instance(ADD, 2.0, zone="a")
    assert Instance(ADD, 2) != Instance(ADD)
    assert len({Instance(ADD), Instance(ADD), Instance(ADD, zone="a")}) == 2
    assert pickle.loads(pickle.dumps(Instance(ADD, zone="a"))) == Instance(ADD, zone="a")
    assert dataclasses.replace(Instance(ADD, zone="a"), weight=3) == Instance(ADD, 3, zone="a")
    with pytest.raises(AttributeError):
        Instance(ADD).weight = 3  # type: ignore[misc]


def test_a_renewed_lease_is_the_same_instance() -> None:
    assert Instance(ADD, lease=1.0) == Instance(ADD, lease=2.0)
    assert hash(Instance(ADD, lease=1.0)) == hash(Instance(ADD))


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"weight": -1}, "instance.weight"),
        ({"weight": True}, "instance.weight"),
        ({"weight": float("nan")}, "instance.weight"),
        ({"zone": ""}, "instance.zone"),
        ({"version": 2}, "instance.version"),
        ({"fingerprint": ""}, "instance.fingerprint"),
        ({"lease": -1.0}, "instance.lease"),
    ],
)
def test_wrong_settings_are_rejected(options: dict[str, object], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Instance(ADD, **options)  # type: ignore[arg-type]
    assert caught.value.path == path


def test_a_wrong_address_is_rejected() -> None:
    with pytest.raises(AddressError):
        Instance("no address")
    with pytest.raises(ConfigError, match=r"instance\.address must be an Address or str, got 1"):
        Instance(1)  # type: ignore[arg-type]
