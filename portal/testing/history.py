"""RecordedCall: one call in the history of a TestingPortal."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from ..schema import is_json

__all__ = ["RecordedCall", "format_params", "snapshot"]


def snapshot(value: Any) -> Any:
    """Return a copy of JSON data, which its owner may change later; anything else as it is."""
    value = dict(value) if isinstance(value, Mapping) else value
    return deepcopy(value) if is_json(value) else value


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One call of a TestingPortal.

    Attributes:
        name: the name of the function, below the name of its service if it has one.
        params: the parameters as they arrived; JSON data unless the portal rejected them as such.
        result: JSON data; the list of items of a stream.
        error: the error that the caller got, or None.
        duration: in seconds.
        request_id: the request id of the call.
        started: the time of the call's arrival, in seconds of the portal's clock.
    """

    name: str
    params: Any
    result: Any
    error: BaseException | None
    duration: float
    request_id: str
    started: float = 0.0

    def __str__(self) -> str:
        given = format_params(self.params)
        outcome = f"raised {type(self.error).__name__}" if self.error is not None else f"returned {self.result!r}"
        return f"{self.name}({given}) {outcome}"


def format_params(params: Any) -> str:
    """Return parameters as they are written in a call."""
    if not isinstance(params, Mapping):
        return repr(params)
    return ", ".join(f"{name}={value!r}" for name, value in params.items())
