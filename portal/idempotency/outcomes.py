"""The outcome of a call as text: its result, its error, or only the fact that it ran."""

from __future__ import annotations

import json
from typing import Any

from ..calls.middleware import Call
from ..errors import FunctionError, PortalError, ProtocolError

__all__ = ["NOT_MADE", "not_kept", "replay", "text_of_error", "text_of_result"]

_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
_encode_error = json.JSONEncoder(allow_nan=False, separators=(",", ":"), default=str).encode

#: The marker of a call whose response could not be made into a text, made in advance: memory may be short then.
NOT_MADE = _encode({"not_kept": "could not be written as JSON"})


def text_of_result(result: Any) -> str:
    """Return the text that keeps a result."""
    try:
        return _encode({"result": result})
    except (TypeError, ValueError, RecursionError):
        return not_kept("was not JSON data")


def text_of_error(error: Exception) -> str:
    """Return the text that keeps an error."""
    # Any other exception is a defect of a middleware. The client gets the dispatcher's message for it.
    known = error if isinstance(error, PortalError) else PortalError("middleware around the call failed")
    if known.sendable() is not known:
        return not_kept("was an error that is not JSON data")
    try:
        # `private` and `exposure` keep details on the server; to_dict does not contain them
        private = isinstance(known, FunctionError) and known.private
        return _encode_error({"error": known.to_dict(), "private": private, "exposure": known.exposure})
    except (TypeError, ValueError, RecursionError):
        return not_kept("was an error that is not JSON data")


def not_kept(why: str) -> str:
    """Return the text that keeps only the fact of a call.

    Args:
        why: why its response is not kept, worded to follow "because it".
    """
    return _encode({"not_kept": why})


def replay(call: Call, text: str) -> Any:
    """Return the result that a text keeps, or raise its error. The reply says that it is not the first."""
    call.reply["idempotent-replayed"] = "true"
    kept = json.loads(text)
    if "result" in kept:
        return kept["result"]
    if "error" not in kept:
        words = f"this call was made before, but its response was not kept, because it {kept['not_kept']}"
        raise ProtocolError(words, status=409, delivery="executed")
    raise _error_of(kept, call)


def _error_of(kept: dict[str, Any], call: Call) -> PortalError:
    error = PortalError.from_dict(kept["error"])
    error.context["request_id"] = call.context.request_id
    error.exposure = kept.get("exposure", "full")
    if isinstance(error, FunctionError):
        error.private = kept["private"] is True
    return error
