from __future__ import annotations

from collections.abc import Callable

import pytest

from portal import Consumer, LocalPortal, Service, TestingPortal
from portal.testing import any_of

Arrange = Callable[[TestingPortal], object]


def in_order(*steps: str) -> Arrange:
    def arrange(portal: TestingPortal) -> None:
        for step in steps:
            portal.expect(step).times(1).in_order()

    return arrange


@pytest.mark.parametrize(
    ("arrange", "calls", "words"),
    [
        (in_order("f", "g"), "fg", ""),
        (in_order("f", "g"), "fhg", ""),
        (in_order("f", "g", "f"), "fgf", ""),
        (in_order("f", "g"), "gf", "g(n=0)"),
        (in_order("f", "g"), "f", "there were no more calls for g() exactly once"),
        (in_order("f", "g"), "", "there were no more calls for f() exactly once"),
        (in_order("f", "g", "f"), "ffg", "came instead of g() exactly once"),
        (in_order("f"), "ff", "came instead of f() exactly once"),
        (lambda p: (p.expect("f").in_order(), p.expect("g").times(2).in_order()), "fffgg", ""),
        (lambda p: (p.expect("f").at_most(1).in_order(), p.expect("g").in_order()), "g", ""),
        (lambda p: (p.expect("f").never().in_order(), p.expect("g").in_order()), "gf", "came instead of g()"),
        (lambda p: (in_order("f", "g")(p), p.expect("h").never()), "fgh", "expected h() never, called once"),
        (
            lambda p: p.expect("f").with_params(n=any_of(str)).in_order(),
            "f",
            "near miss: n was 0, not any_of(str)",
        ),
    ],
)
def test_calls_in_order(arrange: Arrange, calls: str, words: str) -> None:
    with TestingPortal() as portal, Consumer([portal]) as consumer:
        for name in "fgh":
            portal.stub(name, None)
        arrange(portal)
        for number, name in enumerate(calls):
            consumer.call_at(f"test://{name}", {"n": number})
        if not words:
            assert portal.verify() is None  # type: ignore[func-returns-value]
            return
        with pytest.raises(AssertionError) as caught:
            portal.verify()
        assert words in str(caught.value)


def test_the_message_of_a_failed_verification() -> None:
    ticks = iter(range(100))
    with TestingPortal(clock=lambda: float(next(ticks))) as portal, Consumer([portal]) as consumer:
        portal.stub("pay", "ok")
        portal.stub("ship", "ok")
        in_order("pay", "ship")(portal)
        portal.expect("pay").with_params(cents=250).times(1)
        consumer.call_at("test://ship", {"to": "Rome"})
        consumer.call_at("test://pay", {"cents": 200})
        with pytest.raises(AssertionError) as caught:
            portal.verify()
    assert str(caught.value).splitlines() == [
        "expected pay(cents=250) exactly once, called 0 times",
        "  near miss: cents was 200, not 250",
        "expected in this order:",
        "  1. pay() exactly once",
        "  2. ship() exactly once",
        "but ship(to='Rome') returned 'ok'",
        "  came instead of pay() exactly once",
        "calls:",
        "  ship(to='Rome') returned 'ok'",
        "  pay(cents=200) returned 'ok'",
    ]


def test_order_is_that_of_the_starts() -> None:
    with TestingPortal() as portal, Consumer([portal]) as consumer:
        portal.mock("outer").side_effect(lambda: consumer.call_at("test://inner"))
        portal.stub("inner", 1)
        in_order("outer", "inner")(portal)
        consumer.call_at("test://outer")
        inner, outer = portal.calls()
        assert (inner.name, outer.name) == ("inner", "outer")
        assert outer.started <= inner.started
        portal.verify()


def test_a_function_named_as_its_service() -> None:
    def price() -> int:
        return 1

    with TestingPortal() as portal, Consumer([portal]) as consumer:
        portal.apply_service(Service("price", [price]))
        for address in ("test://price/price", "mock://price/price/1", "test://price/price@1"):
            consumer.call_at(address)
        assert [call.name for call in portal.calls()] == ["price/price"] * 3
        assert len(portal.calls("price/price")) == 3


def test_testing_portals_have_separate_histories() -> None:
    with LocalPortal() as local, TestingPortal() as portal, Consumer([local, portal]) as consumer:
        local.apply(len_of)
        assert consumer.call_at("local://len_of", {"text": "four"}) == 4
        assert portal.calls() == []


def len_of(text: str) -> int:
    return len(text)
