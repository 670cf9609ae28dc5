"""Encode values as the UTF-8 text of JSON (RFC 8259).

A large value is encoded in steps. The encoder of the standard library keeps the interpreter's lock for the whole of a
value: for a result of 30 MB, no other thread would run for a tenth of a second.
"""

from __future__ import annotations

import json
import json.encoder
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from itertools import islice
from time import sleep
from typing import Any

from ..errors import SerializationError

__all__ = ["encode_error_json", "encode_json", "join_in_steps", "short_json_pieces"]

_LONG_TEXT = 32 * 1024  # characters of a string that are encoded in one step
_LONG = 1000  # items of a container from which it is encoded in steps
_STEP = 250  # items of a step
_FEW = 8  # items of a container that are looked at, so that {"result": [...]} is encoded in steps, too
_TURN = 512 * 1024  # bytes of text, about a millisecond, after which other threads run
_PAUSE = 1e-5  # seconds; with none, a waiting thread hardly ever gets the interpreter's lock

_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"))


def _pieces_encoder(encoder: json.JSONEncoder) -> Callable[[Any, int], Iterable[str]]:
    """Return `encoder.iterencode` with the C encoder made once instead of for each call."""
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return lambda value, level: encoder.iterencode(value)
    text = json.encoder.encode_basestring_ascii if encoder.ensure_ascii else json.encoder.encode_basestring
    found: Callable[[Any, int], Iterable[str]] = make(None, encoder.default, text, None, ":", ",", False, False, False)
    return found


#: Returns the pieces of the JSON text of a short value; the second argument is 0. It raises TypeError, ValueError or
#: RecursionError, and does not see lone surrogates.
short_json_pieces = _pieces_encoder(_encoder)


def _encode(value: Any) -> str:
    return "".join(short_json_pieces(value, 0))


_escape: Callable[[str], str] = json.encoder.encode_basestring


def encode_json(value: Any) -> bytes:
    """Return the UTF-8 JSON text of a value.

    Raises: SerializationError for a value that JSON cannot carry.
    """
    try:
        kind = value.__class__
        if kind is dict or kind is list or kind is str:
            size = len(value)
            if size <= _FEW and kind is not str:
                for item in value.values() if kind is dict else value:
                    kind = item.__class__
                    if (kind is dict or kind is list or kind is str) and len(item) > _LONG:
                        return join_in_steps(_steps(value, True))
            elif size > _LONG:
                return join_in_steps(_steps(value))
        return "".join(short_json_pieces(value, 0)).encode()
    except RecursionError:
        raise SerializationError("the value is nested too deeply for JSON") from None
    except (TypeError, ValueError) as error:
        raise SerializationError(f"the value must be JSON data: {error}") from None


def join_in_steps(pieces: Iterable[bytes]) -> bytes:
    """Return the pieces as one text, and let other threads run now and then.

    The text grows in one buffer, which becomes the result without a copy.
    """
    whole = BytesIO()
    size = 0
    for piece in pieces:
        if len(piece) > _TURN:
            _write_in_steps(whole, memoryview(piece))
            size = 0
            continue
        whole.write(piece)
        size += len(piece)
        if size > _TURN:
            size = 0
            sleep(_PAUSE)
    return whole.getvalue()


def _write_in_steps(whole: BytesIO, piece: memoryview) -> None:
    for start in range(0, len(piece), _TURN):
        whole.write(piece[start : start + _TURN])
        sleep(_PAUSE)


def _steps(value: Any, apart: bool = False) -> Iterator[bytes]:
    """Yield the text of a value in pieces, with a chance for other threads after each.

    Args:
        apart: whether each item of a container is a piece of its own.
    """
    kind = value.__class__
    if kind is str and len(value) > _LONG_TEXT:
        yield b'"'
        for start in range(0, len(value), _LONG_TEXT):
            yield _escape(value[start : start + _LONG_TEXT])[1:-1].encode()
        yield b'"'
    elif kind is list and (apart or len(value) > _LONG):
        yield from _list_steps(value)
    elif kind is dict and (apart or len(value) > _LONG):
        yield from _dict_steps(value)
    else:
        yield _encode(value).encode()


def _list_steps(items: list[Any]) -> Iterator[bytes]:
    opening = b"["
    for start in range(0, len(items), _STEP):
        some = items[start : start + _STEP]
        if _has_long(some):
            for item in some:
                yield opening
                yield from _steps(item)
                opening = b","
        else:
            yield opening
            yield _encode(some)[1:-1].encode()
            opening = b","
    yield b"]"


def _dict_steps(value: dict[Any, Any]) -> Iterator[bytes]:
    opening = b"{"
    rest = iter(value.items())
    while some := dict(islice(rest, _STEP)):
        if _has_long(some.values()):
            for key, item in some.items():
                yield opening
                yield _encode({key: None})[1:-6].encode()  # "key" of {"key":null}
                yield b":"
                yield from _steps(item)
                opening = b","
        else:
            yield opening
            yield _encode(some)[1:-1].encode()
            opening = b","
    yield b"}"


def _has_long(items: Iterable[Any]) -> bool:
    for item in items:
        kind = item.__class__
        if (kind is str or kind is list or kind is dict) and len(item) > _LONG:
            return True
    return False


def encode_error_json(value: Any) -> bytes:
    """Return the UTF-8 JSON text of the data of an error, with lone surrogates written as escapes such as \\ud800.

    An error quotes what a caller sent, or what user code says, and UTF-8 cannot encode all of that.

    Raises: SerializationError for another value that JSON cannot carry.
    """
    try:
        return encode_json(value)
    except SerializationError:
        return encode_json(_escape_surrogates(value))


def _escape_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_escape_surrogates(name): _escape_surrogates(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_escape_surrogates(item) for item in value]
    return value
