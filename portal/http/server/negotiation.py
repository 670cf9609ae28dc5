"""What a request brings and what answer its client takes: parameters, content types, Accept."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ..._internal.json_text import decode_json
from ...errors import Fault, ProtocolError, ValidationError
from ...http11.fields import quality_values
from ...schema.jsondata import shorten
from ...serving import Request
from ..messages.event_stream import EVENTS, JSON, NDJSON

__all__ = ["is_coded", "json_type", "params_of", "require_no_page", "stream_type"]

_MAX_DEPTH = 64


def params_of(request: Request) -> dict[str, Any]:
    """The parameters of a call.

    Raises: ProtocolError (415), SerializationError for what is no JSON, ValidationError for no object or too deep.
    """
    kind = request.headers.get("content-type")
    if kind is not None and kind != JSON:
        media = kind.partition(";")[0].strip().lower()
        if media != JSON and not media.endswith("+json"):
            raise ProtocolError(f"the body is {media[:80]!r}; it must be {JSON}", status=415)
    elif kind is None:
        require_no_page(request)
    if not request.body:
        return {}
    value = decode_json(request.body)
    if not isinstance(value, dict):
        fault = Fault("", "the parameters must be a JSON object", "type", "object", shorten(value))
        raise ValidationError(errors=[fault])
    # Each level takes an opening bracket, so counting those settles nearly every body without walking it.
    if request.body.count(b"{") + request.body.count(b"[") > _MAX_DEPTH and _too_deep(value):
        fault = Fault("", f"nested deeper than {_MAX_DEPTH}", "depth", _MAX_DEPTH)
        raise ValidationError(errors=[fault])
    return value


def require_no_page(request: Request) -> None:
    """Refuse a call without Content-Type that a page sends, with a body or without.

    A page of any origin may send it without asking first, with the credentials that the browser itself has, a password
    or a certificate (Fetch standard, section 2.2.2: what needs no preflight). Browsers say `Origin` with every POST.

    Raises: ProtocolError (415).
    """
    if "origin" in request.headers:
        raise ProtocolError(f"a call without Content-Type, from a page; it must be {JSON}", status=415)


def is_coded(request: Request) -> bool:
    """Whether the body is compressed still: `Compression` undoes that where it is there."""
    coding = request.headers.get("content-encoding")
    return coding is not None and bool(request.body) and coding.strip(" \t").lower() != "identity"


def _too_deep(value: Any, depth: int = _MAX_DEPTH) -> bool:
    for child in value.values() if isinstance(value, dict) else value:
        if isinstance(child, dict | list) and (depth <= 1 or _too_deep(child, depth - 1)):
            return True
    return False


def json_type(accept: str) -> str:
    """JSON, unless the client says that it takes none (RFC 9110 section 12.5.1); ProtocolError (406) then."""
    return (_known_type if len(accept) <= 256 else _json_type)(accept)


def _json_type(accept: str) -> str:
    if _weight(_weights(accept), JSON) > 0:
        return JSON
    raise ProtocolError(f"the answer is sent as {JSON}", status=406)


_known_type = lru_cache(maxsize=256)(_json_type)


def stream_type(accept: str) -> str:
    """What a stream is sent as: events only where they are named; ProtocolError (406) where neither is taken."""
    weights = _weights(accept)
    lines, events = _weight(weights, NDJSON), weights.get(EVENTS, 0.0)
    if events and events >= lines:
        return EVENTS
    if lines:
        return NDJSON
    raise ProtocolError(f"a stream is sent as {NDJSON} or {EVENTS}", status=406)


def _weights(accept: str) -> dict[str, float]:
    """How much each media range of an Accept header is wanted."""
    return {media: 1.0 if weight is None else weight for media, weight in quality_values(accept)}


def _weight(weights: dict[str, float], media: str) -> float:
    """How much a media type is wanted: the most specific range decides."""
    return next((weights[one] for one in (media, "application/*", "*/*") if one in weights), 0.0)
