"""The same calls at every portal: results and error classes are equal. A new portal joins PORTALS."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest

from portal import (
    CallContext,
    CallTimeout,
    Consumer,
    FunctionError,
    HTTPPortal,
    LocalPortal,
    Portal,
    ProtocolError,
    RateLimitError,
    RegistryError,
    TestingPortal,
    ValidationError,
    WebSocketPortal,
    function,
)
from portal.errors import PortalError
from portal.schema.constraints import Ge, MaxLen
from tests.support.hosted_portals import hosted_websocket_portal
from tests.support.secure_portals import secure_websocket_portal

PORTALS: dict[str, Callable[[], Portal]] = {
    "local": LocalPortal,
    "http": HTTPPortal,
    "websocket": WebSocketPortal,
    "wss": secure_websocket_portal,
    "websocket under WSGI": hosted_websocket_portal,
    "testing": TestingPortal,
}


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Item:
    sku: str
    quantity: Annotated[int, Ge(1)] = 1
    price: Decimal = Decimal("1.50")


@dataclass
class Order:
    customer: str
    items: list[Item]
    due: date | None = None


def add(a: float, b: float) -> float:
    """Add two numbers."""
    return a + b


def count(n: int) -> int:
    return n


def same(value: Any) -> Any:
    return value


def greet(name: str = "world", *, loud: bool = False) -> str:
    return f"hello {name}".upper() if loud else f"hello {name}"


def total(order: Order) -> Decimal:
    return sum((item.price * item.quantity for item in order.items), Decimal(0))


def enlarge(order: Order) -> Order:
    return Order(order.customer, [*order.items, Item("gift")], order.due)


def paint(colour: Colour) -> Colour:
    return Colour.BLUE if colour is Colour.RED else Colour.RED


def choose(size: Literal["s", "m"]) -> str:
    return size


def later(moment: datetime, by: timedelta) -> datetime:
    return moment + by


def twice(data: bytes) -> bytes:
    return data + data


def ident(key: UUID) -> UUID:
    return key


def pair(values: tuple[int, str]) -> tuple[str, int]:
    return values[1], values[0]


def unique(values: set[int]) -> int:
    return len(values)


def maybe(value: int | None = None) -> int | None:
    return value


def short(text: Annotated[str, MaxLen(3)]) -> str:
    return text


def nothing() -> None:
    return None


def lookup(table: dict[str, int], key: str) -> int:
    return table[key]


def fail(text: str) -> str:
    raise ValueError(text)


def leave() -> None:
    raise SystemExit(3)


def limited() -> None:
    raise RateLimitError("slow down", retry_after=7)


def lies() -> int:
    return "three"  # type: ignore[return-value]


def not_a_number() -> float:
    return math.nan


def surprise() -> Any:
    return object()


def countdown(start: int) -> Iterator[int]:
    while start:
        yield start
        start -= 1


def broken_stream() -> Iterator[int]:
    yield 1
    raise ValueError("broken")


def patient(seconds: float, context: CallContext) -> bool:
    """Waits until the call is given up."""
    done = threading.Event()
    context.on_cancel(done.set)
    return done.wait(seconds)


def who(context: CallContext) -> str:
    return context.request_id


FUNCTIONS = [
    add, count, same, greet, total, enlarge, paint, choose, later, twice, ident, pair, unique, maybe, short, nothing,
    lookup, fail, limited, lies, not_a_number, surprise, countdown, broken_stream, patient, who,
    leave,
]  # fmt: skip

BAD_QUANTITY = {"customer": "x", "items": [{"sku": "a", "quantity": 0}]}
ORDER = {"customer": "Zoë", "items": [{"sku": "a", "quantity": 2, "price": "2.25"}, {"sku": "b"}]}

RESULTS: list[tuple[str, dict[str, Any], Any]] = [
    ("add", {"a": 1, "b": 2}, 3.0),
    ("add", {"a": 0.1, "b": 0.2}, 0.1 + 0.2),
    ("add", {"a": -1e300, "b": 5e-324}, -1e300),
    ("count", {"n": 2**200}, 2**200),
    ("count", {"n": -1}, -1),
    ("count", {"n": 4.0}, 4),
    ("same", {"value": None}, None),
    ("same", {"value": []}, []),
    ("same", {"value": {}}, {}),
    ("same", {"value": ""}, ""),
    ("same", {"value": {"deep": [{"a": [1, 2.5, True, None, "x"]}]}}, {"deep": [{"a": [1, 2.5, True, None, "x"]}]}),
    ("same", {"value": "π 漢字 😀 \u2028 \\ \" \x00"}, "π 漢字 😀 \u2028 \\ \" \x00"),
    ("same", {"value": 10**300}, 10**300),
    ("greet", {}, "hello world"),
    ("greet", {"name": "Ann"}, "hello Ann"),
    ("greet", {"loud": True}, "HELLO WORLD"),
    ("total", {"order": ORDER}, "6.00"),
    ("enlarge", {"order": ORDER | {"due": "2026-02-28"}}, {
        "customer": "Zoë",
        "items": [
            {"sku": "a", "quantity": 2, "price": "2.25"},
            {"sku": "b", "quantity": 1, "price": "1.50"},
            {"sku": "gift", "quantity": 1, "price": "1.50"},
        ],
        "due": "2026-02-28",
    }),
    ("paint", {"colour": "red"}, "blue"),
    ("choose", {"size": "m"}, "m"),
    ("twice", {"data": "AAE="}, "AAEAAQ=="),
    ("ident", {"key": "12345678-1234-5678-1234-567812345678"}, "12345678-1234-5678-1234-567812345678"),
    ("pair", {"values": [1, "x"]}, ["x", 1]),
    ("unique", {"values": [1, 2, 3]}, 3),
    ("maybe", {}, None),
    ("maybe", {"value": None}, None),
    ("maybe", {"value": 3}, 3),
    ("nothing", {}, None),
    ("lookup", {"table": {"a": 1}, "key": "a"}, 1),
]  # fmt: skip

DEEP: Any = []
for _ in range(10_000):
    DEEP = [DEEP]

REFUSALS: list[tuple[str, dict[str, Any], type[PortalError], str]] = [
    ("add", {"a": "1", "b": 2}, ValidationError, "/a"),
    ("add", {"a": True, "b": 2}, ValidationError, "/a"),
    ("add", {"a": 1}, ValidationError, "b"),
    ("add", {"a": 1, "b": 2, "c": 3}, ValidationError, "c"),
    ("add", {"a": math.nan, "b": 2}, ValidationError, "/a"),
    ("add", {"a": math.inf, "b": 2}, ValidationError, "/a"),
    ("add", {"a": None, "b": 2}, ValidationError, "/a"),
    ("add", {"a": 10**400, "b": 2}, ValidationError, ""),
    ("count", {"n": 1.5}, ValidationError, "/n"),
    ("same", {"value": math.nan}, ValidationError, ""),
    ("same", {"value": object()}, ValidationError, ""),
    ("same", {"value": {1: 2}}, ValidationError, ""),
    ("same", {"value": "\ud800"}, ValidationError, ""),
    ("same", {"value": DEEP}, ValidationError, ""),
    ("total", {"order": BAD_QUANTITY}, ValidationError, "/order/items/0/quantity"),
    ("total", {"order": {"customer": "x", "items": [{"sku": 3}]}}, ValidationError, "/order/items/0/sku"),
    ("enlarge", {"order": ORDER | {"due": "2026-02-30"}}, ValidationError, "/order/due"),
    ("paint", {"colour": "green"}, ValidationError, "/colour"),
    ("choose", {"size": "xl"}, ValidationError, "/size"),
    ("later", {"moment": "yesterday", "by": "P1D"}, ValidationError, "/moment"),
    ("twice", {"data": "***"}, ValidationError, "/data"),
    ("pair", {"values": [1]}, ValidationError, "/values"),
    ("short", {"text": "long"}, ValidationError, "/text"),
    ("fail", {"text": "secret"}, FunctionError, ""),
    ("lookup", {"table": {}, "key": "a"}, FunctionError, ""),
    ("limited", {}, RateLimitError, ""),
    ("lies", {}, FunctionError, ""),
    ("not_a_number", {}, FunctionError, ""),
    ("surprise", {}, FunctionError, ""),
    ("countdown", {"start": 2}, ProtocolError, ""),
]  # fmt: skip


class Published:
    """The functions of this file at one portal."""

    def __init__(self, portal: Portal) -> None:
        self.portal = portal
        self.consumer = Consumer([portal])
        self.at = {one.__name__: portal.apply(one) for one in FUNCTIONS}


@pytest.fixture(scope="module", params=PORTALS, ids=list(PORTALS))
def published(request: pytest.FixtureRequest) -> Iterator[Published]:
    with PORTALS[request.param]() as portal:
        known = Published(portal)
        yield known
        known.consumer.close()


class TestEveryPortal:
    @pytest.mark.parametrize(("name", "params", "expected"), RESULTS)
    def test_result(self, published: Published, name: str, params: dict[str, Any], expected: Any) -> None:
        result = published.consumer.call_at(published.at[name], params)
        assert result == expected
        assert type(result) is type(expected)

    @pytest.mark.parametrize(("name", "params", "error", "path"), REFUSALS)
    def test_invalid_input_is_rejected(
        self, published: Published, name: str, params: dict[str, Any], error: type[PortalError], path: str
    ) -> None:
        with pytest.raises(error) as caught:
            published.consumer.call_at(published.at[name], params)
        assert type(caught.value) is error
        if error is ValidationError:
            assert caught.value.errors
            assert any(path in fault.path or path in fault.message for fault in caught.value.errors)

    def test_no_function_ends_the_thread_that_runs_it(self, published: Published) -> None:
        with pytest.raises(FunctionError):
            published.consumer.submit_at(published.at["leave"], {}).result(10.0)

    def test_several_faults_are_reported_together(self, published: Published) -> None:
        with pytest.raises(ValidationError) as caught:
            published.consumer.call_at(published.at["add"], {"a": "x", "c": 1})
        assert len(caught.value.errors) == 3

    def test_the_parameters_of_the_caller_are_not_changed(self, published: Published) -> None:
        value = {"a": [1]}
        result = published.consumer.call_at(published.at["same"], {"value": value})
        result["a"].append(2)
        assert value == {"a": [1]}

    def test_an_unknown_function(self, published: Published) -> None:
        with pytest.raises(RegistryError) as caught:
            published.consumer.call_at(published.portal.generate_address("nobody"), {})
        assert caught.value.kind == "not_found"

    def test_by_name_and_version(self, published: Published) -> None:
        params = {"a": 1, "b": 2}
        assert published.consumer.call_at(published.portal.generate_address("add"), params) == 3.0
        exact = published.portal.generate_address("add", {"version": "1"})
        assert published.consumer.call_at(exact, params) == 3.0
        with pytest.raises(RegistryError):
            published.consumer.call_at(published.portal.generate_address("add", {"version": "2"}), params)

    def test_a_stream(self, published: Published) -> None:
        assert list(published.consumer.stream_at(published.at["countdown"], {"start": 3})) == [3, 2, 1]
        assert list(published.consumer.stream_at(published.at["countdown"], {"start": 0})) == []

    def test_a_stream_that_is_closed_early(self, published: Published) -> None:
        stream = published.consumer.stream_at(published.at["countdown"], {"start": -1})
        assert next(stream) == -1
        stream.close()  # type: ignore[attr-defined]
        assert published.consumer.call_at(published.at["add"], {"a": 1, "b": 1}) == 2.0

    def test_a_stream_that_breaks(self, published: Published) -> None:
        stream = published.consumer.stream_at(published.at["broken_stream"], {})
        assert next(stream) == 1
        with pytest.raises(FunctionError):
            next(stream)

    def test_a_stream_rejects_invalid_input_before_the_first_item(self, published: Published) -> None:
        with pytest.raises(ValidationError):
            published.consumer.stream_at(published.at["countdown"], {"start": "x"})
        with pytest.raises(ProtocolError):
            next(published.consumer.stream_at(published.at["add"], {"a": 1, "b": 2}))

    def test_a_deadline(self, published: Published) -> None:
        with pytest.raises(CallTimeout):
            published.consumer.call_at(published.at["patient"], {"seconds": 30.0}, timeout=0.05)

    def test_the_earlier_deadline_holds(self, published: Published) -> None:
        context = CallContext.for_call(timeout=0.05)
        with pytest.raises(CallTimeout):
            published.consumer.call_at(published.at["patient"], {"seconds": 30.0}, timeout=60, context=context)

    def test_the_request_id_travels(self, published: Published) -> None:
        context = CallContext(request_id="req-7")
        assert published.consumer.call_at(published.at["who"], {}, context=context) == "req-7"
        with pytest.raises(FunctionError) as caught:
            published.consumer.call_at(published.at["fail"], {"text": "x"}, context=context)
        assert caught.value.request_id == "req-7"

    def test_native_values(self, published: Published) -> None:
        moment = datetime(2026, 1, 31, tzinfo=UTC)
        paint = published.consumer.resolve(published.at["later"])
        assert paint(moment, by=timedelta(days=1)) == "2026-02-01T00:00:00+00:00"
        paint_it = published.consumer.resolve(published.at["later"], returns=datetime)
        assert paint_it(moment, by=timedelta(days=1)) == datetime(2026, 2, 1, tzinfo=UTC)
        assert published.consumer.resolve(published.at["total"]).schema.name == "total"
        with pytest.raises(ValidationError):
            paint_it(moment)

    def test_a_result_is_loaded_into_a_type(self, published: Published) -> None:
        order = published.consumer.call_at(published.at["enlarge"], {"order": ORDER}, returns=Order)
        assert order.items[-1] == Item("gift")

    def test_concurrent_calls(self, published: Published) -> None:
        calls = [{"a": n, "b": n} for n in range(100)]
        assert list(published.consumer.map_at(published.at["add"], calls)) == [2.0 * n for n in range(100)]
        futures = [published.consumer.submit_at(published.at["count"], {"n": n}) for n in range(20)]
        assert [future.result(10) for future in futures] == list(range(20))

    def test_a_notification(self, published: Published) -> None:
        seen = threading.Event()

        @function(name=f"seen_{id(seen)}")
        def note() -> None:
            seen.set()

        published.consumer.notify_at(published.portal.apply(note), {})
        assert seen.wait(10)

    def test_removed_functions_are_not_found(self, published: Published) -> None:
        def gone() -> int:
            return 1

        address = published.portal.apply(gone)
        assert published.consumer.call_at(address, {}) == 1
        published.portal.remove(address)
        with pytest.raises(RegistryError):
            published.consumer.call_at(address, {})

    def test_a_duplicate_name_is_rejected(self, published: Published) -> None:
        with pytest.raises(RegistryError) as caught:
            published.portal.apply(function(name="add")(count))
        assert caught.value.kind == "conflict"
