"""Files in the calls of a client: parameters as a form, and a result as a File."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any

from ..._internal.content import spooled
from ...errors import ProtocolError
from ...schema.codecs.files import File, FileTable, current_table, json_of_file
from ...schema.transfer import Transfer
from ..messages.multipart import MAX_PARTS, MultipartBody, filename_in
from ..messages.transfer import encode_transfer
from .body import iter_body
from .request import ClientRequest, ClientResponse

__all__ = ["encode_files", "is_file", "receive_file"]


def encode_files(transfer: Transfer, params: Mapping[str, Any]) -> tuple[bytes | MultipartBody, dict[str, str]]:
    """Return the body and the headers of a request; a form if a file is in the table of this call.

    More files than a form may have are sent as base64, and so are files inside of other parameters.

    Raises: as `encode_transfer`.
    """
    table = current_table()
    if table is None:
        return encode_transfer(transfer, params)
    files = [(name, file) for name, _ in transfer.files for file in _files_in(params.get(name), table)]
    fields = {name for name, _ in files}
    headers = {name for name, _, _ in transfer.headers}
    others = {name: value for name, value in params.items() if name not in fields and name not in headers}
    if not files or len(files) + len(others) > MAX_PARTS:
        return encode_transfer(transfer, table.inlined(dict(params)))
    sent = {name: value for name, value in params.items() if name in headers}
    body = MultipartBody(table.inlined(others), files)
    return body, {"Content-Type": body.content_type} | encode_transfer(transfer, sent)[1]


def _files_in(value: Any, table: FileTable) -> list[File]:
    """Return the files that a parameter consists of; none if it has anything else."""
    found = [table.file_in(one) for one in (value if isinstance(value, list) else [value])]
    files = [one for one in found if one is not None]
    return files if len(files) == len(found) else []


def is_file(response: ClientResponse) -> bool:
    """Return whether a response is a file that a function has returned, and not JSON."""
    return response.status == 200 and "content-disposition" in response.headers


def receive_file(
    response: ClientResponse, request: ClientRequest, kind: str, *, max_file_size: int, max_size: int
) -> Any:
    """Return the JSON data of a file in a response.

    If the caller wants a File, a token stands for the content, which is kept in a temporary file from 1 MiB on.

    Args:
        kind: "file" or "bytes".
        max_file_size: bytes of a file at most.
        max_size: bytes of a file that becomes base64 at most.

    Raises: portal errors only; ProtocolError for a file that is too large.
    """
    table = current_table()
    is_native = table is not None and table.context is request.context
    limit = max_file_size if is_native else max_size
    content = spooled(_limited(iter_body(response, request), limit, request))
    name = filename_in(response.headers["content-disposition"])
    file = File.of_content(content, name=name, type=response.headers.get("content-type"))
    if is_native:
        assert table is not None
        data = table.add(file)
    else:
        data = b64encode(file.read()).decode()
    return data if kind == "bytes" else json_of_file(file, data)


def _limited(pieces: Iterator[bytes], limit: int, request: ClientRequest) -> Iterator[bytes]:
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > limit:
            address = request.address
            raise ProtocolError(f"the file from {address} must have at most {limit} bytes", address=address)
        yield piece
