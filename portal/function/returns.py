"""Load the results of a function into a type that the caller names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ..errors import ValidationError
from ..schema import Schema

__all__ = ["load_result", "result_loader", "returned_text"]


class _Named(Protocol):
    @property
    def name(self) -> str: ...


def load_result(result: Any, schema: Schema, returns: Any, name: str) -> Any:
    """Return a result loaded into a type.

    Args:
        result: JSON data.
        schema: of the type.
        returns: the type, for the message.
        name: of the function, for the message.

    Raises: ValidationError if the result does not fit.
    """
    try:
        return schema.load(result)
    except ValidationError as error:
        kind = getattr(returns, "__name__", returns)
        message = f"the result of {name} does not fit returns={kind}: {error}"
        raise ValidationError(message, errors=error.errors) from None


def result_loader(function: _Named, returns: Any) -> Callable[[Any], Any]:
    """Return the function that loads JSON data into a type, or leaves it unchanged for None.

    Raises: ConfigError for a type without a JSON Schema.
    """
    if returns is None:
        return _unchanged
    schema = Schema.of(returns)
    return lambda result: load_result(result, schema, returns, function.name)


def _unchanged(result: Any) -> Any:
    return result


def returned_text(returns: Any) -> str:
    """Return what the repr of a function says of its results."""
    if returns is None:
        return " returning JSON data"
    return f" returning {returns.__name__ if isinstance(returns, type) else str(returns).replace('typing.', '')}"
