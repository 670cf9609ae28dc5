"""A hypothesis state machine of two WebSocket sessions that call each other, joined by texts.

It interleaves calls, batches, notifications, streams, responses in any order, cancellation, deadlines, lost
connections, and texts of a peer that breaks the protocol. Each call must get exactly one end, and its own.
"""

from __future__ import annotations

import json
from collections import deque
from random import Random
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from portal.errors import PortalError, TransportError
from portal.websocket.events import (
    CallEnded,
    CallReceived,
    CancelReceived,
    Event,
    IncomingCall,
    ItemReceived,
    OutgoingCall,
    Send,
)
from portal.websocket.protocol import Session

SIDES = st.sampled_from([0, 1])
PARAMS = st.one_of(st.none(), st.lists(st.integers(), max_size=3), st.dictionaries(st.text(max_size=3), st.none()))
HOSTILE = st.sampled_from(
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"null",
        b"[" * 100,
        b'{"jsonrpc":"2.0","id":1}',
        b'{"jsonrpc":"2.0","result":1,"id":null}',
        b'{"jsonrpc":"2.0","result":1,"id":"x"}',
        b'{"jsonrpc":"2.0","result":1,"id":1e400}',
        b'{"jsonrpc":"2.0","result":1,"id":true}',
        b'{"jsonrpc":"2.0","result":1,"id":123456789}',
        b'{"jsonrpc":"2.0","method":"rpc.cancel","params":{"id":[1]}}',
        b'{"jsonrpc":"2.0","method":"rpc.item","params":{"id":123456789,"data":1}}',
        b'{"jsonrpc":"2.0","method":"rpc.credit","params":{"id":123456789,"items":1}}',
        b'{"jsonrpc":"2.0","method":"rpc.ping","id":0}',
    ]
)


class TwoSessions(RuleBasedStateMachine):
    """Two sessions; `self.texts[side]` is what side has sent and the other has not received."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.begin()

    def begin(self) -> None:
        self.sessions = (Session(max_calls=20, max_pending=30), Session(max_calls=20, max_pending=30))
        self.texts: tuple[deque[bytes], deque[bytes]] = (deque(), deque())
        self.old: tuple[list[bytes], list[bytes]] = ([], [])  # texts that were received, to send again
        self.made: tuple[list[OutgoingCall], list[OutgoingCall]] = ([], [])
        self.running: tuple[list[IncomingCall], list[IncomingCall]] = ([], [])
        self.ends: dict[tuple[int, int], CallEnded] = {}
        self.results: dict[tuple[int, Any], Any] = {}  # by caller and id: what the other side has responded
        self.items: dict[tuple[int, int], list[Any]] = {}
        self.items_sent: dict[tuple[int, Any], list[Any]] = {}
        self.number = 0

    def handle(self, side: int, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Send):
                json.loads(event.text)
                self.texts[side].append(event.text)
            elif isinstance(event, CallReceived):
                assert not event.call.ended
                self.running[side].append(event.call)
            elif isinstance(event, CancelReceived):
                assert event.call in self.running[side]
            elif isinstance(event, CallEnded):
                key = (side, event.call.id)
                assert key not in self.ends, "a call must have one end"
                assert event.call.ended
                self.ends[key] = event
            elif isinstance(event, ItemReceived):
                assert not event.call.ended, "an item after the end"
                self.items.setdefault((side, event.call.id), []).append(event.data)

    def next_number(self) -> int:
        self.number += 1
        return self.number

    # what the sides do

    @rule(
        side=SIDES, params=PARAMS, timeout=st.one_of(st.none(), st.floats(0.1, 5)), credit=st.sampled_from([None, 0, 2])
    )
    def call(self, side: int, params: Any, timeout: float | None, credit: int | None) -> None:
        deadline = None if timeout is None else self.now + timeout
        try:
            call, text = self.sessions[side].call("f", params, deadline=deadline, credit=credit)
        except PortalError:
            assert len(self.sessions[side].pending) == 30
            return
        self.made[side].append(call)
        self.texts[side].append(text)

    @rule(side=SIDES, count=st.integers(1, 5))
    def batch(self, side: int, count: int) -> None:
        try:
            calls, text = self.sessions[side].call_batch([("f", [n], None) for n in range(count)])
        except PortalError:
            return
        self.made[side].extend(calls)
        self.texts[side].append(text)

    @rule(side=SIDES)
    def notify(self, side: int) -> None:
        self.texts[side].append(self.sessions[side].notify("f"))

    @rule(side=SIDES, count=st.integers(1, 10))
    def deliver(self, side: int, count: int) -> None:
        other = 1 - side
        for _ in range(min(count, len(self.texts[side]))):
            text = self.texts[side].popleft()
            self.old[side].append(text)
            self.handle(other, self.sessions[other].receive(text, self.now))

    @rule(side=SIDES, data=st.data())
    def respond(self, side: int, data: st.DataObject) -> None:
        if not self.running[side]:
            return
        call = data.draw(st.sampled_from(self.running[side]))
        self.running[side].remove(call)
        number = self.next_number()
        was_cancelled = call.cancelled
        if data.draw(st.sampled_from([True, False])):
            text = self.sessions[side].fail(call, PortalError(f"failure {number}"))
            outcome: Any = ("error", f"failure {number}")
        else:
            text = self.sessions[side].respond(call, number)
            outcome = ("result", number)
        assert call.ended
        if not call.notification and not was_cancelled:
            self.results[1 - side, call.id] = outcome
        if text is not None:
            self.texts[side].append(text)

    @rule(side=SIDES, data=st.data())
    def item(self, side: int, data: st.DataObject) -> None:
        ready = [call for call in self.running[side] if call.credit is None or call.credit > 0]
        if not ready:
            return
        call = data.draw(st.sampled_from(ready))
        number = self.next_number()
        text = self.sessions[side].item(call, number)
        assert (text is None) == call.cancelled
        if text is not None:
            self.texts[side].append(text)
            self.items_sent.setdefault((1 - side, call.id), []).append(number)

    @rule(side=SIDES, items=st.integers(1, 3), data=st.data())
    def grant(self, side: int, items: int, data: st.DataObject) -> None:
        if not self.made[side]:
            return
        call = data.draw(st.sampled_from(self.made[side][-10:]))
        text = self.sessions[side].grant(call, items)
        assert (text is None) == call.ended
        if text is not None:
            self.texts[side].append(text)

    @rule(side=SIDES, data=st.data())
    def cancel(self, side: int, data: st.DataObject) -> None:
        if self.made[side]:
            call = data.draw(st.sampled_from(self.made[side][-10:]))
            self.handle(side, self.sessions[side].cancel(call))

    @rule(seconds=st.floats(0.01, 3))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        for side, session in enumerate(self.sessions):
            self.handle(side, session.expire(self.now))
            deadline = session.next_deadline()
            assert deadline is None or deadline > self.now

    # what a faulty peer or network does

    @rule(side=SIDES, text=HOSTILE)
    def send_hostile_text(self, side: int, text: bytes) -> None:
        self.handle(side, self.sessions[side].receive(text, self.now))

    @rule(side=SIDES, data=st.data())
    def repeat_a_response(self, side: int, data: st.DataObject) -> None:
        old = [text for text in self.old[side] if b'"method"' not in text]
        if old:
            self.handle(1 - side, self.sessions[1 - side].receive(data.draw(st.sampled_from(old)), self.now))

    @rule(odds=st.integers(0, 30))
    def lose_the_connection(self, odds: int) -> None:
        if odds == 0:
            self.finish()
            self.begin()

    @invariant()
    def pending_calls_are_those_without_an_end(self) -> None:
        for side, session in enumerate(self.sessions):
            open_calls = [call for call in self.made[side] if (side, call.id) not in self.ends]
            assert session.pending == open_calls
            assert set(session.running) == set(self.running[side])
            assert len(session._pending._deadlines) <= 2 * len(open_calls) + 64
            assert all(call.credit is None or call.credit >= 0 for call in session.pending)

    def finish(self) -> None:
        """Deliver what was sent, respond to nothing more, and lose the connection."""
        while self.texts[0] or self.texts[1]:
            self.deliver(0, len(self.texts[0]))
            self.deliver(1, len(self.texts[1]))
        for side, session in enumerate(self.sessions):
            self.handle(side, session.close(TransportError("lost")))
            for call in list(session.running):
                session.fail(call, TransportError("lost"))
            assert session.pending == []
            assert session.running == []
            assert session.next_deadline() is None
            assert session._pending._deadlines == []
        for side in (0, 1):
            for call in self.made[side]:
                self.check_end(side, self.ends[side, call.id])

    def check_end(self, side: int, end: CallEnded) -> None:
        call = end.call
        response = self.results.get((side, call.id))
        if end.error is None:
            assert response == ("result", end.result), "the result of another call"
        elif str(end.error).startswith("failure"):
            assert response == ("error", str(end.error)), "the error of another call"
        received = self.items.get((side, call.id), [])
        assert received == self.items_sent.get((side, call.id), [])[: len(received)], "items out of order"

    def teardown(self) -> None:
        self.finish()


class Choices:
    """Draws by a random number generator, in place of hypothesis, whose runs end after some hundred steps."""

    def __init__(self, random: Random) -> None:
        self.random = random

    def draw(self, strategy: Any) -> Any:
        return self.random.choice(strategy.elements)


def run_steps(steps: int, seed: int) -> TwoSessions:
    """Run one machine for so many steps, end it, and return it."""
    random = Random(seed)
    data: Any = Choices(random)
    machine = TwoSessions()
    hostile = list(HOSTILE.elements)  # type: ignore[attr-defined]

    def side() -> int:
        return random.randrange(2)

    moves = [
        lambda: machine.call(side(), random.choice([None, [1], {"a": None}]), random.choice([None, 0.5, 5]), None),
        lambda: machine.call(side(), None, None, random.choice([0, 2])),
        lambda: machine.batch(side(), random.randint(1, 5)),
        lambda: machine.notify(side()),
        lambda: machine.deliver(side(), random.randint(1, 10)),
        lambda: machine.deliver(side(), random.randint(1, 10)),
        lambda: machine.respond(side(), data),
        lambda: machine.respond(side(), data),
        lambda: machine.respond(side(), data),
        lambda: machine.item(side(), data),
        lambda: machine.grant(side(), random.randint(1, 3), data),
        lambda: machine.cancel(side(), data),
        lambda: machine.wait(random.uniform(0.01, 1)),
        lambda: machine.send_hostile_text(side(), random.choice(hostile)),
        lambda: machine.repeat_a_response(side(), data),
    ]
    for _ in range(steps):
        random.choice(moves)()
        machine.pending_calls_are_those_without_an_end()
    machine.finish()
    return machine
