from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from portal import (
    Address,
    CallTimeout,
    ConfigError,
    Consumer,
    FunctionError,
    FunctionSchema,
    HTTPPortal,
    LocalPortal,
    OverloadedError,
    PortalError,
    RegistryError,
    Service,
    TestingPortal,
    ValidationError,
)
from portal.testing import ANY, any_of, approx, having, matching, where


@dataclass
class Receipt:
    paid: bool


def charge(amount: int, card: str = "none") -> Receipt:
    """Charge a card."""
    raise AssertionError("the real one must not be called")


def numbers(n: int) -> Iterator[int]:
    yield from range(n)


def test_returned_values_in_order(portal_testing: TestingPortal, portal_consumer: Consumer) -> None:
    mock = portal_testing.mock("next").returns(1, 2, 3)
    assert str(mock.function.address) == "test://next/1"
    assert [portal_consumer.call_at("test://next") for _ in range(5)] == [1, 2, 3, 3, 3]
    assert portal_consumer.call_at("mock://next/1", {"any": [1]}) == 3
    assert mock.calls == 6


def test_a_mock_validates_like_its_function(portal_testing: TestingPortal, portal_consumer: Consumer) -> None:
    portal_testing.mock(charge).returns(Receipt(True)).after(1).returns("nonsense")
    assert portal_consumer.call_at("test://charge", {"amount": 3}) == {"paid": True}
    with pytest.raises(ValidationError):
        portal_consumer.call_at("test://charge", {"amount": "3"})
    with pytest.raises(FunctionError) as caught:
        portal_consumer.call_at("test://charge", {"amount": 3})
    assert caught.value.type == "InvalidOutput"
    assert portal_consumer.resolve("test://charge").schema.description == "Charge a card."


def test_a_mock_of_a_schema_validates(portal_testing: TestingPortal, portal_consumer: Consumer) -> None:
    schema = FunctionSchema(name="count", input={"type": "object", "properties": {"n": {"type": "integer"}}}, output={})
    portal_testing.mock(schema).side_effect(lambda n=0: n + 1)
    assert portal_consumer.call_at("test://count", {"n": 1}) == 2
    with pytest.raises(ValidationError):
        portal_consumer.call_at("test://count", {"n": "1"})


def test_conditions_and_counts(portal_testing: TestingPortal, portal_consumer: Consumer) -> None:
    mock = portal_testing.mock("charge").returns("ok").after(2).raises(OverloadedError("busy", retry_after=1))
    mock.when(amount=where(lambda amount: amount < 0, "negative")).raises(ValueError("negative"))
    assert portal_consumer.call_at("test://charge", {"amount": 1}) == "ok"
    with pytest.raises(FunctionError, match="negative"):
        portal_consumer.call_at("test://charge", {"amount": -1})
    with pytest.raises(OverloadedError):
        portal_consumer.call_at("test://charge", {"amount": 1})


def test_side_effects(portal_testing: TestingPortal, portal_consumer: Consumer) -> None:
    portal_testing.mock("turns").side_effect([1, KeyError("two"), ValueError])
    assert portal_consumer.call_at("test://turns") == 1
    for kind in ("KeyError", "ValueError"):
        with pytest.raises(FunctionError) as caught:
            portal_consumer.call_at("test://turns")
        assert caught.value.type == kind
    with pytest.raises(RegistryError, match="no more values"):
        portal_consumer.call_at("test://turns")
    portal_testing.mock("silent")
    with pytest.raises(RegistryError, match=r"has no behavior for .*; give it one, such as mock\.returns"):
        portal_consumer.call_at("test://silent")


def test_streams_and_stubs(portal_testing: TestingPortal, portal_consumer: Consumer) -> None:
    portal_testing.mock("feed").yields([1, 2])
    portal_testing.mock(numbers).yields([7])
    assert list(portal_consumer.stream_at("test://feed")) == [1, 2]
    assert list(portal_consumer.stream_at("test://numbers", {"n": 1})) == [7]
    address = portal_testing.stub("rate", 1.5)
    assert portal_consumer.call_at(address) == 1.5
    assert portal_testing.calls("feed")[0].result == [1, 2]


def test_history(local_portal: LocalPortal) -> None:
    ticks = iter([1.0, 1.5, 2.0, 4.0])
    with TestingPortal(clock=lambda: next(ticks)) as portal, Consumer([portal]) as consumer:
        portal.apply_service(Service("shop", [lambda_add]))
        consumer.call_at("test://shop/lambda_add", {"a": 1})
        with pytest.raises(ValidationError):
            consumer.call_at("test://shop/lambda_add", {"a": "x"})
        good, bad = portal.calls()
        assert (good.name, good.params, good.result) == ("shop/lambda_add", {"a": 1}, 2)
        assert (good.error, good.duration) == (None, 0.5)
        assert isinstance(bad.error, ValidationError)
        assert bad.duration == 2.0
        assert bad.request_id != good.request_id
        assert "raised ValidationError" in str(bad)
        portal.reset()
        assert portal.calls() == []
    assert local_portal.functions() == {}


def lambda_add(a: int) -> int:
    return a + 1


def test_a_failed_stream_is_in_the_history(portal_testing: TestingPortal, portal_consumer: Consumer) -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("no")

    portal_testing.apply(broken)
    with pytest.raises(FunctionError):
        list(portal_consumer.stream_at("test://broken"))
    (record,) = portal_testing.calls("broken")
    assert record.result == [1]
    assert isinstance(record.error, FunctionError)


@pytest.mark.parametrize(
    ("arrange", "calls", "words"),
    [
        (lambda e: e, [{"a": 1}], ""),
        (lambda e: e, [], "expected f() at least once, called 0 times\nthere were no calls"),
        (lambda e: e.times(2), [{"a": 1}], "exactly 2 times, called once"),
        (lambda e: e.never(), [{"a": 1}], "expected f() never, called once"),
        (lambda e: e.never(), [], ""),
        (lambda e: e.at_most(1), [{}, {}], "at most once, called 2 times"),
        (lambda e: e.at_least(2), [{}, {}], ""),
        (lambda e: e.with_params(a=1), [{"a": 2}], "near miss: a was 2, not 1"),
        (lambda e: e.with_params(a=ANY), [{"b": 2}], "near miss: a was 'missing', not ANY"),
        (lambda e: e.with_params(a=any_of(int, "x")), [{"a": "x"}], ""),
        (lambda e: e.with_params(a=matching("^o")), [{"a": "order"}], ""),
        (lambda e: e.with_params(a=approx(0.3)), [{"a": 0.1 + 0.2}], ""),
        (lambda e: e.with_params(a=approx(0.3)), [{"a": "0.3"}], "not approx(0.3)"),
        (lambda e: e.with_params(a=having(b=1)), [{"a": {"b": 1, "c": 2}}], ""),
        (lambda e: e.with_params(a=having(b=1)), [{"a": []}], "not having(b=1)"),
        (lambda e: e.with_params(a=matching("x")), [{"a": 3}], "not matching('x')"),
        (lambda e: e.with_params(a=any_of(int, "x")), [{"a": None}], "not any_of(int, 'x')"),
        (lambda e: e.with_params(a=where(bool)), [{"a": 0}], "not where(bool)"),
    ],
)
def test_expectations(arrange: Any, calls: list[dict[str, Any]], words: str) -> None:
    with TestingPortal() as portal, Consumer([portal]) as consumer:
        portal.stub("f", None)
        arrange(portal.expect("f"))
        for params in calls:
            consumer.call_at("test://f", params)
        if not words:
            portal.verify()
            return
        with pytest.raises(AssertionError) as caught:
            portal.verify()
        assert words in str(caught.value)


def test_a_negative_count_is_rejected() -> None:
    with pytest.raises(ConfigError):
        TestingPortal().expect("f").times(-1)


def test_mocks_keep_deadlines(portal_testing: TestingPortal, portal_consumer: Consumer) -> None:
    gate = threading.Event()
    portal_testing.mock("slow").side_effect(lambda: gate.wait(10))
    with pytest.raises(CallTimeout):
        portal_consumer.call_at("test://slow", timeout=0.02)
    gate.set()


def test_eight_threads_share_a_mock(portal_testing: TestingPortal, portal_consumer: Consumer) -> None:
    mock = portal_testing.mock("next").side_effect(range(800))
    seen: list[int] = []

    def work() -> None:
        seen.extend(portal_consumer.call_at("test://next") for _ in range(100))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(seen) == list(range(800))
    assert mock.calls == len(portal_testing.calls("next")) == 800


# in the place of a server

BASE = "http://stock.example/api"


def test_every_consumer_calls_it_by_url() -> None:
    level = f"{BASE}/level"
    with TestingPortal(base=BASE) as portal, Consumer() as one, Consumer([LocalPortal()]) as two:
        portal.mock("level").returns(7)
        portal.mock("warehouse/price").returns(12)
        assert [one.call_at(level, {"sku": "PEN"}), two.call_at(level, {"sku": "PEN"})] == [7, 7]
        assert two.call_at(f"{BASE}/warehouse/price") == 12
        assert one.resolve(level).schema.name == "level"
        assert [call.name for call in portal.calls()] == ["level", "level", "warehouse/price"]
        rows = one.list_at(BASE)["functions"]
        assert [row["address"] for row in rows] == [f"{BASE}/level/1", f"{BASE}/warehouse/price/1"]
        assert one.list_at(f"{BASE}/warehouse")["state"] == "stopped"
        with pytest.raises(RegistryError, match="no listing"):
            one.list_at(f"{BASE}/nothing")


def test_addresses_elsewhere_go_to_their_server() -> None:
    def add(a: int, b: int) -> int:
        return a + b

    with TestingPortal(base=BASE) as portal, HTTPPortal() as http, Consumer() as consumer:
        portal.mock("add").returns(7)
        assert consumer.call_at(http.apply(add), {"a": 1, "b": 2}) == 3
        with Consumer([portal]) as alone, pytest.raises(RegistryError, match="not below"):
            alone.call_at("http://bank.example/api/add", {"a": 1, "b": 2})


def test_a_server_is_called_before_and_after() -> None:
    def add(a: int, b: int) -> int:
        return a + b

    with HTTPPortal() as http, Consumer() as consumer:
        address = http.apply(add)
        assert consumer.call_at(address, {"a": 1, "b": 2}) == 3
        with TestingPortal(base=http.base) as portal:
            portal.mock(add).returns(30)
            assert consumer.call_at(http.base.child("add"), {"a": 1, "b": 2}) == 30
            with pytest.raises(RegistryError):
                consumer.call_at(address, {"a": 1, "b": 2})
        assert consumer.call_at(address, {"a": 1, "b": 2}) == 3


def failing(number: int) -> int:
    raise RuntimeError("the password is x")


def feed(number: int) -> Iterator[int]:
    yield 1
    if number:
        raise OverloadedError("busy", retry_after=2.0)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("failing", {"number": 3}),
        ("failing", {"number": "3"}),
        ("nothing", {}),
        ("feed", {"number": 1}),
        ("rejecting", {}),
    ],
)
def test_errors_are_those_of_a_server(name: str, params: dict[str, Any]) -> None:
    """The same functions are published by a server and by its mock, and the errors are compared."""

    def rejecting() -> None:
        raise OverloadedError("busy", retry_after=2.0)

    found = []
    with HTTPPortal() as http, TestingPortal(base=BASE) as portal, Consumer() as consumer:
        for one, base in ((http, http.base), (portal, Address.parse(BASE))):
            for published in (failing, feed, rejecting):
                one.apply(published)
            call = consumer.stream_at if name == "feed" else consumer.call_at
            with pytest.raises(PortalError) as caught:
                list(call(base.child(name), params))
            error = caught.value
            shown = (
                str(error).replace(str(base), "BASE").replace(str(error.request_id), "ID"),
                {member: getattr(error, member) for member in error.members},
            )
            found.append((type(error), error.code, error.delivery, error.retryable, error.scheme, *shown))
    assert found[0] == found[1]


def test_calls_have_the_deadline_of_a_remote_call(caplog: pytest.LogCaptureFixture) -> None:
    with TestingPortal(base=BASE) as portal, Consumer(timeout=0.01) as consumer:
        portal.mock("level").returns(7).slow(3600)
        with pytest.raises(CallTimeout) as caught:
            consumer.call_at(f"{BASE}/level")
        assert caught.value.scheme == "http"
        portal.mock(failing).raises(RuntimeError("the password is x"))
        with pytest.raises(FunctionError) as failed:
            consumer.call_at(f"{BASE}/failing", {"number": 1}, timeout=30)
    assert "password" not in str(failed.value)
    assert "the password is x" in caplog.text


def test_websocket_addresses_have_mocks_too() -> None:
    with TestingPortal(base="wss://stock.example/ws") as portal, Consumer() as consumer:
        portal.mock("level").returns(7)
        assert consumer.call_at("wss://stock.example/ws/level") == 7


def test_a_base_is_that_of_one_portal_at_a_time() -> None:
    with TestingPortal(base=BASE) as first, Consumer() as consumer:
        first.mock("level").returns(7)
        with pytest.raises(ConfigError, match="close the other TestingPortal"):
            TestingPortal(base=f"{BASE}/")
        with TestingPortal(base=f"{BASE}/warehouse") as below:
            below.mock("level").returns(3)
            assert consumer.call_at(f"{BASE}/warehouse/level") == 3
            assert consumer.call_at(f"{BASE}/level") == 7
    with TestingPortal(base=BASE) as second, Consumer() as consumer:
        second.mock("level").returns(8)
        assert consumer.call_at(f"{BASE}/level") == 8


@pytest.mark.parametrize("settings", [{"base": "stock"}, {"base": "test://stock"}, {"seed": 1.5}, {"seed": True}])
def test_wrong_settings_of_the_portal_are_rejected(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        TestingPortal(**settings)
