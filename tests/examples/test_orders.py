"""The order service: prices, streams, errors, and its documented examples."""

from __future__ import annotations

import threading
from decimal import Decimal

import pytest

from portal import CallCancelled, CallContext, CallTimeout, FunctionError, ValidationError
from portal.examples.orders import Customer, Item, Order, OrderFailed, service


def order(*items, coupon=None):
    return Order(Customer("Ann", "ann@example.com"), [Item(*item) for item in items], coupon)


@pytest.mark.parametrize(
    ("items", "coupon", "subtotal", "discount", "delivery", "total"),
    [
        ([("PEN-001", 1, Decimal("1.20"))], None, "1.20", "0.00", "4.90", "6.10"),
        ([("PEN-001", 10, Decimal("1.20"))], "WELCOME10", "12.00", "1.20", "4.90", "15.70"),
        ([("BAG-002", 1, Decimal("50"))], None, "50.00", "0.00", "0.00", "50.00"),
        ([("BAG-002", 1, Decimal("50"))], "WELCOME10", "50.00", "5.00", "4.90", "49.90"),
        ([("PEN-001", 1, Decimal("0.1")), ("PEN-001", 1, Decimal("0.2"))], None, "0.30", "0.00", "4.90", "5.20"),
    ],
)
def test_price(items, coupon, subtotal, discount, delivery, total):
    invoice = service["price"](order=order(*items, coupon=coupon))
    assert [str(part) for part in (invoice.subtotal, invoice.discount, invoice.delivery, invoice.total)] == [
        subtotal,
        discount,
        delivery,
        total,
    ]


def examples():
    return [(member, example) for member in service.functions.values() for example in member.schema.examples]


@pytest.mark.parametrize(("member", "example"), examples(), ids=lambda value: getattr(value, "name", ""))
def test_each_example_has_the_result_of_its_function(member, example):
    context = CallContext()
    if member.streaming:
        assert list(member.iterate(example["input"], context)) == example["output"]
    elif "output" in example:
        assert member.invoke(example["input"], context) == example["output"]
    else:
        with pytest.raises(FunctionError):
            member.invoke(example["input"], context)


def test_each_function_has_a_description_and_examples():
    assert all(member.schema.description and member.schema.examples for member in service.functions.values())
    assert [name for name, member in service.functions.items() if not member.schema.idempotent] == ["fail"]


@pytest.mark.parametrize(
    ("name", "params", "path"),
    [
        ("quote", {"sku": "ZZZ-999"}, "/sku"),
        ("quote", {"sku": "pen"}, "/sku"),
        ("quote", {"sku": "PEN-001", "quantity": 0}, "/quantity"),
        ("history", {"customer": ""}, "/customer"),
        ("slow", {"seconds": 61}, "/seconds"),
    ],
)
def test_rejected_input_is_reported_with_its_path(name, params, path):
    member = service.functions[name]
    with pytest.raises(ValidationError) as caught:
        (member.iterate if member.streaming else member.invoke)(params, CallContext())
    assert [fault.path for fault in caught.value.errors] == [path]


def test_an_unknown_coupon_is_rejected_with_its_path():
    with pytest.raises(ValidationError) as caught:
        service["price"](order=order(("PEN-001", 1, Decimal("1.20")), coupon="NOSUCH"))
    assert caught.value.errors[0].path == "/order/coupon"


def test_fail_raises_its_own_exception():
    with pytest.raises(OrderFailed, match="no"):
        service["fail"](reason="no")
    with pytest.raises(FunctionError) as caught:
        service["fail"].invoke({"reason": "no"}, CallContext())
    assert caught.value.type == "OrderFailed"


def test_slow_stops_when_the_call_is_cancelled():
    context = CallContext()
    failures = []

    def call():
        try:
            service["slow"].invoke({"seconds": 60}, context)
        except CallCancelled as error:
            failures.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    context.cancel()
    caller.join(10)
    assert not caller.is_alive()
    assert len(failures) == 1


def test_slow_stops_at_the_deadline():
    with pytest.raises(CallTimeout):
        service["slow"].invoke({"seconds": 60}, CallContext.for_call(0.01))
