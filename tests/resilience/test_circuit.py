"""The states of a circuit, compared with a model."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from portal.resilience.circuit import Circuit, Thresholds


class CircuitAgainstModel(RuleBasedStateMachine):
    """Compare the circuit with a model that keeps plain lists. Calls overlap, time passes, outcomes come late."""

    @initialize(
        failures=st.integers(1, 4),
        half_open_calls=st.integers(1, 3),
        consecutive=st.booleans(),
        rate=st.sampled_from([None, 0.5, 1.0]),
    )
    def begin(self, failures: int, half_open_calls: int, consecutive: bool, rate: float | None) -> None:
        self.thresholds = Thresholds(failures, 10.0, consecutive, rate, 4, 30.0, half_open_calls)
        self.circuit = Circuit(self.thresholds)
        self.now = 1000.0
        self.state = "closed"
        self.era = 0  # changes with each change of state
        self.history: list[tuple[float, bool]] = []  # outcomes that count in this era
        self.opened = self.until = 0.0
        self.out: list[dict[str, Any]] = []  # calls in progress
        self.won = 0

    def change(self, state: str) -> None:
        self.state = state
        self.era += 1
        self.won = 0
        if state == "closed":
            self.history = []
        if state == "open":
            self.opened, self.until = self.now, self.now + 30.0

    def half_open_calls(self) -> int:
        return sum(one["era"] == self.era and one["permit_until"] > self.now for one in self.out)

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 5.0, 10.0, 29.0, 30.0, 100.0]))
    def advance(self, seconds: float) -> None:
        self.now += seconds

    @rule(hold=st.sampled_from([1.0, 30.0]))
    def call(self, hold: float) -> None:
        if self.state == "open" and self.now >= self.until:
            self.change("half_open")
        expected = self.state == "closed" or (
            self.state == "half_open" and self.half_open_calls() + self.won < self.thresholds.half_open_calls
        )
        permit = self.circuit.admit(self.now, hold)
        assert (permit is not None) == expected
        if permit is not None:
            if self.state == "half_open":  # permits that have ended are void from now on
                for one in self.out:
                    one["void"] |= one["era"] == self.era and one["permit_until"] <= self.now
            self.out.append({"permit": permit, "era": self.era, "permit_until": self.now + hold, "void": False})
        elif self.state == "half_open":
            for one in self.out:
                one["void"] |= one["era"] == self.era and one["permit_until"] <= self.now

    @precondition(lambda self: self.out)
    @rule(data=st.data(), failed=st.sampled_from([True, True, False, None]))
    def settle(self, data: st.DataObject, failed: bool | None) -> None:
        one = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        self.circuit.settle(one["permit"], failed, self.now)
        if one["era"] != self.era or failed is None:
            return
        if self.state == "closed":
            self.history.append((self.now, failed))
            if failed and self.exceeds():
                self.change("open")
        elif self.state == "half_open" and not one["void"]:
            self.won += not failed
            if failed:
                self.change("open")
            elif self.won == self.thresholds.half_open_calls:
                self.change("closed")

    def exceeds(self) -> bool:
        outcomes = self.history
        if self.thresholds.consecutive:
            last_success = max((i for i, (_, failed) in enumerate(outcomes) if not failed), default=-1)
            outcomes = outcomes[last_success + 1 :]
        if sum(failed and self.now - at < 10.0 for at, failed in outcomes) >= (self.thresholds.failures or math.inf):
            return True
        if self.thresholds.rate is None:
            return False
        recent = [failed for at, failed in self.history if math.floor(at) > math.floor(self.now) - 10]
        return len(recent) >= 4 and sum(recent) >= self.thresholds.rate * len(recent)

    @rule()
    def reset(self) -> None:
        self.circuit.close()
        self.change("closed")

    @rule()
    def force(self) -> None:
        self.circuit.open(self.now, 30.0)
        self.change("open")

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "circuit"):
            return
        shown = self.circuit.snapshot(self.now)
        assert shown.state == self.circuit.state == self.state
        if self.state == "open":
            assert shown.opened_at == self.opened
            assert shown.retry_after == max(0.0, self.until - self.now)
        if self.state == "half_open":
            assert shown.half_open_calls == self.half_open_calls()
            assert shown.half_open_calls + self.won <= self.thresholds.half_open_calls


TestCircuitAgainstModel = CircuitAgainstModel.TestCase
TestCircuitAgainstModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
