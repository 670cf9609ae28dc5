"""Service and `@service`: members, lifecycle, and publishing as a whole."""

from __future__ import annotations

import functools
import gc
import logging
import operator
import threading
import weakref
from collections.abc import Iterator
from decimal import Decimal
from types import MethodType
from typing import Any

import pytest

from portal import (
    CallContext,
    ConfigError,
    Consumer,
    FunctionError,
    HTTPPortal,
    LocalPortal,
    Portal,
    RegistryError,
    Service,
    ValidationError,
)
from portal import function as make
from portal import service as mark
from portal.service import ServiceState


@mark(name="users", version="2")
class Users:
    """People."""

    limit = 3

    def __init__(self) -> None:
        self.names: list[str] = []
        self.log: list[str] = []

    def on_start(self) -> None:
        self.log.append("start")

    def on_stop(self) -> None:
        self.log.append("stop")

    def add(self, name: str) -> int:
        """Add one."""
        self.names.append(name)
        return len(self.names)

    @make(idempotent=True, tags=["read"])
    def get(self, index: int) -> str:
        return self.names[index]

    @staticmethod
    def double(n: int) -> int:
        return 2 * n

    @classmethod
    def kind(cls) -> str:
        return cls.__name__

    def each(self) -> Iterator[str]:
        yield from self.names

    @property
    def size(self) -> int:
        raise AssertionError("a property must not be read")

    def _private(self) -> None:
        raise AssertionError("a private method must not be published")


def test_public_methods_become_functions() -> None:
    group = Service.of(Users())
    assert set(group.functions) == {"add", "get", "double", "kind", "each"}
    assert (group.name, group.version, group.description) == ("users", "2", "People.")
    assert group["get"].schema.idempotent
    assert group["get"].schema.tags == ("read",)
    assert group["each"].streaming
    assert group["add"]("Ann") == 1
    assert group["get"](0) == "Ann"
    assert Service.of(group) is group
    assert "users stopped" in repr(group)
    with pytest.raises(RegistryError):
        group["missing"]


def test_a_marked_class_can_be_used_as_before() -> None:
    @mark
    class Plain:
        def one(self) -> int:
            return 1

    assert Plain().one() == 1
    assert Service.of(Plain)["one"]() == 1
    assert Service.of(Plain).name == "plain"


@pytest.mark.parametrize("kind", [LocalPortal, HTTPPortal])
def test_a_portal_publishes_a_whole_service(kind: type[Portal]) -> None:
    users = Users()
    with kind() as portal, Consumer([portal]) as consumer:
        address = portal.apply_service(users)
        assert users.log == ["start"]
        assert consumer.call_at(address.child("add"), {"name": "Ann"}) == 1
        assert list(consumer.stream_at(address.child("each"))) == ["Ann"]
        remote = portal.resolve_service(address)
        assert remote.version == "2"
        assert remote["get"](index=0) == "Ann"
        with pytest.raises(FunctionError):
            remote["get"](index=9)
        assert portal.services()[address].state is ServiceState.RUNNING
        assert portal.health()["services"] == {"users": "running"}
        with pytest.raises(RegistryError):
            portal.apply_service(Users())
        with pytest.raises(RegistryError):
            portal.resolve_service(address.child("missing"))
        portal.remove(address)
        assert users.log == ["start", "stop"]
        with pytest.raises(RegistryError):
            consumer.call_at(address.child("add"), {"name": "Bob"})
        assert portal.functions() == {}


def test_a_service_that_fails_to_start_is_not_published() -> None:
    def fail() -> None:
        raise OSError("the disk is full")

    group = Service("shop", [Users.double], on_start=fail)
    with LocalPortal() as portal:
        with pytest.raises(OSError, match="the disk is full"):
            portal.apply_service(group)
        assert portal.functions() == {}
        assert portal.services() == {}
    assert group.status()["state"] == "error"
    assert group.status()["error"] == "OSError: the disk is full"


class Closing:
    """A middleware that records whether it was closed."""

    closed = False

    def __call__(self, call: Any, call_next: Any) -> Any:
        return call_next(call)

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("kind", [LocalPortal, HTTPPortal])
def test_a_service_that_fails_to_stop_does_not_keep_the_rest_open(kind: Any, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise OSError("the disk is full")

    broken = [Service(name, [Users.double], on_stop=fail) for name in ("first", "second")]
    intact, middleware = Service("third", [Users.double]), Closing()
    portal = kind(middleware=[middleware])
    for group in (*broken, intact):
        portal.apply_service(group)
    portal.start()
    with pytest.raises(OSError, match="the disk is full"):
        portal.close()
    assert middleware.closed
    assert intact.state is ServiceState.STOPPED
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["service first failed to stop", "service second failed to stop"]
    portal.close()


@pytest.mark.parametrize("kind", [LocalPortal, HTTPPortal])
def test_an_error_while_a_failed_start_is_undone_does_not_replace_its_error(
    kind: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(message: str) -> None:
        raise OSError(message)

    with kind(middleware=[]) as portal:
        portal.stop()
        portal.apply_service(Service("first", [Users.double], on_stop=lambda: fail("cannot stop")))
        portal.apply_service(Service("second", [Users.double], on_start=lambda: fail("cannot start")))
        with pytest.raises(OSError, match="cannot start"):
            portal.start()
    assert "service first failed to stop" in [record.getMessage() for record in caplog.records]


def test_lifecycle_of_a_service() -> None:
    seen: list[ServiceState] = []
    group = Service("s", on_start=lambda: seen.append(group.state), on_stop=lambda: seen.append(group.state))
    assert group.state is ServiceState.STOPPED
    group.stop()
    with group:
        group.start()
        assert group.state is ServiceState.RUNNING
    assert group.state is ServiceState.STOPPED
    assert seen == [ServiceState.STARTING, ServiceState.STOPPING]


def test_after_an_error_a_start_tries_again() -> None:
    outcomes: list[Any] = [ValueError("once"), None]

    def start() -> None:
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome

    group = Service("s", on_start=start)
    with pytest.raises(ValueError, match="once"):
        group.start()
    group.stop()
    assert group.state is ServiceState.ERROR
    group.start()
    assert group.status()["error"] is None


def test_one_of_several_threads_starts_a_service() -> None:
    entered, gate, times = threading.Event(), threading.Event(), []

    def start() -> None:
        times.append(1)
        entered.set()
        gate.wait(10)

    group = Service("s", on_start=start)
    threads = [threading.Thread(target=group.start) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert entered.wait(10)
    with pytest.raises(TimeoutError, match="still starting"):
        group.stop(timeout=0.01)
    gate.set()
    for thread in threads:
        thread.join(10)
    assert times == [1]
    assert group.state is ServiceState.RUNNING


def test_wrong_sources_and_names_are_rejected() -> None:
    for source in (3, object, lambda: None):
        with pytest.raises(ConfigError):
            Service.of(source)
    with pytest.raises(ConfigError):
        mark(3)  # type: ignore[call-overload]
    with pytest.raises(RegistryError):
        Service("a/b")
    with pytest.raises(RegistryError):
        Service("s", [Users.double, Users.double])


def test_a_class_that_requires_arguments_is_described_and_not_made() -> None:
    @mark(name="stock")
    class Stock:
        def __init__(self, database: str, *, limit: int, size: int = 1, **more: int) -> None:
            self.database = database

        def level(self, sku: str) -> int:
            return len(self.database)

    with pytest.raises(ConfigError, match="must be an instance, as Stock requires the argument database, limit, got"):
        Service.of(Stock)
    assert Service.of(Stock("db", limit=1))["level"]("PEN") == 2
    for source in (Stock, Stock("db", limit=1), Service("stock", [])):
        assert Service.described(source).name == "stock"
    assert list(Service.described(Stock).functions) == ["level"]
    with pytest.raises(ConfigError):
        Service.described(object)


def test_a_method_keeps_its_given_schemas() -> None:
    class Shop:
        @make(input={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}, output=str)
        def twice(self, **given: Any) -> Any:
            return str(2 * given["n"])

        @make(output={"type": "array", "items": {"type": "integer"}})
        def numbers(self, stop: int = 2) -> Any:
            return [*range(stop)]

    shop = Service.of(mark(Shop))
    assert shop["twice"].schema.input["required"] == ["n"]
    assert shop["twice"].schema.output == {"type": "string"}
    assert shop["twice"](n=3) == "6"
    assert list(shop["numbers"].schema.input["properties"]) == ["stop"]
    assert shop["numbers"].schema.output["items"] == {"type": "integer"}
    assert shop["numbers"]() == [0, 1]


def test_methods_call_each_other_as_plain_methods() -> None:
    @mark
    class Shop:
        def __init__(self, rate: int) -> None:
            self.rate = rate

        @make(idempotent=True)
        def price(self, quantity: int, context: CallContext) -> Decimal:
            """Return the price of a quantity."""
            return Decimal(self.rate * quantity)

        @make
        def total(self, quantities: list[int]) -> Decimal:
            return sum((self.price(one) for one in quantities), Decimal(0))

        @make
        def each(self, quantities: list[int]) -> Iterator[Decimal]:
            yield from map(self.price, quantities)

    shop, other = Shop(2), Shop(3)
    assert shop.total([1, 2]) == Decimal(6)
    assert other.total(quantities=[1, 2]) == Decimal(9)
    assert list(shop.each([1])) == [Decimal(2)]
    with pytest.raises(ValidationError, match="/quantity: must be an integer, got a string"):
        shop.price("1")
    assert shop.price.schema.idempotent
    assert shop.price.schema.description == "Return the price of a quantity."
    assert list(shop.price.schema.input["properties"]) == ["quantity"]
    assert LocalPortal().apply(shop.price).path == LocalPortal().apply(other.price).path
    with LocalPortal() as local, Consumer([local]) as consumer:
        local.apply_service(other)
        assert consumer.call_at("local://shop/total", {"quantities": [1, 2]}) == "9"


def test_the_error_for_a_service_in_apply_says_what_to_do() -> None:
    with LocalPortal() as local:
        for wrong in (Users, Users(), Service("users")):
            with pytest.raises(ConfigError, match=r"is a service; expected: apply_service\("):
                local.apply(wrong)  # type: ignore[arg-type]


def test_a_method_does_not_keep_its_instance_alive() -> None:
    class Shop:
        @make
        def name(self) -> str:
            return "x"

    shop = Shop()
    gone = weakref.ref(shop)
    assert shop.name() == "x"
    del shop
    gc.collect()
    assert gone() is None


def test_functions_bind_only_where_python_binds() -> None:
    @make
    def double(n: int) -> int:
        return 2 * n

    with LocalPortal() as local:
        resolved = Consumer([local]).resolve(local.apply(double))

        class Shop:
            remote = resolved
            static = staticmethod(double)
            of_class = make(int.bit_length.__get__(5))

        assert Shop().remote(2) == Shop().static(2) == 4
        assert Shop.remote is resolved
        assert Shop().of_class() == 3


def logged(target: Any) -> Any:
    @functools.wraps(target)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return target(*args, **kwargs)

    return wrapper


def nameless(target: Any) -> Any:
    def wrapper(self: Any, n: int) -> Any:
        return target(self, n)

    return wrapper


class Decorator:
    """Is a decorator object that binds as functions do."""

    def __init__(self, target: Any) -> None:
        functools.update_wrapper(self, target)
        self.target = target

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.target(*args, **kwargs)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else MethodType(self, instance)


class PartialDecorator(Decorator):
    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return functools.partial(self, instance)


@mark
class Decorated:
    base = 10

    @functools.cache  # noqa: B019
    def cached(self, n: int) -> int:
        """Add."""
        return self.base + n

    @functools.lru_cache(maxsize=4)  # noqa: B019
    def limited(self, n: int = 1) -> int:
        return self.base + n

    def plus(self, n: int, sign: int = 1) -> int:
        return self.base + sign * n

    minus = functools.partialmethod(plus, sign=-1)
    by_position = functools.partialmethod(plus, 5)
    also = plus
    anonymous = lambda self, n: self.base + n  # noqa: E731

    @Decorator
    def decorated(self, n: int) -> int:
        return self.base + n

    @PartialDecorator
    def partly(self, n: int) -> int:
        return self.base + n

    @logged
    @Decorator
    @functools.cache  # noqa: B019
    def often(self, n: int) -> int:
        return self.base + n

    @nameless
    def renamed(self, n: int) -> int:
        return self.base + n

    @classmethod
    @logged
    def of_class(cls, n: int) -> int:
        return cls.base + n

    @staticmethod
    @functools.cache
    def static(n: int) -> int:
        return 10 + n

    @functools.cached_property
    def lazy(self) -> int:
        raise AssertionError("a property must not be read")

    Alias = list[int]
    Nested = Decorator


def test_methods_under_decorators_are_functions() -> None:
    found = Service.of(Decorated).functions
    assert sorted(found) == [
        "also", "anonymous", "by_position", "cached", "decorated", "limited", "minus", "of_class", "often", "partly",
        "plus", "renamed", "static",
    ]  # fmt: skip
    results = {
        name: each.invoke({} if name == "by_position" else {"n": 2}, CallContext()) for name, each in found.items()
    }
    assert results == dict.fromkeys(found, 12) | {"minus": 8, "by_position": 15}
    assert found["cached"].schema.description == "Add."
    assert found["decorated"].schema.input == found["cached"].schema.input


class HasSingleDispatch:
    @functools.singledispatchmethod
    def show(self, value: object) -> str:
        return "object"


class HasCallable:
    encoder = operator.itemgetter(0)


class Unbound:
    def __call__(self, n: int) -> int:
        return n


class HasObject:
    helper = Unbound()


class HasCachedList:
    @functools.cache  # noqa: B019
    def total(self, numbers: list[int]) -> int:
        return sum(numbers)


class HasInnerFunction:
    @functools.cache  # noqa: B019
    @make
    def total(self, n: int) -> int:
        return n


class HasAsync:
    @functools.cache  # noqa: B019
    async def later(self, n: int) -> int:
        return n


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (HasSingleDispatch, r"HasSingleDispatch\.show is a singledispatchmethod"),
        (HasCallable, r"HasCallable\.encoder is callable and is not bound"),
        (HasObject, r"HasObject\.helper is callable and is not bound"),
        (HasCachedList, "needs hashable arguments; numbers is not"),
        (HasInnerFunction, "decorator around @function"),
        (HasAsync, "without async"),
    ],
)
def test_a_method_that_cannot_be_kept_is_rejected_when_it_is_published(kind: type, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        Service.of(mark(kind))


class Lazy:
    """Is a descriptor that is not callable, such as a lazy property."""

    def __init__(self, target: Any) -> None:
        self.target = target

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        raise AssertionError("a descriptor that may be a property must not be read")


def test_a_descriptor_that_is_left_out_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    @mark
    class Shop:
        @Lazy
        def stock(self) -> int:
            return 1

        @property
        def size(self) -> int:
            return 1

    with caplog.at_level(logging.WARNING, "portal"):
        assert not Service.of(Shop).functions
    assert "Shop.stock is left out of the service: a Lazy is not callable" in caplog.text
    assert "size" not in caplog.text


def test_a_subclass_has_its_lifecycle_as_methods() -> None:
    class Shop(Service):
        def on_start(self) -> None:
            calls.append("start")

        def on_stop(self) -> None:
            calls.append("stop")

    calls: list[str] = []
    shop = Shop("shop")
    shop.start()
    shop.stop()
    assert calls == ["start", "stop"]
    given = Shop("shop", on_start=lambda: calls.append("given"))
    given.start()
    assert calls[-1] == "given"
    given.stop()
