"""Callables under partials, caches and dispatch by type, and objects with `__call__`."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from portal import CallContext, ConfigError, Consumer, LocalPortal
from portal import function as make
from portal.function.wrappers import own_code, wrapped_by


def double(n: int) -> int:
    return 2 * n


async def later(n: int) -> int:
    return n


class Doubler:
    def __call__(self, n: int) -> int:
        return 2 * n


class Counter:
    def __call__(self, n: int) -> Iterator[int]:
        yield from range(n)


class Later:
    async def __call__(self, n: int) -> int:
        return n


class LaterMany:
    async def __call__(self, n: int) -> AsyncIterator[int]:
        yield n


class Inherits(Later):
    pass


def run(target: Callable[..., Any]) -> Callable[..., Any]:
    """Run a coroutine function to its end, as `asgiref.sync.async_to_sync` does."""

    @functools.wraps(target)
    def runner(*args: Any, **kwargs: Any) -> Any:
        try:
            target(*args, **kwargs).send(None)
        except StopIteration as stop:
            return stop.value
        raise AssertionError("it waits for something")

    return runner


def test_the_own_code_is_what_runs_first() -> None:
    doubler = Doubler()
    assert own_code(functools.partial(functools.lru_cache(double), 1)) is double
    assert own_code(doubler) == own_code(functools.partial(doubler)) == Doubler.__call__
    assert own_code(doubler.__call__) is Doubler.__call__
    assert own_code(staticmethod(double)) is double
    assert own_code(Doubler) is Doubler
    runner = run(later)
    assert own_code(runner) is runner
    assert list(wrapped_by(functools.partial(functools.lru_cache(double), 1)))[-1] is double


@pytest.mark.parametrize(
    "target",
    [
        later,
        Later(),
        Inherits(),
        LaterMany(),
        Later().__call__,
        functools.partial(Later()),
        functools.partial(later, 1),
        functools.lru_cache(later),
        staticmethod(later),
    ],
)
def test_a_coroutine_function_is_rejected(target: Any) -> None:
    with pytest.raises(ConfigError, match="without async"):
        make(target)


def test_a_function_that_runs_a_coroutine_function_is_called() -> None:
    assert make(run(later))(n=3) == 3


@pytest.mark.parametrize("target", [Counter(), Counter().__call__, functools.partial(Counter())])
def test_an_object_whose_call_is_a_generator_is_a_stream(target: Any) -> None:
    made = make(name="numbers")(target)
    assert made.streaming
    assert made.schema.output == {"type": "integer"}
    assert list(made.iterate({"n": 2}, CallContext())) == [0, 1]


@functools.singledispatch
def show(value: object) -> str:
    return "object"


@show.register
def _(value: int) -> str:
    return "int"


@functools.cache
def total(numbers: tuple[int, ...]) -> int:
    return sum(numbers)


@functools.lru_cache
def total_of_list(numbers: list[int], scale: int = 1) -> int:
    return sum(numbers)


@functools.cache
def total_of_dict(numbers: dict[str, int] | None) -> int:
    return 0


@functools.cache
def numbers(n: int) -> Iterator[int]:
    yield n


@dataclass
class Unhashable:
    n: int

    @functools.cache  # noqa: B019
    def get(self) -> int:
        return self.n


@dataclass(frozen=True)
class Hashable:
    n: int

    @functools.cache  # noqa: B019
    def get(self) -> int:
        return self.n


@contextlib.contextmanager
def opened(n: int) -> Iterator[int]:
    yield n


@contextlib.asynccontextmanager
async def opened_later(n: int) -> AsyncIterator[int]:
    yield n


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (opened, "opened makes a context manager"),
        (opened_later, "opened_later makes a context manager"),
        (functools.partial(opened, 1), "makes a context manager"),
        (show, "singledispatch"),
        (functools.partial(show), "singledispatch"),
        (total_of_list, "hashable arguments; numbers is not"),
        (functools.partial(total_of_list, scale=2), "hashable arguments; numbers is not"),
        (total_of_dict, "hashable arguments; numbers is not"),
        (numbers, "cached stream"),
        (Unhashable(1).get, "hashable self; Unhashable is not"),
    ],
)
def test_a_callable_that_fails_when_called_by_name_is_rejected(target: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        make(target)


def test_a_cached_function_with_hashable_arguments_is_called() -> None:
    with LocalPortal() as portal, Consumer([portal]) as consumer:
        assert consumer.call_at(portal.apply(total), {"numbers": [1, 2]}) == 3
        assert consumer.call_at(portal.apply(Hashable(4).get)) == 4
    given = {"type": "object", "properties": {"n": {"type": "array"}}, "required": ["n"]}
    with pytest.raises(ConfigError, match="hashable arguments; n is not"):
        make(input=given)(functools.lru_cache(lambda n: n))


def echo(self: int, args: int, kwargs: int, params: int, instance: int, resolved: int, executor: int = 0) -> list[int]:
    return [self, args, kwargs, params, instance, resolved, executor]


def stream_self(self: int) -> Iterator[int]:
    yield self


def test_a_parameter_may_have_any_name() -> None:
    given = {"self": 1, "args": 2, "kwargs": 3, "params": 4, "instance": 5, "resolved": 6}
    made = make(echo)
    assert made(**given) == made.call(**given) == made.submit(**given).result(10) == [1, 2, 3, 4, 5, 6, 0]
    assert made.submit(**given, executor=7).result(10) == [1, 2, 3, 4, 5, 6, 7]  # type: ignore[arg-type]
    assert list(make(stream_self)(self=1)) == list(make(stream_self).stream(self=1)) == [1]
    with LocalPortal() as portal, Consumer([portal]) as consumer:
        address = portal.apply(echo)
        found = consumer.resolve(address)
        assert found(**given) == found.call(**given) == consumer.call_at(address, given) == [1, 2, 3, 4, 5, 6, 0]
        assert list(consumer.resolve(portal.apply(stream_self))(self=2)) == [2]
