"""PendingCalls: ids, deadlines, and no memory of calls that have ended."""

from __future__ import annotations

import pytest

from portal.errors import OverloadedError
from portal.websocket.events import OutgoingCall
from portal.websocket.pending import PendingCalls


def add(pending: PendingCalls, deadline: float | None = None) -> OutgoingCall:
    return pending.add("add", tag=None, deadline=deadline, credit=None)


def test_ids_count_from_one_and_are_never_used_again() -> None:
    pending = PendingCalls(2)
    first = add(pending)
    assert pending.end(first)
    assert [first.id, add(pending).id, add(pending).id] == [1, 2, 3]


def test_a_call_is_found_by_its_number_only() -> None:
    pending = PendingCalls(2)
    call = add(pending)
    assert pending.get(1) is call
    assert pending.get(1.0) is call  # one number in JSON
    assert [pending.get(other) for other in ("1", None, 1.5, 2, -1)] == [None] * 5


def test_was_made_tells_late_from_unknown() -> None:
    pending = PendingCalls(2)
    pending.end(add(pending))
    assert pending.was_made(1)
    assert pending.was_made(1.0)
    assert not any(pending.was_made(other) for other in (0, 2, 1.5, "1", None, -1))


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 0, 3, 2), (2, 3, 0, 1)])
def test_the_first_is_the_smallest_id_that_is_pending(order: tuple[int, ...]) -> None:
    pending = PendingCalls(10)
    assert pending.first == 1
    calls = [add(pending) for _ in range(4)]
    left = {1, 2, 3, 4}
    for number in order:
        pending.end(calls[number])
        left.remove(calls[number].id)
        assert pending.first == min(left, default=5)
    add(pending)
    assert pending.first == 5


def test_one_more_than_the_limit_is_rejected_and_takes_no_id() -> None:
    pending = PendingCalls(1)
    first = add(pending)
    with pytest.raises(OverloadedError, match="at most 1 pending"):
        add(pending)
    pending.end(first)
    assert add(pending).id == 2


def test_a_call_ends_once() -> None:
    pending = PendingCalls(2)
    call = add(pending)
    assert (pending.end(call), call.ended, pending.end(call), len(pending)) == (True, True, False, 0)


def test_deadlines_pass_in_order_and_each_once() -> None:
    pending = PendingCalls(10)
    calls = [add(pending, deadline) for deadline in (3.0, 1.0, 2.0)]
    add(pending)
    assert pending.next_deadline() == 1.0
    assert pending.expired(0.5) == []
    assert pending.expired(2.0) == [calls[1], calls[2]]
    assert pending.expired(2.0) == []
    assert pending.next_deadline() == 3.0


def test_the_deadline_of_an_ended_call_does_not_count() -> None:
    pending = PendingCalls(10)
    early, late = add(pending, 1.0), add(pending, 2.0)
    pending.end(early)
    assert pending.next_deadline() == 2.0
    assert pending.expired(5.0) == [late]


def test_ended_calls_leave_no_deadlines_behind() -> None:
    pending = PendingCalls(10)
    add(pending, 1e9)
    for _ in range(10_000):
        pending.end(add(pending, 1e9))
    assert len(pending._deadlines) < 100
