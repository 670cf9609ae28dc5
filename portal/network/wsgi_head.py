"""Turn a WSGI environment back into the head of its request, so that the parser of the listener checks it.

Source: PEP 3333.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..errors import ProtocolError

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

__all__ = ["head_bytes"]

#: "WSGIServer/0.2", and without the version from CPython 3.15 on.
_is_wsgiref = re.compile(r"WSGIServer(?:[/ ]|$)").match
#: PEP 3333 passes these as CONTENT_TYPE and CONTENT_LENGTH.
_DUPLICATES = frozenset({"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"})


def head_bytes(environ: WSGIEnvironment, target: str) -> bytes:
    """Return the request's head as bytes, so that the parser of the listener checks it by the same rules.

    A value with a line break would become a header of its own, so the line breaks are counted.
    """
    old = environ.get("SERVER_PROTOCOL") == "HTTP/1.0"
    lines = [f"{environ.get('REQUEST_METHOD', '')} {target} HTTP/1.{0 if old else 1}\r\n"]
    for name, value in environ.items():
        if name == "HTTP_X_REQUEST_ID":  # two ids that the outer server has joined must not be read as one
            lines.append(f"X-Request-ID: {value.replace(',', ', ')}\r\n")
        elif name.startswith("HTTP_") and name not in _DUPLICATES:
            lines.append(f"{name[5:].replace('_', '-')}: {value}\r\n")
    if "HTTP_HOST" not in environ:
        lines.append(f"Host: {_server_name(environ)}\r\n")
    kind, length = environ.get("CONTENT_TYPE"), environ.get("CONTENT_LENGTH")
    if kind and not _is_made_up(kind, environ):
        lines.append(f"Content-Type: {kind}\r\n")
    if length:
        lines.append(f"Content-Length: {length}\r\n")
    elif _ends_by_itself(environ):
        lines.append("Transfer-Encoding: chunked\r\n")
    text = "".join(lines)
    if text.count("\n") != len(lines):
        raise ProtocolError("a header must not contain a line break")
    try:
        return f"{text}\r\n".encode("latin-1")
    except UnicodeEncodeError:
        raise ProtocolError("headers must be Latin-1 text, as PEP 3333 demands") from None


def _server_name(environ: WSGIEnvironment) -> str:
    name, port = str(environ.get("SERVER_NAME", "")), str(environ.get("SERVER_PORT", ""))
    bracketed = f"[{name}]" if ":" in name and not name.startswith("[") else name
    default = "443" if environ.get("wsgi.url_scheme") == "https" else "80"
    return bracketed if port in ("", default) else f"{bracketed}:{port}"


def _is_made_up(kind: str, environ: WSGIEnvironment) -> bool:
    # wsgiref, and so Django's runserver, report text/plain if the client has sent no Content-Type.
    return kind == "text/plain" and _is_wsgiref(str(environ.get("SERVER_SOFTWARE", ""))) is not None


def _ends_by_itself(environ: WSGIEnvironment) -> bool:
    """Return whether the body may have an end without a length, as in HTTP/2, where frames mark the end."""
    return (
        bool(environ.get("wsgi.input_terminated"))
        and "HTTP_TRANSFER_ENCODING" not in environ
        and str(environ.get("SERVER_PROTOCOL", "")).startswith(("HTTP/2", "HTTP/3"))
        and environ.get("REQUEST_METHOD") not in ("GET", "HEAD", "OPTIONS")
    )
