"""DeadlineResponder: responds in the place of a function that has not returned at its deadline."""

from __future__ import annotations

from collections.abc import Callable

from ...calls.middleware import Call
from ...errors import CallTimeout
from ...serving import EarlyResponder, Request, Response
from .error_responses import ErrorResponses
from .stream_body import failure_piece

__all__ = ["AroundLate", "DeadlineResponder"]

#: Passes a response through the HTTP middleware that the request has passed.
AroundLate = Callable[[Request, Response], Response]


class DeadlineResponder:
    """Sends the response at the deadline of one call.

    Args:
        early: sends a response before the app returns one.
        media: the media type of a stream.
        around: passes the response through the HTTP middleware, so that a browser may read it, too. A response that
            ends a stream does not pass it again.

    Threads: the dispatcher calls it from the thread that watches the deadlines. It does not wait.
    """

    __slots__ = ("_around", "_call", "_early", "_errors", "_media", "_request")

    def __init__(
        self,
        request: Request,
        call: Call,
        early: EarlyResponder,
        errors: ErrorResponses,
        around: AroundLate | None,
        media: str,
    ) -> None:
        self._request = request
        self._call = call
        self._early = early
        self._errors = errors
        self._around = around
        self._media = media

    def __call__(self, error: CallTimeout) -> None:
        call = self._call
        error.with_context(operation=call.function.name)
        response = self._errors.respond(self._request, error, call.context, call.replied)
        if call.streaming and isinstance(response.body, bytes):
            response.abort_chunk = failure_piece(response.body, self._media)
        elif self._around is not None:
            response = self._around(self._request, response)
        self._early.respond_early(response)
