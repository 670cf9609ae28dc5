"""Models of pydantic and Structs of msgspec: their libraries make the JSON Schema, the instances and the JSON data.

Neither library is imported here before there is a class of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...errors import ConfigError
from ..codecs import Codec, type_name
from ..codecs.codec import Violation
from .registry import ForeignType, find

__all__ = ["encode_foreign", "foreign_codec"]


def foreign_codec(kind: type, defs: dict[str, Any]) -> Codec | None:
    """Return the codec of a registered type, a pydantic model or a msgspec Struct; None for another class.

    Args:
        kind: the class.
        defs: the definitions of the schema; those of the class are added.

    Raises: ConfigError for a model whose library makes no JSON Schema of it.
    """
    found = find(kind) or _model(kind)
    return None if found is None else found.codec(defs)


def encode_foreign(value: Any) -> Any:
    """Return an instance of such a class as JSON data, and any other value unchanged."""
    kind = type(value)
    registered = find(kind)
    if registered is not None:
        return registered.encode(value)
    library = _library_of(kind)
    return value if library is None else _LIBRARIES[library][1](value)


def _library_of(kind: type) -> str | None:
    for base in kind.__mro__:
        name = (base.__module__, base.__name__)
        if name == ("pydantic.main", "BaseModel"):
            return "pydantic"
        if name == ("msgspec", "Struct"):
            return "msgspec"
    return None


def _model(kind: type) -> ForeignType | None:
    library = _library_of(kind)
    if library is None:
        return None
    make, encode = _LIBRARIES[library]
    try:
        json, decode = make(kind)
    except Exception as error:  # of their own classes, which need not be imported
        name = type_name(kind)
        raise ConfigError(f"{name} has no JSON Schema in {library}: {error}", path=name) from error
    return ForeignType(kind, json, decode, encode)


def _pydantic(kind: Any) -> tuple[dict[str, Any], Callable[[Any], Any]]:
    def decode(value: Any) -> Any:
        try:
            return kind.model_validate(value)
        except ValueError as error:
            raise Violation(_text_of(error), "model") from error

    return kind.model_json_schema(), decode


def _text_of(error: Any) -> str:
    """Return the first fault of a ValidationError of pydantic."""
    listed = getattr(error, "errors", None)
    first = listed(include_url=False, include_input=False)[0] if callable(listed) else {"msg": str(error)}
    where = ".".join(map(str, first.get("loc", ())))
    return f"must be valid: {where}: {first['msg']}" if where else f"must be valid: {first['msg']}"


def _pydantic_json(value: Any) -> Any:
    return value.model_dump(mode="json", by_alias=True)


def _msgspec(kind: Any) -> tuple[dict[str, Any], Callable[[Any], Any]]:
    import msgspec

    def decode(value: Any) -> Any:
        try:
            return msgspec.convert(value, kind)
        except ValueError as error:
            raise Violation(f"must be valid: {error}", "model") from error

    return msgspec.json.schema(kind), decode


def _msgspec_json(value: Any) -> Any:
    import msgspec

    return msgspec.to_builtins(value, str_keys=True)


_LIBRARIES: dict[str, tuple[Callable[[Any], tuple[dict[str, Any], Callable[[Any], Any]]], Callable[[Any], Any]]] = {
    "pydantic": (_pydantic, _pydantic_json),
    "msgspec": (_msgspec, _msgspec_json),
}
