"""multipart/form-data: find the parts of a body, and write one. Nothing is copied: a part is a place in the body.

Sources: RFC 7578 (multipart/form-data), RFC 2046 section 5.1 (boundaries), RFC 6266 and RFC 8187 (file names).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from ..._internal.content import Content
from ..._internal.json_encoder import encode_json
from ...errors import ProtocolError
from ...schema.codecs.files import File
from .event_stream import JSON

__all__ = [
    "MAX_PARTS",
    "MULTIPART",
    "MultipartBody",
    "Part",
    "boundary_of",
    "disposition_of",
    "filename_in",
    "parse_parts",
]

MULTIPART = "multipart/form-data"
MAX_PARTS = 100  # of a form
_MAX_PART_HEAD = 8 * 1024  # bytes
_MAX_HEADERS = 16  # of a part
_WINDOW = 256 * 1024
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_PARAMETER = re.compile(r';\s*([A-Za-z0-9*\-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))')


class Part(NamedTuple):
    """A part of a form.

    Attributes:
        name: of the field.
        filename: of a file, or None.
        type: the media type, or None.
        start, size: where its content is in the body.
    """

    name: str
    filename: str | None
    type: str | None
    start: int
    size: int


def boundary_of(content_type: str) -> bytes:
    """Return the boundary in the Content-Type of a form. Raises: ProtocolError."""
    found = _parameters(content_type).get("boundary", "")
    if not _BOUNDARY.fullmatch(found):
        raise ProtocolError("a multipart body must have a boundary of 1 to 70 characters", status=400)
    return found.encode("ascii")


def parse_parts(content: Content, boundary: bytes) -> list[Part]:
    """Return the parts of a form.

    Raises: ProtocolError (400) for a malformed body; (413) for more than 100 parts, or a head of more than 8 KiB.
    """
    delimiter = b"\r\n--" + boundary
    position = _skip_preamble(content, delimiter)
    parts: list[Part] = []
    while True:
        after = content.read_at(position, 2)
        if after == b"--":
            return parts
        position = _end_of_line(content, position)
        if len(parts) == MAX_PARTS:
            raise ProtocolError(f"a form must have at most {MAX_PARTS} parts", status=413)
        head, start = _read_head(content, position)
        end = _find(content, delimiter, start - 2)  # an empty part has its delimiter right after its head
        if end < 0:
            raise ProtocolError("the last part of a form has no end", status=400)
        parts.append(_part_of(head, start, max(0, end - start)))
        position = end + len(delimiter)


def _skip_preamble(content: Content, delimiter: bytes) -> int:
    first = delimiter[2:]
    if content.read_at(0, len(first)) == first:
        return len(first)
    found = _find(content, delimiter, 0, limit=_MAX_PART_HEAD)
    if found < 0:
        raise ProtocolError("a multipart body must begin with its boundary", status=400)
    return found + len(delimiter)


def _end_of_line(content: Content, position: int) -> int:
    """Return the position after the blanks and the line break that follow a boundary."""
    line = content.read_at(position, 256)
    end = line.find(b"\r\n")
    if end < 0 or line[:end].strip(b" \t"):
        raise ProtocolError("a boundary must be a line of its own", status=400)
    return position + end + 2


def _read_head(content: Content, position: int) -> tuple[bytes, int]:
    head = content.read_at(position, _MAX_PART_HEAD + 4)
    if head.startswith(b"\r\n"):
        return b"", position + 2
    end = head.find(b"\r\n\r\n")
    if end < 0:
        status = 413 if len(head) > _MAX_PART_HEAD else 400
        raise ProtocolError(f"the head of a part must have at most {_MAX_PART_HEAD} bytes", status=status)
    return head[:end], position + end + 4


def _find(content: Content, wanted: bytes, start: int, limit: int | None = None) -> int:
    """Return the position of some bytes from a position on, or -1."""
    position = start
    end = content.size if limit is None else min(content.size, start + limit)
    while position < end:
        window = content.read_at(position, min(_WINDOW, end - position))
        found = window.find(wanted)
        if found >= 0:
            return position + found
        if len(window) < len(wanted):
            return -1
        position += len(window) - len(wanted) + 1
    return -1


def _part_of(head: bytes, start: int, size: int) -> Part:
    headers: dict[str, str] = {}
    lines = head.decode("utf-8", "replace").split("\r\n")
    for line in lines[:_MAX_HEADERS]:
        name, colon, value = line.partition(":")
        if colon:
            headers.setdefault(name.strip().lower(), value.strip())
    disposition = headers.get("content-disposition", "")
    options = _parameters(disposition)
    if len(lines) > _MAX_HEADERS or not disposition.lower().startswith("form-data") or "name" not in options:
        raise ProtocolError('a part must have the header Content-Disposition: form-data; name="..."', status=400)
    if headers.get("content-transfer-encoding", "binary").lower() not in ("binary", "8bit", "7bit"):
        raise ProtocolError("a part must be sent as it is, without a transfer encoding", status=400)
    return Part(options["name"], _filename(options), headers.get("content-type"), start, size)


def _parameters(value: str) -> dict[str, str]:
    """Return the parameters of a header by lower-case name; the first of two counts."""
    found: dict[str, str] = {}
    for name, quoted, plain in _PARAMETER.findall(";" + value.partition(";")[2]):
        found.setdefault(name.lower(), re.sub(r"\\([\"\\])", r"\1", quoted) or plain)
    return found


def _filename(options: Mapping[str, str]) -> str | None:
    extended = options.get("filename*")
    if extended is not None and extended.lower().startswith("utf-8''"):
        return unquote(extended[7:])
    return options.get("filename")


def filename_in(disposition: str) -> str | None:
    """Return the file name in a Content-Disposition, or None."""
    return _filename(_parameters(disposition))


def disposition_of(kind: str, name: str | None) -> str:
    """Return a Content-Disposition with a file name, in ASCII and in UTF-8."""
    if name is None:
        return kind
    plain = "".join(one if " " <= one <= "~" and one not in '"\\%' else "_" for one in name)
    extended = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}"
    return f'{kind}; filename="{plain}"{extended}'


class MultipartBody:
    """The body of a request with parameters as JSON, and with files.

    Args:
        params: JSON parameters by name.
        files: each with the name of its parameter; those of a list have the same name.

    Attributes:
        content_type: with the boundary.

    Threads: one at a time; it can be sent again.
    """

    def __init__(self, params: Mapping[str, Any], files: Iterable[tuple[str, File]]) -> None:
        boundary = secrets.token_hex(16)
        self.content_type = f"{MULTIPART}; boundary={boundary}"
        self._pieces: list[bytes | File] = []
        for name, value in params.items():
            self._add(boundary, _field(name), JSON, encode_json(value))
        for name, file in files:
            filename = file.name or "file"
            self._add(boundary, disposition_of(_field(name), filename), file.type, file)
        self._pieces.append(f"--{boundary}--\r\n".encode())
        self.size = sum(len(piece) if isinstance(piece, bytes) else piece.size for piece in self._pieces)

    def _add(self, boundary: str, disposition: str, media: str, content: bytes | File) -> None:
        head = f"--{boundary}\r\nContent-Disposition: {disposition}\r\nContent-Type: {media}\r\n\r\n"
        self._pieces += [head.encode(), content, b"\r\n"]

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, bytes):
                yield piece
            else:
                yield from piece.chunks()


def _field(name: str) -> str:
    escaped = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    return f'form-data; name="{escaped}"'
