"""Parameters as headers and as the whole body of a request, on both sides."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from ..._internal.json_encoder import encode_json
from ...errors import Fault, SerializationError, ValidationError
from ...http11.fields import is_field_content
from ...schema.jsondata import pointer, shorten
from ...schema.transfer import Transfer

__all__ = ["FORM", "decode_form", "encode_transfer", "header_params", "with_headers"]

FORM = "application/x-www-form-urlencoded"
_MAX_FIELDS = 1000


def header_params(transfer: Transfer, headers: Mapping[str, str]) -> dict[str, Any]:
    """Return the parameters that are headers of a request, as JSON data.

    A number or a boolean is its JSON text. Text that does not fit stays text, so that the validation rejects it.

    Args:
        headers: by lower-case name.
    """
    found: dict[str, Any] = {}
    for name, header, types in transfer.headers:
        value = headers.get(header.lower())
        if value is not None:
            found[name] = _value_of(value, types)
    return found


def with_headers(params: dict[str, Any], transfer: Transfer, headers: Mapping[str, str]) -> dict[str, Any]:
    """Return the parameters of a body, and those that are headers; see `header_params`.

    Raises: ValidationError for a body that has a parameter which is a header. A proxy may have set or removed that one.
    """
    faults = [
        Fault(pointer((name,)), f"must be the header {header}, not in the body", "header", None)
        for name, header, _ in transfer.headers
        if name in params
    ]
    if faults:
        raise ValidationError(errors=faults)
    return params | header_params(transfer, headers)


def _value_of(text: str, types: frozenset[str]) -> Any:
    if "string" in types:
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, int | float | bool) else text


def decode_form(body: bytes) -> dict[str, Any]:
    """Return the fields of a form: text by name, a list of texts for a name that is repeated.

    Raises: SerializationError for a form with more than 1,000 fields, or that is not UTF-8.
    """
    found: dict[str, Any] = {}
    try:
        text = body.decode("ascii")
        fields = parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict")
    except ValueError as error:
        raise SerializationError(f"the body must be a form of at most {_MAX_FIELDS} fields in UTF-8") from error
    for name, value in fields:
        if name not in found:
            found[name] = value
        elif isinstance(found[name], list):
            found[name].append(value)
        else:
            found[name] = [found[name], value]
    return found


def encode_transfer(transfer: Transfer, params: Mapping[str, Any]) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of a request.

    Raises: ValidationError for a value that a header cannot carry; SerializationError for one that JSON cannot carry.
    """
    rest = dict(params)
    headers: dict[str, str] = {}
    for name, header, _ in transfer.headers:
        value = rest.pop(name, None)
        if value is not None:
            text = value if isinstance(value, str) else json.dumps(value)
            if text and not is_field_content(text):
                fault = Fault(pointer((name,)), "must be text that a header can carry", "header", None, shorten(value))
                raise ValidationError(errors=[fault])
            headers[header] = text
    if transfer.body is not None:
        return encode_json(rest[transfer.body]) if transfer.body in rest else b"", headers
    return encode_json(rest), headers
