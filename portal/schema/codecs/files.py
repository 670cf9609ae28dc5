"""File and Bytes: parameters and results that travel as themselves over HTTP.

Everywhere else they are base64 in JSON. A transport that carries files opens a FileTable around a call. Then the JSON
data has a token in the place of the base64 text, and the table has the file of each token.
"""

from __future__ import annotations

import mimetypes
import os
import re
import secrets
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import PurePath
from typing import Annotated, Any

from ..._internal.content import Content, OpenFile, content_of
from ..._internal.settings import require, text
from ...context import CallContext
from ..formats import parse_base64
from .codec import Codec, Unencodable

__all__ = [
    "BYTES",
    "FILE",
    "Bytes",
    "File",
    "FileTable",
    "RawBytes",
    "current_table",
    "file_of_json",
    "files_of_call",
    "json_of_file",
    "keeping_files",
    "with_base64",
]

_PIECE = 64 * 1024
_TYPE = r"[A-Za-z0-9!#$&^_.+\-]{1,127}/[A-Za-z0-9!#$&^_.+\-]{1,127}(?:;[\x20-\x7e]{1,200})?"
_DEFAULT_TYPE = "application/octet-stream"


class _Part:
    def __init__(self, content: Content, start: int, size: int) -> None:
        self._content = content
        self._start = start
        self.size = size

    def read_at(self, offset: int, size: int) -> bytes:
        return self._content.read_at(self._start + offset, min(size, max(0, self.size - offset)))


class File:
    """A file that a function takes or returns: its content, its name and its media type.

        def thumbnail(photo: File, width: int = 200) -> File: ...

    Args:
        source: the content as bytes, or the path of a file. A path is opened now, and read when the file is sent.
        name: the file name without folders; that of the path if None.
        type: the media type; guessed from the name if None.

    Attributes:
        name: the file name, or None.
        type: the media type, such as "image/png".
        size: in bytes.

    Raises: OSError for a path that cannot be opened; ConfigError for a wrong type.

    Threads: any; it is read only.
    """

    __slots__ = ("_content", "name", "type")

    def __init__(
        self, source: bytes | bytearray | str | os.PathLike[str], *, name: str | None = None, type: str | None = None
    ) -> None:
        if isinstance(source, bytes | bytearray):
            content: Content = content_of(bytes(source))
        else:
            content = OpenFile(open(source, "rb"))  # noqa: SIM115 - closed with this object
            name = PurePath(source).name if name is None else name
        self._set(content, name, type)

    def _set(self, content: Content, name: str | None, media: str | None) -> None:
        self._content = content
        self.name = None if name is None else _plain_name(name)
        guessed = mimetypes.guess_type(self.name)[0] if media is None and self.name else media
        self.type = text("file.type", guessed or _DEFAULT_TYPE, pattern=_TYPE, expected="a media type: image/png")

    @classmethod
    def of_content(
        cls, content: Content, start: int = 0, size: int | None = None, *, name: str | None = None, type: str | None
    ) -> File:
        """Return a file of a part of some content. The type may be of a stranger; one that is none is not used."""
        made = cls.__new__(cls)
        is_whole = start == 0 and size in (None, content.size)
        part = content if is_whole else _Part(content, start, content.size - start if size is None else size)
        made._set(part, name, _media_of(type))
        return made

    @property
    def size(self) -> int:
        """The number of bytes."""
        return self._content.size

    def chunks(self, size: int = _PIECE, *, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield the content in pieces of at most `size` bytes.

        Args:
            start, stop: the first byte, and the one after the last.
        """
        end = self.size if stop is None else min(stop, self.size)
        while start < end:
            piece = self._content.read_at(start, min(size, end - start))
            if not piece:
                raise OSError(f"the file has {start} bytes, and had {self.size} before")
            start += len(piece)
            yield piece

    def read(self) -> bytes:
        """Return the whole content."""
        return b"".join(self.chunks())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the content to a path."""
        with open(path, "wb") as file:
            for piece in self.chunks():
                file.write(piece)

    def __repr__(self) -> str:
        return f"<File {self.name or 'without a name'}: {self.type}, {self.size} bytes>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, File):
            return NotImplemented
        same = (self.name, self.type, self.size) == (other.name, other.type, other.size)
        return same and all(one == two for one, two in zip(self.chunks(), other.chunks(), strict=True))

    def __hash__(self) -> int:
        return hash((self.name, self.type, self.size))

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (self.read(), self.name, self.type)


def _unpickle(data: bytes, name: str | None, media: str) -> File:
    return File(data, name=name, type=media)


def _media_of(given: str | None) -> str | None:
    """Return the media type that a message has, or None for text that is not one."""
    return given if given is not None and re.fullmatch(_TYPE, given) else None


def _plain_name(name: str) -> str:
    """Return the last part of a name, which may be a path of another system."""
    require(isinstance(name, str), "file.name", name, "a string")
    last = name.replace("\\", "/").rpartition("/")[2]
    kept = "".join(character for character in last if character.isprintable())[:255]
    return kept if kept not in ("", ".", "..") else "file"


# in JSON data


class FileTable:
    """The files of one call, by the tokens that stand for them in its JSON data.

    Args:
        context: of the call whose result may have tokens; None for parameters that are encoded now.
        is_stable: whether equal files of requests must have equal tokens, as for a call with an idempotency key.

    Threads: those of one call, one at a time.
    """

    __slots__ = ("_files", "context", "is_stable")

    def __init__(self, context: CallContext | None = None, *, is_stable: bool = False) -> None:
        self.context = context
        self.is_stable = is_stable
        self._files: dict[str, File] = {}

    def add(self, file: File, token: str | None = None) -> str:
        """Keep a file and return its token, which is base64 text."""
        token = b64encode(secrets.token_bytes(24)).decode() if token is None else token
        self._files[token] = file
        return token

    def find(self, token: object) -> File | None:
        """Return the file of a token, or None for any other value."""
        return self._files.get(token) if isinstance(token, str) else None

    def file_in(self, value: Any) -> File | None:
        """Return the file that a result is, or None."""
        return self.find(value.get("data") if isinstance(value, dict) else value)

    def size_in(self, value: Any) -> int:
        """Return the number of bytes of the files in JSON data."""
        if isinstance(value, dict | list):
            return sum(map(self.size_in, value.values() if isinstance(value, dict) else value))
        file = self.find(value)
        return 0 if file is None else file.size

    def inlined(self, value: Any) -> Any:
        """Return JSON data with the base64 text of each file in the place of its token."""
        if not self._files:
            return value
        if isinstance(value, dict):
            return {name: self.inlined(one) for name, one in value.items()}
        if isinstance(value, list):
            return [self.inlined(one) for one in value]
        file = self.find(value)
        return value if file is None else b64encode(file.read()).decode()


_table: ContextVar[FileTable | None] = ContextVar("portal_files", default=None)


@contextmanager
def files_of_call(table: FileTable) -> Iterator[FileTable]:
    """Let the codecs of File and Bytes use a table inside."""
    token = _table.set(table)
    try:
        yield table
    finally:
        _table.reset(token)


def _token_of(file: File) -> str | None:
    """Return the token of a file in the table of this call; None where there is none."""
    table = _table.get()
    if table is None or (table.context is not None and table.context is not CallContext.current()):
        return None  # also in a call that is nested in one with a table
    return table.add(file)


def current_table() -> FileTable | None:
    """Return the table that is open now."""
    return _table.get()


def with_base64(data: Any) -> Any:
    """Return JSON data of the running call for what has no access to its files: base64 in the place of tokens."""
    table = _table.get()
    return data if table is None else table.inlined(data)


def keeping_files(run: Callable[..., Any]) -> Callable[..., Any]:
    """Return a callable that runs with the files of the running call in another thread, too."""
    table = _table.get()
    return run if table is None else partial(_run_with_files, table, run)


def _run_with_files(table: FileTable, run: Callable[..., Any], /, *args: Any) -> Any:
    with files_of_call(table):
        return run(*args)


def file_of_json(data: Any, kind: str) -> File:
    """Return the file that JSON data with base64 describes.

    Args:
        kind: "file" or "bytes".

    Raises: ValueError, TypeError, KeyError for other data.
    """
    return File(parse_base64(data)) if kind == "bytes" else _decode_file(data)


def json_of_file(file: File, data: str | None = None) -> dict[str, str]:
    """Return the JSON data that describes a file.

    Args:
        data: what stands for the content; None for base64.
    """
    found = {"data": b64encode(file.read()).decode() if data is None else data, "type": file.type}
    return found if file.name is None else found | {"name": file.name}


def _find(token: str) -> File | None:
    table = _table.get()
    return None if table is None else table.find(token)


def _decode_file(data: dict[str, Any]) -> File:
    file = _find(data["data"])
    if file is not None:
        return file
    return File(parse_base64(data["data"]), name=data.get("name"), type=_media_of(data.get("type")))


def _encode_file(value: Any) -> Any:
    if not isinstance(value, File):
        return Unencodable(value, expected=File)
    return json_of_file(value, _token_of(value))


def _decode_bytes(text: str) -> bytes:
    file = _find(text)
    return parse_base64(text) if file is None else file.read()


def _encode_bytes(value: Any) -> Any:
    if not isinstance(value, bytes | bytearray | memoryview):
        return Unencodable(value, expected=bytes)
    token = _token_of(File(bytes(value)))
    return b64encode(value).decode() if token is None else token


_BASE64 = {"type": "string", "contentEncoding": "base64"}
#: The codec of File.
FILE = Codec(
    {
        "type": "object",
        "title": "File",
        "properties": {"data": _BASE64, "name": {"type": "string"}, "type": {"type": "string"}},
        "required": ["data"],
        "additionalProperties": False,
        "x-file": "file",
    },
    _decode_file,
    _encode_file,
    (File,),
)
#: The codec of Bytes.
BYTES = Codec(_BASE64 | {"x-file": "bytes"}, _decode_bytes, _encode_bytes, (bytes, bytearray))


class RawBytes:
    """Marks bytes that are sent over HTTP without base64: `Bytes` is `Annotated[bytes, RawBytes()]`."""


#: Bytes that travel as themselves over HTTP, and as base64 elsewhere.
Bytes = Annotated[bytes, RawBytes()]
