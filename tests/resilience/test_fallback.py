from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from portal import ConfigError, Consumer, Fallback, LocalPortal, Policy, function
from portal.calls.middleware import Call
from portal.context import CallContext
from portal.errors import (
    AuthenticationError,
    CallCancelled,
    CallTimeout,
    CircuitOpenError,
    ConsumerError,
    FunctionError,
    OverloadedError,
    PortalError,
    ProtocolError,
    RateLimitError,
    RegistryError,
    TransportError,
    ValidationError,
)
from portal.resilience import PolicyState
from tests.support.ports import free_port


@function
def rates() -> list[int]:
    return [1]


@function
def ticks() -> Iterator[int]:
    yield 1


def call_of(target: Any = rates) -> Call:
    return Call(target, {"n": 1}, CallContext(), streaming=bool(target.schema.streaming))


def raising(error: BaseException) -> Any:
    def call_next(call: Call) -> Any:
        raise error

    return call_next


@pytest.mark.parametrize(
    ("error", "falls_back"),
    [
        (TransportError("t"), True),
        (CallTimeout("t"), True),
        (OverloadedError("o"), True),
        (CircuitOpenError("c"), True),
        (RateLimitError("r"), True),
        (ConsumerError("c"), True),
        (ProtocolError("p", status=502), True),
        (ProtocolError("p"), False),
        (ValidationError("v"), False),
        (FunctionError("f"), False),
        (AuthenticationError("a"), False),
        (RegistryError("r"), False),
        (CallCancelled("c"), False),
    ],
)
def test_which_errors_fall_back(error: PortalError, falls_back: bool) -> None:
    fallback = Fallback([])
    if falls_back:
        assert fallback(call_of(), raising(error)) == []
    else:
        with pytest.raises(type(error)):
            fallback(call_of(), raising(error))
    assert fallback.stats() == {"used": int(falls_back)}


def test_each_caller_gets_a_copy_of_the_value() -> None:
    fallback = Fallback({"rates": []})
    first = fallback(call_of(), raising(TransportError("t")))
    first["rates"].append(1)
    assert fallback(call_of(), raising(TransportError("t"))) == {"rates": []}


def test_a_function_gets_the_call_and_the_error() -> None:
    error = TransportError("t")
    fallback = Fallback(function=lambda call, failure: [call.params["n"], failure is error], on=lambda error: True)
    assert fallback(call_of(), raising(error)) == [1, True]
    assert fallback(call_of(), lambda call: "fine") == "fine"


def test_other_exceptions_pass() -> None:
    with pytest.raises(KeyError):
        Fallback(1)(call_of(), raising(KeyError("x")))


def test_a_cancelled_call_does_not_fall_back() -> None:
    call = call_of()
    call.context.cancel()
    with pytest.raises(TransportError):
        Fallback(1)(call, raising(TransportError("t")))


def test_an_address_is_called_with_the_same_parameters() -> None:
    seen: list[tuple[str, Any, bool]] = []

    def caller(address: str, params: Mapping[str, Any], context: CallContext, streaming: bool) -> Any:
        seen.append((address, params, streaming))
        if len(seen) > 1:
            raise RegistryError("nothing there")
        return "other"

    policy = Policy(fallback=Fallback(address="local://rates"))
    (stage,) = policy.call_stages(PolicyState(caller))
    assert stage(call_of(), raising(TransportError("t"))) == "other"
    with pytest.raises(TransportError) as caught:
        stage(call_of(), raising(TransportError("t")))
    assert caught.value.context["fallback"] == "local://rates: registry_error"
    assert seen[0] == ("local://rates", {"n": 1}, False)
    (without,) = policy.call_stages(PolicyState())
    with pytest.raises(TransportError):
        without(call_of(), raising(TransportError("t")))


def test_a_stream_falls_back_before_its_first_item_only() -> None:
    def broken(after: int) -> Iterator[int]:
        yield from range(after)
        raise TransportError("t")

    assert list(Fallback([7, 8])(call_of(ticks), lambda call: broken(0))) == [7, 8]
    stream = Fallback([7, 8])(call_of(ticks), lambda call: broken(1))
    assert next(stream) == 0
    with pytest.raises(TransportError):
        next(stream)


def test_a_server_that_is_down_falls_back() -> None:
    nobody = f"http://127.0.0.1:{free_port()}/api/rates"
    with LocalPortal() as local, Consumer(middleware=[Fallback(["cached"])]) as consumer:
        assert consumer.call_at(nobody, {}) == ["cached"]
        assert consumer.call_at(local.apply(rates), {}) == [1]


@pytest.mark.parametrize("options", [{}, {"value": 1, "address": "local://a"}, {"value": object()}, {"function": 3}])
def test_wrong_settings_are_rejected(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Fallback(**options)
