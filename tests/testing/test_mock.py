from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import marshmallow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal import (
    CallContext,
    ConfigError,
    Consumer,
    FunctionError,
    FunctionSchema,
    LocalPortal,
    OverloadedError,
    PortalError,
    RegistryError,
    TestingPortal,
    ValidationError,
    function,
)
from portal.testing import ANY, any_of, where
from portal.testing.matchers import params_match
from portal.testing.mock import MockFunction


def feed(n: int) -> Iterator[int]:
    yield from range(n)


def due(day: date, days: int = 30) -> date:
    raise AssertionError("the real one must not be called")


@pytest.fixture
def eager_switching() -> Iterator[None]:
    """Threads change places as often as the interpreter lets them, so that a missing lock shows."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def portal() -> Iterator[TestingPortal]:
    with TestingPortal() as one:
        yield one


@pytest.fixture
def consumer(portal: TestingPortal) -> Iterator[Consumer]:
    with Consumer([portal]) as one:
        yield one


def test_a_mock_has_an_address_and_resolves(portal: TestingPortal) -> None:
    mock = portal.mock(due).returns(date(2024, 1, 31))
    assert str(mock.address) == "test://due/1"
    assert mock.resolve()(day=date(2024, 1, 1)) == date(2024, 1, 31)
    assert portal.calls("due")[0].params == {"day": "2024-01-01"}


@dataclass
class Shelf:
    row: int
    since: date


def test_a_mock_without_a_schema_returns_native_values(portal: TestingPortal, consumer: Consumer) -> None:
    shelf, data = Shelf(1, date(2026, 1, 2)), {"row": 1, "since": "2026-01-02"}
    portal.mock("place").returns([shelf], {"a": Decimal("1.20")}, object())
    portal.mock("shelves").yields([shelf, 3])
    assert consumer.call_at("test://place") == [data]
    assert consumer.call_at("test://place") == {"a": "1.20"}
    with pytest.raises(FunctionError, match="must be JSON data, got object"):
        consumer.call_at("test://place")
    assert list(consumer.stream_at("test://shelves")) == [data, 3]
    assert next(consumer.stream_at("test://shelves", returns=Shelf)) == shelf


def test_an_unpublished_mock_has_no_address() -> None:
    mock = MockFunction.of("loose").mock
    with pytest.raises(RegistryError, match="not published"):
        mock.resolve()


def test_a_mock_is_a_function_too() -> None:
    assert MockFunction.of(due).mock.returns(date(2024, 2, 1)).function(date(2024, 1, 1)) == date(2024, 2, 1)
    stream = MockFunction.of(feed).mock.yields([1, 2]).function
    assert list(stream(n=2)) == [1, 2]
    with pytest.raises(FunctionError, match="no"):
        MockFunction.of("bare").mock.raises(ValueError("no")).function.call(a=1)


def test_side_effects_get_native_values_and_defaults(portal: TestingPortal, consumer: Consumer) -> None:
    seen: list[Any] = []

    def effect(day: date, days: int) -> date:
        seen.append((day, days))
        return day

    portal.mock(due).side_effect(effect)
    assert consumer.call_at("test://due", {"day": "2024-01-01"}) == "2024-01-01"
    assert seen == [(date(2024, 1, 1), 30)]


def test_side_effects_get_the_context(portal: TestingPortal, consumer: Consumer) -> None:
    def whoami(context: CallContext, prefix: str = "id ") -> str:
        return prefix + context.request_id

    portal.mock(whoami).side_effect(whoami)
    given = CallContext(request_id="r-1")
    assert consumer.call_at("test://whoami", context=given) == "id r-1"


class Count(marshmallow.Schema):
    n = marshmallow.fields.Integer(required=True)


@pytest.mark.parametrize("params", [{"n": 3}, {"n": "3"}, {"n": "x"}, {}, {"n": 1, "m": 2}])
def test_a_mock_keeps_the_coercions_of_marshmallow(params: dict[str, Any]) -> None:
    def double(n: int) -> int:
        return n * 2

    real = function(input=Count)(double)
    with TestingPortal() as portal, LocalPortal() as local, Consumer([portal, local]) as consumer:
        portal.mock(real).side_effect(double)
        local.apply(real)
        assert outcome(consumer, "test://double", params) == outcome(consumer, "local://double", params)


def outcome(consumer: Consumer, address: str, params: dict[str, Any]) -> Any:
    try:
        return consumer.call_at(address, params)
    except PortalError as error:
        return type(error)


def test_a_mock_keeps_the_formats_of_a_schema(portal: TestingPortal, consumer: Consumer) -> None:
    properties = {"on": {"type": "string", "format": "date"}, "n": {"type": "integer", "default": 4}}
    schema = FunctionSchema(name="at", input={"type": "object", "properties": properties}, output={"type": "integer"})
    portal.mock(schema).side_effect(lambda n, **_: n)
    assert consumer.call_at("test://at", {"on": "2024-01-01"}) == 4
    with pytest.raises(ValidationError):
        consumer.call_at("test://at", {"on": "soon"})


def test_a_mock_of_a_lenient_schema_is_lenient(portal: TestingPortal, consumer: Consumer) -> None:
    @function(validate_output="off")
    def loose() -> int:
        return 1

    portal.mock(loose).returns("text")
    assert consumer.call_at("test://loose") == "text"


def test_every_raised_error_has_its_own_request_id(portal: TestingPortal, consumer: Consumer) -> None:
    busy = OverloadedError("busy", retry_after=2, context={"user": "ann"}, cause=ValueError("why"))
    portal.mock("busy").raises(busy)
    portal.mock("turns").side_effect([busy, busy])
    caught = []
    for address in ("test://busy", "test://busy", "test://turns", "test://turns"):
        with pytest.raises(OverloadedError) as one:
            consumer.call_at(address)
        caught.append(one.value)
    assert len({error.request_id for error in caught}) == 4
    assert {(error.retry_after, error.context["user"], str(error.cause)) for error in caught} == {(2, "ann", "why")}
    assert busy.request_id is None


def test_a_value_that_cannot_be_raised_is_rejected(portal: TestingPortal) -> None:
    with pytest.raises(ConfigError, match=r"mock.raises must be an exception or an exception class"):
        portal.mock("f").raises("no")  # type: ignore[arg-type]


def broken(n: int) -> Iterator[int]:
    yield n
    raise KeyError("middle")


@pytest.mark.parametrize(
    ("arrange", "items", "kind"),
    [
        (lambda mock: mock.side_effect(broken), [3], "KeyError"),
        (lambda mock: mock.yields([1, ValueError("after one")]), [1], "ValueError"),
        (lambda mock: mock.yields([1, KeyError]), [1], "KeyError"),
        (lambda mock: mock.raises(ValueError("at once")), [], "ValueError"),
        (lambda mock: mock.returns(5), [], "TypeError"),
        (lambda mock: mock.yields([1, "text"]), [1], "InvalidOutput"),
        (lambda mock: mock.returns([4, 5]), [4, 5], None),
    ],
)
def test_mocked_streams_fail_as_real_ones(arrange: Any, items: list[int], kind: str | None) -> None:
    with TestingPortal() as portal, Consumer([portal]) as consumer:
        arrange(portal.mock(feed))
        stream = consumer.stream_at("test://feed", {"n": 3})  # raises nothing yet
        assert [next(stream) for _ in items] == items
        with pytest.raises(StopIteration if kind is None else FunctionError):
            next(stream)
        (record,) = portal.calls("feed")
        assert record.result == items
        assert getattr(record.error, "type", None) == kind


def test_a_stream_that_is_not_read_is_a_call(portal: TestingPortal, consumer: Consumer) -> None:
    portal.mock(feed).yields([1, 2])
    portal.expect("feed").never()
    consumer.stream_at("test://feed", {"n": 1}).close()  # type: ignore[attr-defined]
    assert portal.calls("feed")[0].result == []
    with pytest.raises(AssertionError, match="never, called once"):
        portal.verify()


def test_yields_needs_a_streaming_function(portal: TestingPortal) -> None:
    with pytest.raises(ConfigError, match=r"mock.yields must be used on a mock of a streaming function"):
        portal.mock(due).yields([1])


def test_a_condition_without_a_behaviour_returns_none(portal: TestingPortal, consumer: Consumer) -> None:
    portal.mock("f").returns().when(a=where(lambda a: a > 1)).returns("more")
    assert [consumer.call_at("test://f", {"a": a}) for a in (1, 2, "x")] == [None, "more", None]


def test_history_is_not_changed_by_the_caller(portal: TestingPortal, consumer: Consumer) -> None:
    portal.stub("f", {"list": [1]})
    params = {"a": [1]}
    consumer.call_at("test://f", params)["list"].append(2)
    params["a"].append(2)
    (record,) = portal.calls()
    assert (record.params, record.result) == ({"a": [1]}, {"list": [1]})
    assert consumer.call_at("test://f") == {"list": [1]}
    with pytest.raises(AttributeError):
        record.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize("params", [[1], "text", {1: 2}, {"a": b"x"}, {"a": float("nan")}])
def test_parameters_that_are_not_json_are_recorded_unchanged(params: Any) -> None:
    with TestingPortal() as portal, Consumer([portal]) as consumer:
        portal.stub("f", 1)
        portal.expect("f").with_params(b=2)
        with pytest.raises(ValidationError):
            consumer.call_at("test://f", params)
        (record,) = portal.calls("f")
        assert isinstance(record.error, ValidationError)
        assert str(record).endswith("raised ValidationError")
        with pytest.raises(AssertionError, match="near miss: b was 'missing'"):
            portal.verify()


def test_an_error_of_middleware_is_in_the_history() -> None:
    def fail(call: Any, call_next: Any) -> Any:
        raise KeyError("in the middle")

    with TestingPortal(middleware=[fail]) as portal, Consumer([portal]) as consumer:
        portal.stub("f", 1)
        with pytest.raises(PortalError):
            consumer.call_at("test://f")
        assert isinstance(portal.calls("f")[0].error, KeyError)


@pytest.mark.parametrize(
    ("kind", "value", "fits"),
    [
        (int, 1, True),
        (int, True, False),
        (int, None, False),
        (bool, True, True),
        (bool, 1, False),
        (float, 1, True),
        (float, True, False),
        (float, "1", False),
        (str, "x", True),
        (object, True, True),
    ],
)
def test_matchers_use_the_types_of_json(kind: type, value: Any, fits: bool) -> None:
    assert (any_of(kind) == value) is fits


@given(st.dictionaries(st.text(), st.one_of(st.integers(), st.text(), st.none(), st.lists(st.integers()))))
def test_parameters_match_themselves(params: dict[str, Any]) -> None:
    assert params_match(params, params)
    assert params_match(dict.fromkeys(params, ANY), params)
    assert not params_match({**params, "one more": ANY}, {k: v for k, v in params.items() if k != "one more"})


@pytest.mark.usefixtures("eager_switching")
def test_eight_threads_one_mock_with_conditions(portal: TestingPortal, consumer: Consumer) -> None:
    mock = portal.mock("f").returns(*range(400)).when(odd=True).raises(OverloadedError("busy"))
    portal.expect("f").with_params(odd=True).times(400)
    portal.expect("f").with_params(odd=False).times(400)
    values: list[int] = []
    ids: list[str | None] = []

    def work() -> None:
        for turn in range(100):
            try:
                values.append(consumer.call_at("test://f", {"odd": turn % 2 == 1}))
            except OverloadedError as error:
                ids.append(error.request_id)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(values) == list(range(400))
    assert len(set(ids)) == 400
    assert mock.calls == len(portal.calls()) == 800
    portal.verify()


def test_a_side_effect_that_calls_its_own_mock_does_not_hang(portal: TestingPortal, consumer: Consumer) -> None:
    def numbers() -> Iterator[int]:
        yield consumer.call_at("test://f")

    portal.mock("f").side_effect(numbers())
    with pytest.raises(FunctionError, match="already executing"):
        consumer.call_at("test://f")


@pytest.mark.usefixtures("eager_switching")
def test_eight_threads_take_from_one_generator(portal: TestingPortal, consumer: Consumer) -> None:
    def numbers() -> Iterator[int]:
        for number in range(160):
            yield sum(number for _ in range(200)) // 200  # long enough for another thread to come in the middle

    portal.mock("f").side_effect(numbers())
    values: list[int] = []
    failures: list[PortalError] = []

    def work() -> None:
        for _ in range(20):
            try:
                values.append(consumer.call_at("test://f"))
            except PortalError as error:
                failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert sorted(values) == list(range(160))


@pytest.mark.parametrize("as_list", [True, False])
def test_errors_are_raised_in_turn(portal: TestingPortal, consumer: Consumer, as_list: bool) -> None:
    errors = [OverloadedError("busy"), RegistryError("gone")]
    mock = portal.mock("charge")
    mock.raises(errors) if as_list else mock.raises(*errors)
    found = []
    for _ in range(3):
        with pytest.raises(PortalError) as caught:
            consumer.call_at("test://charge")
        found.append(type(caught.value))
    assert found == [OverloadedError, RegistryError, RegistryError]


def test_a_sequence_of_errors_holds_only_errors() -> None:
    for wrong in ([], [OverloadedError("busy"), "gone"], [None]):
        mock = MockFunction.of("charge").mock
        with pytest.raises(ConfigError, match="exception"):
            mock.raises(wrong)  # type: ignore[arg-type]
