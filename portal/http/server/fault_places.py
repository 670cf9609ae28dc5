"""Faults of parameters, in the words of the HTTP request that has them.

A sender of a webhook knows headers, a body and the fields of a form. It does not know which of them are parameters.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

from ...errors import Fault, ValidationError
from ...schema.jsondata import pointer
from ...schema.transfer import Transfer
from ...serving import Request
from ..messages.event_stream import JSON
from ..messages.multipart import MULTIPART
from .negotiation import media_type

__all__ = ["name_places"]

_MAX_NAMES = 100  # of a query
_NOTHING = Transfer()


def name_places(error: ValidationError, transfer: Transfer | None, request: Request) -> ValidationError:
    """Return the error with the places in the request: the header, the body or the field of a parameter.

    The paths stay those of the parameters. An error that the function itself has raised is returned as it is.
    """
    if error.delivery == "executed":
        return error
    places = _Places(transfer or _NOTHING, request)
    faults = [places.name(fault) for fault in error.errors]
    if faults == list(error.errors):
        return error
    named = ValidationError(errors=faults, delivery=error.delivery, hint=error.hint, context=error.context, cause=error)
    return named.with_traceback(error.__traceback__)


class _Places:
    """Where the parameters of one request are. Threads: one."""

    def __init__(self, transfer: Transfer, request: Request) -> None:
        self._headers = {pointer((one.name,)): one.header for one in transfer.headers}
        self._body = None if transfer.body is None else pointer((transfer.body,))
        self._files = {pointer((name,)) for name, _ in transfer.files}
        self._media = media_type(request) if transfer.files else JSON
        self._in_query = _names_of(request.query)

    def name(self, fault: Fault) -> Fault:
        path, message = fault.path, fault.message
        if fault.rule == "required" and path.count("/") == 1:
            return replace(fault, message=self._missing(path, message))
        if path in self._headers:
            return replace(fault, message=_about(f"the header {self._headers[path]}", message))
        if path == self._body:
            return replace(fault, message=_about("the body", message))
        if self._body is not None and path.startswith(f"{self._body}/"):
            return replace(fault, message=f"{message} (at {path[len(self._body) :]} of the body)")
        return fault

    def _missing(self, path: str, message: str) -> str:
        name = path[1:].replace("~1", "/").replace("~0", "~")
        is_json = self._media is None or self._media == JSON or self._media.endswith("+json")
        place = ""
        if path in self._headers:
            message = f"the header {self._headers[path]} is required"
        elif path == self._body:
            message = "the body of the request is required"
        elif self._media == MULTIPART:
            message = f"the field {name!r} of the form is required"
        elif path in self._files:
            message = f"{message}; send it as a field of a form ({MULTIPART})"
        elif not is_json:
            message = f"{message}; send it beside the file in a form ({MULTIPART})"
        else:
            place = " in the body"
        return f"{message}{place}; parameters in the query are ignored" if name in self._in_query else message


def _about(place: str, message: str) -> str:
    return f"{place} {message}" if message.startswith("must ") else f"{place}: {message}"


def _names_of(query: str) -> Set[Any]:
    try:
        return dict(parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_NAMES)).keys()
    except ValueError:
        return frozenset()
