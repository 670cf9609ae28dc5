from __future__ import annotations

from time import monotonic

import pytest

from portal import CallContext, CallTimeout, Consumer, LocalPortal, function
from portal.consumer.new_calls import CallFactory
from portal.resilience import Policy

REMOTE = "http://127.0.0.1:1/api/add"


@function
def add(a: float, b: float) -> float:
    return a + b


def seconds_of(context: CallContext) -> float | None:
    return None if context.deadline is None else round(context.deadline - monotonic())


@pytest.mark.parametrize(
    ("timeout", "policy", "remote", "local"),
    [
        (None, None, 30, None),
        (None, Policy(), 30, None),
        (None, Policy(timeout=500.0), 500, 500),
        (900.0, Policy(timeout=500.0), 900, 900),
    ],
)
def test_the_timeout_is_the_most_special_one(
    timeout: float | None, policy: Policy | None, remote: int, local: int | None
) -> None:
    consumer = Consumer()
    factory = CallFactory(consumer._functions, consumer._groups, 30.0)
    with LocalPortal() as portal:
        address = portal.apply(add)
        for target, expected in ((REMOTE, remote), (address, local)):
            call = factory.at(target, str(target), None, timeout, None, policy)
            assert seconds_of(call.context) == expected
            chains = consumer._stages.of(policy or Policy())
            for _ in range(2):  # the first one makes the group
                balanced = factory.of_target([target], chains, None, timeout, None)
                assert seconds_of(balanced.context) == expected
            assert (call.params, balanced.params, balanced.address) == ({}, {}, None)


def test_a_call_whose_deadline_has_passed_is_not_made() -> None:
    factory = Consumer()._new_calls
    with pytest.raises(CallTimeout):
        factory.at(REMOTE, REMOTE, None, None, CallContext(deadline=0.0), None)
    call = factory.at(REMOTE, REMOTE, {"a": 1}, None, None, None, "key")
    assert call.context.idempotency_key == "key"
