from __future__ import annotations

import logging
import os
import threading
from typing import Any

import pytest

from portal import CallCancelled, CircuitOpenError, ConfigError, FunctionError, OverloadedError, TransportError
from portal.consumer.balancing import Balancing, FailurePercentage, Outliers
from portal.consumer.group import InstanceGroup, Lease
from portal.directory import Instance
from tests.support.clocks import Clock
from tests.support.instances import call_of, group_of, instances_of
from tests.support.simulation import simulate

REFUSED = TransportError("refused", delivery="not_sent")
#: For four instances the standard deviation says nothing, so the failure percentage decides.
OF_FOUR = Outliers(failure_percentage=FailurePercentage(threshold=30, minimum_hosts=3, request_volume=20))


def take(group: InstanceGroup, *excluded: str) -> Lease:
    lease = group.lease(call_of(), excluded)
    assert lease is not None
    return lease


def host_of(group: InstanceGroup) -> str:
    """Return the host of one call that succeeds."""
    lease = take(group)
    lease.done()
    return lease.candidate.address.host


# leases


@pytest.mark.parametrize(
    "error", [None, REFUSED, FunctionError("no"), CallCancelled(), GeneratorExit(), CircuitOpenError(retry_after=1)]
)
def test_the_load_comes_back_on_every_way_out(error: BaseException | None) -> None:
    group = group_of(clock=Clock())
    lease = take(group)
    assert group.stats().outstanding == 1
    lease.done(error)
    lease.done(error)
    assert group.stats().outstanding == 0


def test_excluded_instances_are_not_picked() -> None:
    group = group_of(clock=Clock())
    texts = [one.text for one in group.candidates]
    assert take(group, *texts[:3]).candidate.text == texts[3]
    assert group.lease(call_of(), texts) is None
    assert InstanceGroup("none", []).lease(call_of()) is None


def test_an_address_counts_once() -> None:
    group = InstanceGroup("add", [*instances_of([1, 1]), *instances_of([1, 1])])
    assert len(group.candidates) == 2


def test_a_picker_must_return_a_candidate() -> None:
    class Wrong:
        def pick(self, candidates: Any, call: Any) -> Any:
            return candidates[0].text

    group = group_of(Wrong(), clock=Clock())  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"balancing\.picker must be a picker that returns a candidate for serve"):
        group.lease(call_of())
    assert group.stats().outstanding == 0


def test_no_lock_is_held_while_a_picker_runs() -> None:
    class Nested:
        def pick(self, candidates: Any, call: Any) -> Any:
            assert group.stats().instances == 4  # would wait for the lock
            return candidates[0]

    group = group_of(Nested(), clock=Clock())  # type: ignore[arg-type]
    assert host_of(group) == "a"


def test_leases_of_many_threads_come_back() -> None:
    group = group_of("least_outstanding", clock=Clock())

    def run() -> None:
        for number in range(300):
            take(group).done(None if number % 3 else REFUSED)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert group.stats().outstanding == 0
    assert sum(one.calls for one in group.candidates) == 2400


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_process_has_no_calls_in_progress() -> None:
    group = group_of(clock=Clock())
    lease = take(group)
    group.after_fork()
    assert group.stats().outstanding == 0
    lease.done()
    assert group.stats().outstanding == 0, "a call of the parent does not count in the child"
    take(group).done()


# health


def test_an_unreachable_instance_gets_one_call_at_a_time_until_it_responds() -> None:
    clock = Clock()
    group = group_of("pick_first", 1, 1, clock=clock)
    take(group).done(REFUSED)
    assert [host_of(group) for _ in range(3)] == ["b", "b", "b"]
    clock.now += 0.1
    probe = take(group)
    assert probe.candidate.address.host == "a"
    assert host_of(group) == "b", "one call tries it"
    probe.done()
    assert host_of(group) == "a"


def test_two_threads_do_not_try_an_unreachable_instance_at_once() -> None:
    class Both:
        """Stands for two threads between the choice and the lease."""

        def pick(self, candidates: Any, call: Any) -> Any:
            chosen = candidates[0]
            if chosen.down_until is not None and not chosen.outstanding:
                chosen.outstanding += 1  # the other thread was faster
            return chosen

    clock = Clock()
    group = group_of(Both(), 1, 1, clock=clock)  # type: ignore[arg-type]
    take(group).done(REFUSED)
    clock.now += 0.1
    assert take(group).candidate.address.host == "b"


def test_an_instance_is_left_alone_for_as_long_as_it_asks() -> None:
    clock = Clock()
    group = group_of("pick_first", 1, 1, 1, clock=clock)
    take(group).done(OverloadedError("full", retry_after=2.0))
    take(group).done(CircuitOpenError("open", retry_after=5.0))
    assert host_of(group) == "c"
    clock.now += 2.0
    assert host_of(group) == "a"
    assert [one.failures for one in group.candidates] == [1, 0, 0], "an open circuit is not a call"


def test_the_last_resort_is_used_when_all_others_have_failed() -> None:
    group = group_of("pick_first", 1, 1, clock=Clock())
    take(group).done(REFUSED)
    second = take(group)
    assert second.candidate.address.host == "b"
    assert take(group, second.candidate.text).candidate.address.host == "a"


def test_panic_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    rule = FailurePercentage(threshold=50, minimum_hosts=1, request_volume=1)
    group = group_of(Balancing(outliers=Outliers(failure_percentage=rule, max_ejection_percent=100)), clock=clock)
    with caplog.at_level(logging.WARNING, "portal.consumer"):
        for _ in range(3):
            take(group).done(FunctionError("broken"))
        clock.now += 10.0
        assert [host_of(group) for _ in range(8)] == list("dabcdabc"), "ejections are ignored"
        stats = group.stats()
        assert (stats.panic, stats.panics, stats.healthy, stats.ejected, stats.ejections) == (True, 1, 1, 3, 3)
        assert group.preview(call_of()).panic
        clock.now += 40.0
        host_of(group)
        assert not group.stats().panic
    assert [one.getMessage() for one in caplog.records] == [
        "panic: serve has 1 healthy instances of 4; ejections are ignored"
    ]


# membership


def test_instances_that_stay_keep_what_is_known_of_them() -> None:
    clock = Clock()
    group = group_of(Balancing(slow_start=10.0), clock=clock)
    lease = take(group)
    take(group).done(REFUSED)
    instances = instances_of([5, 1, 1])
    group.replace([*instances, Instance("http://new/api/serve", 2)])
    first, second, _, new = group.candidates
    assert (first.outstanding, first.instance.weight) == (1, 5)
    assert second.down_until is not None
    take(group)
    assert (first.weight, new.weight) == (5.0, pytest.approx(0.2)), "the new one begins slowly"
    clock.now += 10.0
    take(group)
    assert new.weight == 2.0
    group.replace([])
    assert group.lease(call_of()) is None
    lease.done()


def test_an_instance_that_comes_back_begins_slowly() -> None:
    clock = Clock()
    group = group_of(Balancing(picker="weighted", slow_start=20.0), clock=clock)
    down = group.candidates[0]
    for _ in range(8):
        lease = take(group)
        lease.done(REFUSED if lease.candidate is down else None)
    clock.now += 0.2
    figures = simulate(group, clock, lambda host, now: (0.01, None), callers=4, seconds=2.0)
    assert 0.005 < figures.share("a") < 0.10
    figures = simulate(group, clock, lambda host, now: (0.01, None), callers=4, seconds=18.0)
    assert figures.share("a") < 0.20
    figures = simulate(group, clock, lambda host, now: (0.01, None), callers=4, seconds=10.0)
    assert figures.share("a") == pytest.approx(0.25, abs=0.01)


# figures


@pytest.mark.parametrize("name", ["round_robin", "weighted", "least_outstanding", "peak_ewma"])
def test_equal_instances_get_equal_shares(name: str) -> None:
    clock = Clock()
    figures = simulate(group_of(name, clock=clock), clock, lambda host, now: (0.01, None), seconds=20.0)
    assert [figures.share(host) for host in "abcd"] == [0.2 if name == "" else pytest.approx(0.25, abs=0.06)] * 4


@pytest.mark.parametrize(
    ("name", "at_least", "at_most"),
    # ten times slower: round robin gives it a quarter; by its speed it would get 1/31 = 0.03
    [("round_robin", 0.24, 0.26), ("least_outstanding", 0.02, 0.06), ("peak_ewma", 0.0, 0.04)],
)
def test_one_of_four_is_ten_times_slower(name: str, at_least: float, at_most: float) -> None:
    clock = Clock()
    group = group_of(name, clock=clock)
    figures = simulate(group, clock, lambda host, now: (0.1 if host == "d" else 0.01, None))
    assert at_least <= figures.share("d") <= at_most
    if name == "peak_ewma":
        assert figures.p99 <= 0.1


@pytest.mark.parametrize(
    ("balancing", "at_most"),
    [
        (Balancing(outliers=None), 0.13),  # an eighth of all calls fail: nothing is learned
        (Balancing(outliers=OF_FOUR), 0.035),
        (Balancing(picker="peak_ewma", outliers=None), 0.01),  # a failure costs more than a response
        (Balancing(picker="peak_ewma", outliers=OF_FOUR), 0.01),
    ],
    ids=["round_robin", "round_robin, ejection", "peak_ewma", "peak_ewma, ejection"],
)
def test_one_of_four_fails_half_of_its_calls(balancing: Balancing, at_most: float) -> None:
    clock = Clock()
    group = group_of(balancing, clock=clock)
    turns = iter(range(10**9))

    def serve(host: str, now: float) -> tuple[float, BaseException | None]:
        return 0.01, FunctionError("broken") if host == "d" and next(turns) % 2 else None

    figures = simulate(group, clock, serve, seconds=120.0)
    share = figures.failed / len(figures.seconds)
    assert share <= at_most
    if balancing.picker == "round_robin":
        assert share > 0.8 * at_most
    assert (group.stats().ejections > 0) == (balancing == Balancing(outliers=OF_FOUR))


def test_a_restarted_instance_is_used_again_within_seconds() -> None:
    clock = Clock()
    group = group_of("round_robin", clock=clock)
    down = (clock.now + 10.0, clock.now + 20.0)

    def serve(host: str, now: float) -> tuple[float, BaseException | None]:
        return (0.001, REFUSED) if host == "d" and down[0] <= now < down[1] else (0.01, None)

    simulate(group, clock, serve, seconds=10.0)
    figures = simulate(group, clock, serve, seconds=10.0)
    assert figures.failed <= 25, "10 seconds of tries at 0.1, 0.2, 0.4, ... 5.0, and 16 calls at once at the start"
    simulate(group, clock, serve, seconds=5.1)
    figures = simulate(group, clock, serve, seconds=10.0)
    assert (figures.failed, figures.share("d")) == (0, pytest.approx(0.25, abs=0.01))


# what is shown


def test_a_preview_takes_no_turn() -> None:
    clock = Clock()
    group = group_of(clock=clock)
    previews = [group.preview(call_of()) for _ in range(3)]
    assert {one.chosen for one in previews} == {"http://a/api/serve"}
    assert host_of(group) == "a"
    assert group.preview(call_of()).chosen == "http://b/api/serve"
    take(group).done(REFUSED)
    shown = group.preview(call_of())
    assert [one.tier for one in shown.candidates] == [0, 1, 0, 0]
    assert shown.candidates[1].reason == "unreachable; tried again in 0.1 s"
    assert (shown.panic, shown.choices) == (False, 3)
    assert InstanceGroup("none", []).preview(call_of()).chosen is None


def test_each_reason_is_shown() -> None:
    clock = Clock()
    balancing = Balancing(subset=1, subset_key="k")
    instances = [*instances_of([1, 0, 1]), Instance("ws://d/ws/serve")]
    group = InstanceGroup("serve", instances, balancing, transports=("http",), clock=clock)
    reasons = {one.address.host: group.reason_against(one) for one in group.candidates}
    assert reasons["b"] == "its weight is 0"
    assert reasons["d"] == "ws is not in Policy(transports=...)"
    assert sorted(filter(None, (reasons["a"], reasons["c"]))) in (["not in the subset of this caller"], [])
