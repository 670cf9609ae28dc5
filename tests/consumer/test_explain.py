from __future__ import annotations

import json
from typing import Any

import pytest

from portal import (
    Breaker,
    CallTimeout,
    CircuitOpenError,
    ConfigError,
    Consumer,
    ConsumerError,
    HTTPPortal,
    LocalPortal,
    Policy,
    PortalError,
    Retry,
    function,
)
from portal.directory import Instance
from portal.testing import TestingPortal

DEAD = ["http://127.0.0.1:9/api/add", "http://127.0.0.1:19/api/add"]


@function(idempotent=True)
def add(a: float = 1, b: float = 2) -> float:
    return a + b


def test_the_next_call_is_foretold_and_no_turn_is_taken() -> None:
    with LocalPortal() as portal:
        targets = [Instance(portal.apply(add)), Instance("http://127.0.0.1:9/api/add", zone="east")]
        consumer = Consumer()
        assert consumer.call(targets) == 3
        found = [consumer.explain(targets) for _ in range(3)]
        assert len({one.chosen for one in found}) == 1
        assert found[0].chosen == str(targets[1])
        assert consumer.call(targets) == 3, "it fails over from the one that was foretold"
        after = consumer.explain(targets)
        assert [one.state.tier for one in after.instances] == [0, 1]
        assert after.instances[1].state.failures == 1
        assert [one.schema for one in after.instances] == ["known", "not fetched"]
        text = str(after)
        assert "round_robin picks among 1 of 2 instances; next is local://add/" in text
        assert "unreachable; tried again in" in text
        assert "zone east" in text
        assert json.loads(json.dumps(after.to_dict()))["chosen"] == after.chosen


def test_an_address_is_explained() -> None:
    consumer = Consumer(timeout=7.0)
    found = consumer.explain(DEAD[0])
    assert found.why == f"the call goes to {DEAD[0]}, the only instance"
    assert (found.timeout, found.tokens, found.stages, found.problem) == (7.0, None, ("send",), None)
    assert consumer.explain("local://nothing").instances[0].schema.startswith("cannot be had: ")


def test_stages_circuits_and_budget_are_shown() -> None:
    def audit(call: Any, call_next: Any) -> Any:
        return call_next(call)

    policy = Policy(timeout=2.0, retry=Retry(attempts=1), breaker=Breaker(failures=1))
    consumer = Consumer(policy=policy, middleware=[audit], attempt_middleware=[audit])
    before = consumer.explain(DEAD)
    assert before.stages == ("audit", "Retry", "pick (round_robin)", "Breaker", "audit", "send")
    assert [(one.circuit, one.last_failure) for one in before.instances] == [("closed", None)] * 2
    assert before.tokens == 100
    with pytest.raises(ConsumerError) as caught:
        consumer.call(DEAD)
    assert "0 of 2 instances healthy, round_robin" in caught.value.context["explain"]
    after = consumer.explain(DEAD)
    assert [one.circuit for one in after.instances] == ["open", "open"]
    assert all("cannot connect to " in (one.last_failure or "") for one in after.instances)
    assert "circuit open (last failure: " in str(after)
    assert after.to_dict()["instances"][0]["last_failure"] == after.instances[0].last_failure
    assert after.tokens == 99
    assert after.timeout == 2.0
    with pytest.raises(ConsumerError) as again:
        consumer.call(DEAD)
    assert isinstance(again.value.__cause__, CircuitOpenError)
    assert {row["outcome"] for row in again.value.attempts} == {"skipped"}
    assert consumer.explain(DEAD, policy=Policy(balance="peak_ewma")).instances[0].circuit is None


def test_an_open_circuit_is_the_reason_not_to_call() -> None:
    with TestingPortal() as portal, Consumer([portal], policy=Policy(breaker=Breaker(failures=1))) as consumer:
        targets = [str(portal.mock(name).raises(CallTimeout("late")).address) for name in ("add", "sum")]
        for _ in range(3):
            with pytest.raises(PortalError):
                consumer.call(targets)
        reasons = [one.state.reason or "" for one in consumer.explain(targets).instances]
        assert all(reason.startswith("its circuit is open for another ") for reason in reasons), reasons


def test_a_name_is_explained_with_the_problem_of_its_directory() -> None:
    class Fixed:
        problem: str | None = "the store is gone since 12:00"

        def instances(self, name: str) -> tuple[Instance, ...]:
            return tuple(map(Instance, DEAD))

        def watch(self, name: str, on_change: Any) -> Any:
            raise AssertionError("explain does not watch")

    found = Consumer(directory=Fixed()).explain("add", policy=Policy(balance="peak_ewma"))
    assert found.problem == "the store is gone since 12:00"
    assert "the directory may be out of date: the store is gone" in str(found)
    assert found.target == "add"
    with pytest.raises(ConfigError):
        Consumer().explain("add")


def test_chance_and_nothing_are_said() -> None:
    consumer = Consumer()
    three = [*DEAD, "http://127.0.0.1:29/api/add"]
    assert "chance decides" in consumer.explain(three, policy=Policy(balance="peak_ewma")).why
    assert consumer.explain(three, policy=Policy(transports=("ws",))).why == "there is no instance to call"


def test_no_server_is_contacted() -> None:
    seen: list[str] = []

    def log(request: Any, call_next: Any) -> Any:
        seen.append(request.path)
        return call_next(request)

    with HTTPPortal(http_middleware=[log]) as portal, Consumer() as consumer:
        address = portal.apply(add)
        found = consumer.explain(address)
        assert found.instances[0].schema == "not fetched"
        assert seen == []
        assert consumer.call_at(address) == 3
        assert consumer.explain(address).instances[0].schema == "known"
