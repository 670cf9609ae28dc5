"""The example service returns the right prices. The demo runs and counts failed checks."""

from __future__ import annotations

import subprocess
import sys
import threading
from decimal import Decimal

import pytest
from rich.console import Console

from portal import CallCancelled, CallContext, CallTimeout, Consumer, FunctionError, LocalPortal, ValidationError
from portal.examples import demo
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


def test_the_demo_passes_every_check():
    command = [sys.executable, "-m", "portal.examples.demo"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WRONG" not in done.stdout
    for call in demo.FAILING:
        assert done.stdout.count(f" {call.title:<19} {call.error.__name__}: ") == 3
    assert "no credential       AuthenticationError" in done.stdout
    assert "stopped server      TransportError" in done.stdout
    assert "All checks passed. The server stopped with exit code 0." in done.stdout
    assert done.stdout.endswith(f"  {demo.portal_command()} serve portal.examples.orders:service\n")
    assert done.stderr == ""


def test_the_demo_counts_failed_checks(capsys):
    with LocalPortal() as local, Consumer([local]) as consumer:
        local.apply_service(service)
        report = demo.Report(consumer, Console(width=200))
        addresses = {"add": "local://orders/add", "gone": "local://orders/gone"}
        right = demo.SuccessfulCall("add", {"a": 1, "b": 1}, 3.0)
        report.successful([right, demo.SuccessfulCall("gone", {}, None)], [addresses])
        report.failing(demo.FailingCall("right call", "add", {"a": 1, "b": 1}, ValidationError), addresses["add"])
        report.failing(demo.FailingCall("another error", "add", {"a": 1}, FunctionError), addresses["add"])
    assert report.failed == 4
    assert capsys.readouterr().out.count("WRONG") == 4


def test_serve_reports_a_server_that_cannot_start():
    expected = r"(?s)exit code 2 .* has no nothing"
    with pytest.raises(RuntimeError, match=expected), demo.serve("portal.examples.orders:nothing"):
        pytest.fail("the server must not start")


def test_stop_kills_a_server_that_does_not_stop():
    class StubbornProcess:
        killed = False

        def terminate(self):
            self.killed = False

        def wait(self, timeout=None):
            if not self.killed:
                raise subprocess.TimeoutExpired("portal", timeout)
            return -9

        def kill(self):
            self.killed = True

    assert demo.stop(StubbornProcess()) == -9
