"""The line of a request log: what is known of one request, as one JSON object that nothing in it can break."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any

__all__ = ["LONGEST", "log_line", "quoted"]

LONGEST = 512  #: Characters of any one value.
_SHORT = 256  # characters of a path that is kept ready
_SURROGATES = re.compile("[\ud800-\udfff]")


def log_line(
    moment: float,
    headers: Iterable[tuple[str, str]],
    method: str,
    path: str,
    function: str | None,
    peer: str,
    identity: str | None,
    status: int,
    code: str | None,
    seconds: float,
    request_bytes: int,
    response_bytes: int,
    timeout: str | None,
    more: str | None,
) -> str:
    """The JSON object, without a line end. Written out member by member: a general encoder takes three times as long.

    Args:
        moment: seconds since 1970.
        headers: of the response; the request id is in them.
        path: with the query, secrets left out.
        seconds: from the first byte to the answer.
        timeout: what the client's header said.
        more: members of "headers", as JSON text; None leaves it out.
    """
    who = (_known if len(path) <= _SHORT else _who)(method, path, function, peer, identity)
    left = "null" if timeout is None else _milliseconds(timeout)
    second = int(moment)
    line = (
        f'{{"time":"{_second(second)}.{int((moment - second) * 1000):03d}Z",'
        f'"request_id":{quoted(dict(headers).get("X-Request-ID"))},'
        f'{who},"status":{status},"code":{"null" if code is None else quoted(code)},'
        f'"duration_ms":{seconds * 1000:.3f},"request_bytes":{request_bytes},"response_bytes":{response_bytes},'
        f'"timeout_ms":{left}'
    )
    return line + "}" if more is None else f'{line},"headers":{{{more}}}}}'


def quoted(value: Any) -> str:
    """A value as JSON text of ASCII characters, cut: nothing in it can end a line or hide."""
    if value is None:
        return "null"
    text = str(value)
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}..."
    # Lone surrogates are no text to other parsers.
    return encode_basestring_ascii(text if text.isascii() else _SURROGATES.sub("\ufffd", text))


@lru_cache(maxsize=4)
def _second(second: int) -> str:
    """RFC 3339."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _milliseconds(timeout: str) -> str:
    return str(int(timeout)) if timeout.isascii() and timeout.isdigit() and len(timeout) < 16 else "null"


def _who(method: str, path: str, function: str | None, peer: str, identity: str | None) -> str:
    """The members that say who called what; the same for every call of a client."""
    return (
        f'"method":{quoted(method)},"path":{quoted(path)},"function":{quoted(function)},"peer":{quoted(peer)},'
        f'"identity":{quoted(identity)}'
    )


_known = lru_cache(maxsize=1024)(_who)
