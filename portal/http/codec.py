"""What calls look like as HTTP: JSON bodies, problem documents, headers. Bytes and values only.

Sources: RFC 8259 (JSON), RFC 9457 (problem details), W3C Trace Context, HTML Living Standard section 9.2 (event
streams).
"""

from __future__ import annotations

import json
import json.encoder
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from time import monotonic, time
from typing import Any

from ..context import CallContext, new_request_id, parse_traceparent
from ..errors import (
    AuthenticationError,
    AuthorizationError,
    CallTimeout,
    FunctionError,
    OverloadedError,
    PortalError,
    ProtocolError,
    RateLimitError,
    RegistryError,
    SerializationError,
    TransportError,
    ValidationError,
)

__all__ = [
    "EVENTS",
    "JSON",
    "NDJSON",
    "PROBLEM",
    "context_of",
    "decode_json",
    "encode_json",
    "error_of",
    "headers_of",
    "problem_of",
    "read_events",
    "write_event",
]

JSON = "application/json"
PROBLEM = "application/problem+json"
NDJSON = "application/x-ndjson"
EVENTS = "text/event-stream"

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}\Z")
_TIMEOUT = re.compile(r"^[0-9]{1,10}$")
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}\Z")


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)
_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"))


def _one_shot_encoder(encoder: json.JSONEncoder) -> Callable[[Any], str]:
    """What `encoder.encode` does, with the C encoder made once and not once a call."""
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return encoder.encode
    text = json.encoder.encode_basestring_ascii if encoder.ensure_ascii else json.encoder.encode_basestring
    encode = make(None, encoder.default, text, None, ":", ",", False, False, False)
    return lambda value: "".join(encode(value, 0))


_encode = _one_shot_encoder(_encoder)
_scan: Callable[[str, int], tuple[Any, int]] = _decoder.scan_once  # type: ignore[attr-defined]


def decode_json(data: bytes) -> Any:
    """The value that UTF-8 JSON text holds; SerializationError says what is wrong and where."""
    try:
        text = data.decode()
        try:
            value, end = _scan(text, 0)
        except StopIteration:
            return _decoder.decode(text)  # white space in front, or an error to be told
        return value if end == len(text) else _decoder.decode(text)
    except RecursionError:
        raise SerializationError("the JSON is nested too deeply") from None
    except ValueError as error:  # not UTF-8, not JSON, NaN, or a number with too many digits
        raise SerializationError(f"this is no JSON: {error}") from None


def encode_json(value: Any) -> bytes:
    """UTF-8 JSON text of a value; SerializationError for what JSON cannot carry."""
    try:
        return _encode(value).encode()
    except RecursionError:
        raise SerializationError("the value is nested too deeply for JSON") from None
    except (TypeError, ValueError) as error:
        raise SerializationError(f"the value cannot be sent as JSON: {error}") from None


# errors


def problem_of(error: PortalError, *, debug: bool) -> dict[str, Any]:
    """The problem document of an error (RFC 9457).

    What a function's own exception says goes out only with debug=True; its log has all of it under the request id.
    """
    data = error.to_dict(debug=debug)
    masked = error.public_message if isinstance(error, FunctionError) and error.private and not debug else None
    problem: dict[str, Any] = {
        "type": f"urn:portal:error:{error.code}",
        "title": type(error).__name__,
        "status": error.status,
        "detail": error.message if masked is None else masked,
        "code": error.code,
        "request_id": error.request_id,
        "retryable": error.retryable,
    }
    if error.executed:
        problem["executed"] = True
    if masked is not None:
        return problem
    members = {name: data[name] for name in error.members}
    if "type" in members:
        members["exception"] = members.pop("type")  # `type` is RFC 9457's own member
    problem |= {name: value for name, value in members.items() if value not in (None, "", [])}
    if debug:
        problem["stack"] = data["stack"]
    return problem


def error_of(status: int, content_type: str, body: bytes, headers: Mapping[str, str]) -> PortalError:
    """The error that an answer of `status` stands for, as the class that was raised there.

    An answer that is no problem document of ours (a proxy's page, say) is mapped by its status.
    """
    if content_type.partition(";")[0].strip() == PROBLEM:
        try:
            data = decode_json(body)
        except SerializationError:
            data = None
        if isinstance(data, dict) and isinstance(data.get("code"), str):
            return _error_of_problem(data, status, _retry_after(headers))
    return _error_of_status(status, _retry_after(headers))


def _error_of_problem(data: dict[str, Any], status: int, retry_after: float | None) -> PortalError:
    context = {"request_id": data["request_id"]} if data.get("request_id") else {}
    known = dict(data) | {"message": data.get("detail", ""), "status": status, "context": context}
    known["type"] = data.get("exception", "")
    error = PortalError.from_dict(known)
    if getattr(error, "retry_after", 0.0) is None:
        vars(error)["retry_after"] = retry_after  # the header says it, where a listener refused before any app
    return error


def _error_of_status(status: int, retry_after: float | None) -> PortalError:
    text = f"the server answered {status}"
    if status == 401:
        return AuthenticationError(text)
    if status == 403:
        return AuthorizationError(text)
    if status in (404, 410):
        return RegistryError(f"{text}: no function is there")
    if status == 422:
        return ValidationError(f"{text}: it refused the parameters")
    if status == 429:
        return RateLimitError(text, retry_after=retry_after)
    if status == 503:
        # No portal says so without a problem document: a proxy may have passed the call on before it gave up.
        error = OverloadedError(text, retry_after=retry_after)
        vars(error)["may_have_executed"] = True
        return error
    if status in (408, 504):
        return CallTimeout(text)
    if status >= 500:
        return TransportError(text, may_have_executed=True)
    return ProtocolError(text, status=status if status >= 400 else 502)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, of what is seconds or a date (RFC 9110 section 10.2.3)."""
    value = headers.get("retry-after", "")
    if value.isascii() and value.isdigit() and len(value) <= 9:
        return float(value)
    try:
        moment = parsedate_to_datetime(value[:64])
        return max(0.0, moment.timestamp() - time()) if moment.tzinfo is not None else None
    except (ValueError, OverflowError, OSError):
        return None


# headers


def context_of(headers: Mapping[str, str], clock: float) -> CallContext:
    """The context that a request's headers carry: X-Request-ID, X-Portal-Timeout (milliseconds left), traceparent.

    A malformed id or trace is replaced, as its specification asks; a malformed timeout or idempotency key is a
    ProtocolError, the key also where nobody keeps answers: what is refused does not depend on who listens.

    Args:
        clock: `time.monotonic()` when the request had arrived.
    """
    given = headers.get("x-request-id")
    context = CallContext()
    context.request_id = given if given is not None and _REQUEST_ID.match(given) else new_request_id()
    timeout = headers.get("x-portal-timeout")
    if timeout is not None:
        if not _TIMEOUT.match(timeout):
            raise ProtocolError(f"X-Portal-Timeout is {timeout[:40]!r}; it is a whole number of milliseconds")
        context.deadline = clock + int(timeout) / 1000
    trace = headers.get("traceparent")
    if trace is not None and parse_traceparent(trace):
        context.traceparent = trace
    key = headers.get("idempotency-key")
    if key is not None:
        if not _IDEMPOTENCY_KEY.match(key):
            raise ProtocolError("an Idempotency-Key has 1 to 255 visible ASCII characters")
        context.idempotency_key = key
    return context


def headers_of(context: CallContext) -> dict[str, str]:
    """The headers that carry a context to a server; ProtocolError for an id or a key that no header can carry."""
    request_id = context.request_id
    if not _REQUEST_ID.match(request_id):
        raise ProtocolError("the request id must be 1 to 128 visible ASCII characters")
    headers = {"X-Request-ID": request_id}
    if context.deadline is not None:
        headers["X-Portal-Timeout"] = str(max(0, math.ceil((context.deadline - monotonic()) * 1000)))
    if context.traceparent is not None and parse_traceparent(context.traceparent):
        headers["traceparent"] = context.traceparent
    key: object = context.idempotency_key  # often made of what an end user sent: a line break would end the header
    if key is not None:
        if not isinstance(key, str) or not _IDEMPOTENCY_KEY.match(key):
            raise ProtocolError("an idempotency key has 1 to 255 visible ASCII characters", status=400)
        headers["Idempotency-Key"] = key
    return headers


# event streams


def write_event(data: bytes, event: str = "") -> bytes:
    """One event; `data` is JSON text and so holds no line break."""
    return (b"event: " + event.encode() + b"\n" if event else b"") + b"data: " + data + b"\n\n"


def read_events(pieces: Iterable[bytes], limit: int) -> Iterator[tuple[str, bytes]]:
    """The events (name, data) in a stream of bytes, each as soon as it is whole; a cut-off one is dropped.

    Lines may end with LF, CR or both. Comments, and what has no data, are no events.

    Raises: ProtocolError for an event of more than `limit` bytes.
    """
    buffer = bytearray()
    after_cr = False
    for given in pieces:
        piece = given.removeprefix(b"\n") if after_cr else given
        if given:
            after_cr = given.endswith(b"\r")
        if b"\r" in piece:
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        searched = max(0, len(buffer) - 1)
        buffer += piece
        if buffer.find(b"\n\n", searched) >= 0:
            *whole, rest = bytes(buffer).split(b"\n\n")
            buffer = bytearray(rest)
            yield from filter(None, map(_read_event, whole))
        if len(buffer) > limit:
            raise ProtocolError(f"an event is longer than {limit} bytes")


def _read_event(block: bytes) -> tuple[str, bytes] | None:
    name, data = "", []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            name = value.decode("ascii", "replace")
        elif field == b"data":
            data.append(value)
    return (name, b"\n".join(data)) if data else None
