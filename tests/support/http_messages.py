"""Requests and middleware for tests without a socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from portal.http11.request_head import parse_request_head
from portal.serving import Request, Response


def request_of(method: str = "POST", target: str = "/api/add", body: bytes = b"", **headers: str) -> Request:
    """Return a request; `x_y` is the header x-y."""
    lines = [f"{method} {target} HTTP/1.1"] + ([] if "host" in headers else ["Host: api.example"])
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}"] if body or method == "POST" else []
    head = parse_request_head("\r\n".join([*lines, "", ""]).encode("latin-1"))
    return Request(head, body, None, "192.0.2.7")


def respond_with(status: int = 200, body: Any = b"{}", **headers: str) -> Callable[[Request], Response]:
    """Return a handler that responds with this status, body and headers; JSON by default."""
    rows = {"content_type": "application/json"} | headers
    return lambda request: Response(status, [(name.replace("_", "-"), value) for name, value in rows.items()], body)


def headers_of(response: Response) -> dict[str, str]:
    """Return the headers by lower-case name; no name may occur twice."""
    found = {name.lower(): value for name, value in response.headers}
    assert len(found) == len(response.headers), response.headers
    return found
