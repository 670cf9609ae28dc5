"""Files in requests and responses: forms and raw bodies become parameters, and a returned file becomes a body."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any

from ..._internal.content import Content
from ..._internal.json_text import BodyDecoder
from ...context import CallContext
from ...errors import Fault, ProtocolError, SerializationError, ValidationError
from ...http11.ranges import Unsatisfiable, read_range
from ...schema.codecs.files import File, FileTable, json_of_file
from ...schema.jsondata import pointer
from ...schema.transfer import Transfer
from ...serving import Request, Response
from ..messages.event_stream import JSON
from ..messages.multipart import MULTIPART, Part, boundary_of, disposition_of, filename_in, parse_parts
from ..messages.transfer import with_headers
from .negotiation import decode_body, media_type, params_of, require_own_page, wrong_media_type

__all__ = ["FileBody", "file_params", "file_response"]

_SMALL = 64 * 1024  # bytes that are sent with the head
_MAX_FIELD = 1024 * 1024  # bytes of the fields of a form that are no files, together


class FileBody:
    """The body of a response that is a part of a file.

    Attributes:
        length: in bytes.

    Threads: one.
    """

    def __init__(self, file: File, start: int, stop: int) -> None:
        self.length = stop - start
        self._pieces = file.chunks(start=start, stop=stop)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._pieces)

    def close(self) -> None:
        """Do nothing: the file is closed with its last reference."""


def file_params(
    request: Request, decoder: BodyDecoder, transfer: Transfer, schema: Mapping[str, Any], table: FileTable
) -> dict[str, Any]:
    """Return the parameters of a call some of which are files; the files are in the table.

    The body is a form, or JSON with base64, or the file itself if there is one file parameter.

    Raises: ProtocolError, SerializationError and ValidationError for a request that cannot be decoded.
    """
    media = media_type(request)
    if media is None or media == JSON or media.endswith("+json"):
        try:
            return with_headers(params_of(request, decoder), transfer, request.headers)
        except SerializationError as error:
            if media is None:
                error.hint = "send a file with the header Content-Type, such as application/octet-stream"
            raise
    require_own_page(request)
    content = request.content
    if media == MULTIPART:
        params = _form_params(content, request.headers["content-type"], decoder, transfer, schema, table)
    elif len(transfer.files) == 1 and not transfer.lists:
        name, kind = transfer.files[0]
        sent = request.headers.get("content-disposition")
        filename = None if sent is None else filename_in(sent)
        file = File.of_content(content, name=filename, type=request.headers["content-type"])
        params = {name: _in_json(file, kind, table)}
    else:
        raise wrong_media_type(f"{MULTIPART} or {JSON}", media)
    return with_headers(params, transfer, request.headers)


def _form_params(
    content: Content,
    content_type: str,
    decoder: BodyDecoder,
    transfer: Transfer,
    schema: Mapping[str, Any],
    table: FileTable,
) -> dict[str, Any]:
    kinds = dict(transfer.files)
    properties = schema.get("properties", {})
    params: dict[str, Any] = {}
    lists: dict[str, list[Any]] = {}
    fields: list[tuple[Part, bytes]] = []
    left = _MAX_FIELD
    for part in parse_parts(content, boundary_of(content_type)):
        is_file = part.name in kinds and not _is_json_field(part)
        if is_file and part.name in transfer.lists:
            _add_to_list(lists, part, content, kinds[part.name], table)
            continue
        if part.name in params:
            raise _sent_twice(part.name, is_list=part.name not in kinds and _is_list(properties.get(part.name)))
        if is_file:
            file = File.of_content(content, part.start, part.size, name=part.filename, type=part.type)
            params[part.name] = _in_json(file, kinds[part.name], table)
            continue
        left -= part.size
        if left < 0:
            raise ProtocolError(f"the fields of a form must have at most {_MAX_FIELD} bytes together", status=413)
        params[part.name] = None
        fields.append((part, content.read_at(part.start, part.size)))
    # Before one of them is decoded. Each alone may have fewer objects and arrays than a body may have.
    decoder.check(*(data for part, data in fields if _may_be_json(part, properties.get(part.name))))
    for part, data in fields:
        try:
            params[part.name] = _field(data, part, properties.get(part.name), decoder)
        except UnicodeDecodeError:
            words = f"the field {part.name[:80]!r} must be UTF-8 text"
            raise SerializationError(f"{words}; the fields for files are {', '.join(kinds)}"[:500]) from None
    for name in lists:
        if name in params:
            raise _sent_twice(name)
    return params | lists


def _sent_twice(name: str, *, is_list: bool = False) -> ValidationError:
    words = "must be sent once"
    if is_list:
        words += ', as one field with JSON, such as ["a", "b"]'
    return ValidationError(errors=[Fault(pointer((name,)), words, "form", None)])


def _is_list(schema: object) -> bool:
    """Return whether a parameter with this schema may be an array."""
    if not isinstance(schema, dict):
        return False
    types, choices = schema.get("type"), schema.get("anyOf")
    is_array = "array" in types if isinstance(types, list) else types == "array"
    return is_array or (isinstance(choices, list) and any(map(_is_list, choices)))


def _is_json_field(part: Part) -> bool:
    """Return whether a part has JSON data in place of files, such as null or the empty list."""
    return part.filename is None and _media_of(part) == JSON


def _add_to_list(lists: dict[str, list[Any]], part: Part, content: Content, kind: str, table: FileTable) -> None:
    """Add a part to its list of files. A browser sends a part without name and content if no file is chosen."""
    files = lists.setdefault(part.name, [])
    if part.filename != "" or part.size:
        file = File.of_content(content, part.start, part.size, name=part.filename, type=part.type)
        files.append(_in_json(file, kind, table))


def _field(data: bytes, part: Part, schema: Any, decoder: BodyDecoder) -> Any:
    """Return the value of a field: JSON if it says so, or if the parameter accepts no text and the field is JSON.

    Raises: UnicodeDecodeError; SerializationError for JSON that cannot be decoded.
    """
    if _media_of(part) == JSON:
        return decode_body(data, decoder)
    text = data.decode()
    if _is_text(schema):
        return text
    try:
        return decode_body(data, decoder) if data else text
    except SerializationError:
        return text


def _may_be_json(part: Part, schema: Any) -> bool:
    return _media_of(part) == JSON or not _is_text(schema)


def _media_of(part: Part) -> str:
    return (part.type or "").partition(";")[0].strip().lower()


def _is_text(schema: Any) -> bool:
    if not isinstance(schema, Mapping):
        return False
    kind = schema.get("type")
    if kind == "string" or (isinstance(kind, list) and "string" in kind):
        return True
    if any(isinstance(value, str) for value in (schema.get("const"), *schema.get("enum", ()))):
        return True
    return any(_is_text(one) for one in (*schema.get("anyOf", ()), *schema.get("oneOf", ())))


def _in_json(file: File, kind: str, table: FileTable) -> Any:
    """Return the JSON data of a file: a token stands for its content."""
    token = table.add(file, _digest(file) if table.is_stable else None)
    return token if kind == "bytes" else json_of_file(file, token)


def _digest(file: File) -> str:
    """Return a token that is the same for the same content, so that a repeated call has the same parameters."""
    digest = hashlib.sha256()
    for piece in file.chunks(1024 * 1024):
        digest.update(piece)
    return b64encode(digest.digest()[:24]).decode()


def file_response(file: File, request: Request, context: CallContext) -> Response:
    """Return the response with a file, or with the part of it that the header Range asks for."""
    headers = [
        ("Content-Type", file.type),
        ("Content-Disposition", disposition_of("attachment", file.name)),
        ("Accept-Ranges", "bytes"),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Request-ID", context.request_id),
    ]
    start, stop, status = 0, file.size, 200
    try:
        # Without a validator a condition on the part cannot hold (RFC 9110 section 13.1.5).
        wanted = None if "if-range" in request.headers else request.headers.get("range")
        if (found := read_range(wanted, file.size)) is not None:
            start, stop = found
            status = 206
            headers.append(("Content-Range", f"bytes {start}-{stop - 1}/{file.size}"))
    except Unsatisfiable:
        return Response(416, [("Content-Range", f"bytes */{file.size}"), ("X-Request-ID", context.request_id)])
    if stop - start <= _SMALL:
        return Response(status, headers, b"".join(file.chunks(start=start, stop=stop)))
    return Response(status, headers, FileBody(file, start, stop))
