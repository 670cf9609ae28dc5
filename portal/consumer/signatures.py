"""The signatures of the methods of a Consumer, as type checkers see them.

`returns=` decides about the type of a result, which needs overloads. They are functions of their own here. `typed_as`
gives a method the type of one, and changes nothing when the program runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from .._internal.json_text import JSONValue
from ..address import Address
from ..context import CallContext
from ..resilience.policy import Policy
from .targets import Target

if TYPE_CHECKING:
    from typing_extensions import TypeForm  # PEP 747: classes, `Invoice | None`, `list[Invoice]` and others

    from ..websocket.client.subscription import SlowReader, Subscription

__all__ = ["call", "call_at", "map_at", "stream", "stream_at", "submit_at", "subscribe", "typed_as"]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
At = Address | str
Params = Mapping[str, Any]


def typed_as(signature: F) -> Callable[[Callable[..., Any]], F]:
    """Return a decorator that returns a method unchanged, and gives it the type of another function."""

    def unchanged(method: Any) -> F:
        return method  # type: ignore[no-any-return]

    return unchanged


@overload
def call_at(
    self: Any,
    address: At,
    params: Params | None = None,
    *,
    timeout: float | None = None,
    context: CallContext | None = None,
    returns: None = None,
    idempotency_key: str | None = None,
    policy: Policy | None = None,
) -> JSONValue: ...


@overload
def call_at(
    self: Any,
    address: At,
    params: Params | None = None,
    *,
    timeout: float | None = None,
    context: CallContext | None = None,
    returns: TypeForm[T],
    idempotency_key: str | None = None,
    policy: Policy | None = None,
) -> T: ...


def call_at(self: Any, *args: Any, **options: Any) -> Any:
    """`Consumer.call_at`."""
    return self.call_at(*args, **options)


@overload
def submit_at(
    self: Any,
    address: At,
    params: Params | None = None,
    *,
    timeout: float | None = None,
    context: CallContext | None = None,
    returns: None = None,
    idempotency_key: str | None = None,
    policy: Policy | None = None,
) -> Future[JSONValue]: ...


@overload
def submit_at(
    self: Any,
    address: At,
    params: Params | None = None,
    *,
    timeout: float | None = None,
    context: CallContext | None = None,
    returns: TypeForm[T],
    idempotency_key: str | None = None,
    policy: Policy | None = None,
) -> Future[T]: ...


def submit_at(self: Any, *args: Any, **options: Any) -> Any:
    """`Consumer.submit_at`."""
    return self.submit_at(*args, **options)


@overload
def map_at(
    self: Any,
    address: At,
    params: Iterable[Params],
    *,
    max_in_flight: int = 32,
    timeout: float | None = None,
    return_exceptions: Literal[False] = False,
    as_completed: Literal[False] = False,
    returns: None = None,
    policy: Policy | None = None,
) -> Iterator[JSONValue]: ...


@overload
def map_at(
    self: Any,
    address: At,
    params: Iterable[Params],
    *,
    max_in_flight: int = 32,
    timeout: float | None = None,
    return_exceptions: Literal[False] = False,
    as_completed: Literal[False] = False,
    returns: TypeForm[T],
    policy: Policy | None = None,
) -> Iterator[T]: ...


@overload
def map_at(
    self: Any,
    address: At,
    params: Iterable[Params],
    *,
    max_in_flight: int = 32,
    timeout: float | None = None,
    return_exceptions: Literal[True],
    as_completed: Literal[False] = False,
    returns: Any = None,
    policy: Policy | None = None,
) -> Iterator[Any]: ...


@overload
def map_at(
    self: Any,
    address: At,
    params: Iterable[Params],
    *,
    max_in_flight: int = 32,
    timeout: float | None = None,
    return_exceptions: bool = False,
    as_completed: Literal[True],
    returns: Any = None,
    policy: Policy | None = None,
) -> Iterator[tuple[int, Any]]: ...


def map_at(self: Any, *args: Any, **options: Any) -> Any:
    """`Consumer.map_at`."""
    return self.map_at(*args, **options)


@overload
def stream_at(
    self: Any,
    address: At,
    params: Params | None = None,
    *,
    timeout: float | None = None,
    context: CallContext | None = None,
    returns: None = None,
    policy: Policy | None = None,
) -> Iterator[JSONValue]: ...


@overload
def stream_at(
    self: Any,
    address: At,
    params: Params | None = None,
    *,
    timeout: float | None = None,
    context: CallContext | None = None,
    returns: TypeForm[T],
    policy: Policy | None = None,
) -> Iterator[T]: ...


def stream_at(self: Any, *args: Any, **options: Any) -> Any:
    """`Consumer.stream_at`."""
    return self.stream_at(*args, **options)


@overload
def call(
    self: Any,
    target: Target,
    params: Params | None = None,
    *,
    timeout: float | None = None,
    context: CallContext | None = None,
    returns: None = None,
    idempotency_key: str | None = None,
    policy: Policy | None = None,
) -> JSONValue: ...


@overload
def call(
    self: Any,
    target: Target,
    params: Params | None = None,
    *,
    timeout: float | None = None,
    context: CallContext | None = None,
    returns: TypeForm[T],
    idempotency_key: str | None = None,
    policy: Policy | None = None,
) -> T: ...


def call(self: Any, *args: Any, **options: Any) -> Any:
    """`Consumer.call`."""
    return self.call(*args, **options)


@overload
def stream(
    self: Any,
    target: Target,
    params: Params | None = None,
    *,
    timeout: float | None = None,
    context: CallContext | None = None,
    returns: None = None,
    policy: Policy | None = None,
) -> Iterator[JSONValue]: ...


@overload
def stream(
    self: Any,
    target: Target,
    params: Params | None = None,
    *,
    timeout: float | None = None,
    context: CallContext | None = None,
    returns: TypeForm[T],
    policy: Policy | None = None,
) -> Iterator[T]: ...


def stream(self: Any, *args: Any, **options: Any) -> Any:
    """`Consumer.stream`."""
    return self.stream(*args, **options)


@overload
def subscribe(
    self: Any,
    address: At,
    params: Params | None = None,
    *,
    returns: None = None,
    resume: bool = True,
    slow: SlowReader = "close",
    max_bytes: int = 1024 * 1024,
    since: tuple[str, int] | None = None,
    callback: Callable[[Any], object] | None = None,
    timeout: float | None = None,
) -> Subscription[JSONValue]: ...


@overload
def subscribe(
    self: Any,
    address: At,
    params: Params | None = None,
    *,
    returns: TypeForm[T],
    resume: bool = True,
    slow: SlowReader = "close",
    max_bytes: int = 1024 * 1024,
    since: tuple[str, int] | None = None,
    callback: Callable[[Any], object] | None = None,
    timeout: float | None = None,
) -> Subscription[T]: ...


def subscribe(self: Any, *args: Any, **options: Any) -> Any:
    """`Consumer.subscribe`."""
    return self.subscribe(*args, **options)
