"""The parameters of a request, its content type, and the formats that its client accepts."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ..._internal.json_text import BodyDecoder, JSONValue, decode_json
from ...errors import Fault, ProtocolError, ValidationError
from ...http11.fields import quality_values
from ...schema.jsondata import shorten
from ...schema.transfer import Transfer
from ...serving import Request
from ..messages.event_stream import EVENTS, JSON, NDJSON
from ..messages.transfer import FORM, decode_form, with_headers

__all__ = [
    "is_coded",
    "json_type",
    "object_of",
    "params_of",
    "require_no_page",
    "stream_type",
    "transferred_params",
    "wrong_media_type",
]

_MAX_DEPTH = 64


def params_of(request: Request, decoder: BodyDecoder) -> dict[str, Any]:
    """Return the parameters of a call.

    Raises: ProtocolError (413, 415); SerializationError for a body that is not JSON; ValidationError for JSON that is
        not an object or is nested too deeply.
    """
    kind = request.headers.get("content-type")
    if kind is not None and kind != JSON:
        media = kind.partition(";")[0].strip().lower()
        if media != JSON and not media.endswith("+json"):
            raise wrong_media_type(JSON, media)
    elif kind is None:
        require_no_page(request)
    return object_of(request.body, decoder)


def object_of(body: bytes, decoder: BodyDecoder) -> dict[str, Any]:
    """Return the JSON object of a body; an empty one is an empty object. Raises: as `params_of`, but for 415."""
    if not body:
        return {}
    value = decode_body(body, decoder)
    if not isinstance(value, dict):
        fault = Fault("", "the parameters must be a JSON object", "type", "object", shorten(value))
        raise ValidationError(errors=[fault])
    return value


def decode_body(body: bytes, decoder: BodyDecoder) -> JSONValue:
    """Return the JSON value of a body that is not empty. Raises: as `params_of`."""
    if len(body) > decoder.max_containers:  # each takes more than one byte
        decoder.check(body)
    value: JSONValue = decode_json(body)
    # Each level takes an opening bracket, so counting those settles nearly every body without walking it.
    brackets = body.count(b"{") + body.count(b"[") if len(body) > _MAX_DEPTH else 0
    if brackets > _MAX_DEPTH and isinstance(value, dict | list) and _too_deep(value):
        fault = Fault("", f"must be nested at most {_MAX_DEPTH} levels deep", "depth", _MAX_DEPTH)
        raise ValidationError(errors=[fault])
    return value


def transferred_params(request: Request, decoder: BodyDecoder, transfer: Transfer) -> dict[str, Any]:
    """Return the parameters of a call that are headers, or the whole body, beside the members of an object.

    Raises: as `params_of`. ProtocolError (415) also for a form that a page of another origin sends.
    """
    if transfer.body is None:
        params = params_of(request, decoder)
    elif transfer.forms and media_type(request) == FORM:
        require_own_page(request)
        params = {transfer.body: decode_form(request.body)}
    elif request.body:
        media = media_type(request)
        if media is None:
            require_no_page(request)
        elif media != JSON and not media.endswith("+json"):
            words = f"{JSON} or {FORM}" if transfer.forms else JSON
            raise wrong_media_type(words, media)
        params = {transfer.body: decode_body(request.body, decoder)}
    else:
        params = {}
    return with_headers(params, transfer, request.headers)


def media_type(request: Request) -> str | None:
    """Return the media type of the body in lower case, without parameters; None if there is none."""
    kind = request.headers.get("content-type")
    return None if kind is None else kind.partition(";")[0].strip().lower()


def wrong_media_type(expected: str, media: str) -> ProtocolError:
    """Return the error for a body of another media type; curl sends a form unless it is told otherwise."""
    message = f"the body must be {expected}, got {media[:80]!r}; send JSON with the header Content-Type: {JSON}"
    return ProtocolError(message, status=415)


def require_own_page(request: Request) -> None:
    """Reject a body that a page of another origin may send without a preflight, such as a form.

    Raises: ProtocolError (415).
    """
    headers = request.headers
    origin = headers.get("origin")
    # Behind a proxy the scheme of the page cannot be compared. Browsers tell servers at https themselves.
    is_own = headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")
    if not is_own or (origin is not None and origin.lower().partition("://")[2] != headers.get("host", "").lower()):
        raise ProtocolError(f"the Content-Type must be {JSON} in a call from a page of another origin", status=415)


def require_no_page(request: Request) -> None:
    """Reject a call without Content-Type that a web page sends.

    A page of any origin may send such a call without a preflight, together with the browser's own credentials such as a
    password or a certificate (Fetch standard, section 2.2.2). Browsers send `Origin` with every POST.

    Raises: ProtocolError (415).
    """
    if "origin" in request.headers:
        raise ProtocolError(f"the Content-Type must be {JSON} in a call from a web page, got none", status=415)


def is_coded(request: Request) -> bool:
    """Return whether the body is still compressed. The middleware `Compression` would have decompressed it."""
    coding = request.headers.get("content-encoding")
    return coding is not None and request.body_size > 0 and coding.strip(" \t").lower() != "identity"


def _too_deep(value: Any, depth: int = _MAX_DEPTH) -> bool:
    for child in value.values() if isinstance(value, dict) else value:
        if isinstance(child, dict | list) and (depth <= 1 or _too_deep(child, depth - 1)):
            return True
    return False


def json_type(accept: str) -> str:
    """Return the media type of a result. Raises: ProtocolError (406) if Accept excludes it (RFC 9110, 12.5.1)."""
    return (_known_type if len(accept) <= 256 else _json_type)(accept)


def _json_type(accept: str) -> str:
    if _weight(_weights(accept), JSON) > 0:
        return JSON
    raise ProtocolError(f"a result is sent as {JSON}; Accept must allow it", status=406)


_known_type = lru_cache(maxsize=256)(_json_type)


def stream_type(accept: str) -> str:
    """Return the media type of a stream: events only if Accept has them or `text/*`. Raises: ProtocolError (406)."""
    weights = _weights(accept)
    lines, events = _weight(weights, NDJSON), weights.get(EVENTS, weights.get("text/*", 0.0))
    preferred = EVENTS in weights or NDJSON not in weights  # with equal weights
    if events and (events > lines or (events == lines and preferred)):
        return EVENTS
    if lines:
        return NDJSON
    raise ProtocolError(f"a stream is sent as {NDJSON} or {EVENTS}; Accept must allow one of them", status=406)


def _weights(accept: str) -> dict[str, float]:
    """Return the weight of each media range of an Accept header."""
    return {media: 1.0 if weight is None else weight for media, weight in quality_values(accept)}


def _weight(weights: dict[str, float], media: str) -> float:
    """Return the weight of a media type. The most specific range decides."""
    return next((weights[one] for one in (media, "application/*", "*/*") if one in weights), 0.0)
