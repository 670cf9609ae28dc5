from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from portal import Chaos, ConfigError, Consumer, HTTPPortal, Policy, Retry, function
from portal.calls.middleware import Call
from portal.context import CallContext
from portal.errors import CallTimeout, OverloadedError, PortalError, TransportError
from portal.resilience import PolicyState


@function
def add(a: int, b: int) -> int:
    return a + b


@function
def ticks() -> Iterator[int]:
    yield 1
    yield 2


def call_of(target: Any = add, context: CallContext | None = None) -> Call:
    return Call(target, {}, context or CallContext(), streaming=bool(target.schema.streaming))


def outcomes(chaos: Chaos, calls: int = 200) -> list[str]:
    found = []
    for _ in range(calls):
        slept: list[float] = []
        chaos._sleep = lambda seconds, context, slept=slept: slept.append(seconds)
        ran: list[int] = []
        try:
            chaos(call_of(), lambda call, ran=ran: ran.append(1))
            name = "ok"
        except PortalError as error:
            name = f"{error.delivery}, {'ran' if ran else 'did not run'}"
        found.append(name + (", slow" if slept else ""))
    return found


def test_the_same_seed_gives_the_same_faults() -> None:
    options: dict[str, Any] = {"slow": 0.2, "fails": 0.2, "drops_after_execution": 0.2}
    first = outcomes(Chaos(seed=1, **options))
    assert first == outcomes(Chaos(seed=1, **options).for_consumer())
    assert first != outcomes(Chaos(seed=2, **options))
    assert {"ok", "not_sent, did not run", "unknown, ran", "ok, slow"} <= set(first)
    # Another share leaves the other faults as they are.
    without = outcomes(Chaos(seed=1, **options | {"slow": 0.0}))
    assert [one.removesuffix(", slow") for one in first] == without


def test_the_shares_hold() -> None:
    chaos = Chaos(slow=0.5, fails=0.1, drops_after_execution=1.0)
    found = outcomes(chaos, 1000)
    assert 400 < sum("slow" in one for one in found) < 600
    assert 60 < sum("did not run" in one for one in found) < 140
    assert chaos.stats()["drops_after_execution"] == sum("unknown, ran" in one for one in found) > 800


def test_the_error_may_be_chosen() -> None:
    with pytest.raises(OverloadedError, match="chaos: add failed"):
        Chaos(fails=1, error=OverloadedError)(call_of(), lambda call: 1)
    given = OverloadedError("busy", retry_after=3.0)
    with pytest.raises(OverloadedError) as caught:
        Chaos(fails=1, error=given)(call_of(), lambda call: 1)
    assert caught.value is not given
    assert caught.value.retry_after == 3.0


def test_a_delay_ends_at_the_deadline() -> None:
    call = call_of(context=CallContext().child(timeout=0.01))
    with pytest.raises(CallTimeout):
        Chaos(slow=1, delay=100.0)(call, lambda call: 1)


def test_a_condition_chooses_the_calls() -> None:
    chaos = Chaos(fails=1, if_=lambda call: call.function.name != "add")
    assert chaos(call_of(), lambda call: 1) == 1


def test_a_stream_loses_its_first_item() -> None:
    stream = Chaos(drops_after_execution=1)(call_of(ticks), lambda call: iter([1, 2]))
    with pytest.raises(TransportError, match="was lost"):
        next(stream)


def test_an_error_is_lost_like_a_response() -> None:
    def fail(call: Call) -> Any:
        raise OverloadedError("o")

    with pytest.raises(TransportError) as caught:
        Chaos(drops_after_execution=1)(call_of(), fail)
    assert isinstance(caught.value.cause, OverloadedError)


def test_chaos_is_the_innermost_stage() -> None:
    policy = Policy(chaos=Chaos(fails=1))
    around = policy.attempt_stages(PolicyState(), [lambda call, call_next: call_next(call)])
    assert isinstance(around[-1], Chaos)


def test_retries_hide_faults_of_idempotent_calls_over_a_socket() -> None:
    ran: list[int] = []

    @function(idempotent=True)
    def note(n: int) -> int:
        ran.append(n)
        return n

    chaos = Chaos(fails=0.2, drops_after_execution=0.2, seed=3)
    retry = Retry(attempts=10, initial_backoff=0.0001, max_backoff=0.0001)
    with HTTPPortal() as http, Consumer(middleware=[retry, chaos]) as consumer:
        address = http.apply(note)
        assert [consumer.call_at(address, {"n": n}) for n in range(50)] == list(range(50))
    lost = chaos.stats()["drops_after_execution"]
    assert lost > 0
    assert len(ran) == 50 + lost


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"slow": 2}, "chaos.slow"),
        ({"fails": -1}, "chaos.fails"),
        ({"error": ValueError}, "chaos.error"),
        ({"seed": 1.5}, "chaos.seed"),
    ],
)
def test_wrong_settings_are_rejected(options: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Chaos(**options)
    assert caught.value.path == path
