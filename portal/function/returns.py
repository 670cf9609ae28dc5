"""Load the results of a function into a type that the caller names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from ..errors import ValidationError
from ..schema import Schema
from ..schema.codecs.files import current_table
from ..schema.transfer import file_kind

__all__ = ["gives_json", "load_items", "load_result", "result_loader", "returned_text"]


class _Named(Protocol):
    @property
    def name(self) -> str: ...


def load_result(result: Any, returns: Any, name: str, schema: Schema | None = None) -> Any:
    """Return a result loaded into a type.

    Args:
        result: JSON data.
        returns: the type.
        name: of the function, for the message.
        schema: of the type; None makes it.

    Raises: ValidationError if the result does not fit.
    """
    schema = Schema.of(returns) if schema is None else schema
    table = current_table()
    if table is not None and not file_kind(schema.json):
        result = table.inlined(result)  # a type that is not a File reads base64
    try:
        return schema.load(result)
    except ValidationError as error:
        kind = getattr(returns, "__name__", returns)
        message = f"the result of {name} does not fit returns={kind}: {error}"
        raise ValidationError(message, errors=error.errors) from None


def load_items(items: Iterator[Any], returns: Any, name: str) -> Iterator[Any]:
    """Yield the items of a stream loaded into a type; closing this closes the stream.

    Raises: ValidationError for an item that does not fit.
    """
    schema = Schema.of(returns)

    def loaded() -> Iterator[Any]:
        try:
            for item in items:
                yield load_result(item, returns, name, schema)
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()

    return loaded()


def result_loader(function: _Named, returns: Any) -> Callable[[Any], Any]:
    """Return the function that loads JSON data into a type, or leaves it unchanged for None.

    Raises: ConfigError for a type without a JSON Schema.
    """
    if returns is None:
        return _unchanged
    schema = Schema.of(returns)
    return lambda result: load_result(result, returns, function.name, schema)


def gives_json(loader: object) -> bool:
    """Return whether a loader leaves JSON data unchanged."""
    return loader is _unchanged


def _unchanged(result: Any) -> Any:
    return result


def returned_text(returns: Any) -> str:
    """Return what the repr of a function says of its results."""
    if returns is None:
        return " returning JSON data"
    return f" returning {returns.__name__ if isinstance(returns, type) else str(returns).replace('typing.', '')}"
